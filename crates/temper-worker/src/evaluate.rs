//! An evaluation job.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use temper_core::{Digest, attack, spec::EvaluateSpec};
use temper_torch::{
    Control, EvaluateObserver, EvaluateOutcome, Interim, Interrupted, Measurement, PeakMemory,
    Progress,
};
use tokio::sync::mpsc;

use crate::{
    JobError,
    assignment::{EvaluateTask, Object},
    backend::Evaluate,
    job::{Attempt, Done, Switch},
    metrics::{self, Phase},
    report::{Reports, Saved},
    resume::{Starts, is_unusable},
    train::read,
};

/// The trained models last measured: the evaluations of one training often come one after another.
#[derive(Debug, Default)]
pub(crate) struct Models(Mutex<VecDeque<(Digest, Bytes)>>);

impl Models {
    const KEPT: usize = 2;

    async fn fetch(&self, reports: &Reports, artifact: &Object) -> Result<Bytes, JobError> {
        if let Some(bytes) = self.get(artifact.sha256) {
            return Ok(bytes);
        }
        let bytes = reports.fetch(artifact).await?;
        self.put(artifact.sha256, bytes.clone());
        Ok(bytes)
    }

    fn get(&self, digest: Digest) -> Option<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .find(|(found, _)| *found == digest)
            .map(|(_, bytes)| bytes.clone())
    }

    fn put(&self, digest: Digest, bytes: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((digest, bytes));
        kept.truncate(Self::KEPT);
    }
}

/// How long a measurement goes on without handing over where it stands.
const BETWEEN_CHECKPOINTS: Duration = Duration::from_mins(1);

/// Checkpoints that a measurement may be ahead of their acknowledgement.
const AHEAD: usize = 1;

/// The observer on the libtorch thread.
struct Reporter {
    switch: Switch,
    last: Instant,
    checkpoints: mpsc::Sender<Interim>,
    /// Pairs that are counted; none before the first look at a measurement that is resumed.
    seen: Option<u64>,
}

impl EvaluateObserver for Reporter {
    fn control(&mut self, progress: Progress) -> Control {
        log_progress(progress);
        // What was seen before this process took it up is not its own.
        let seen = *self.seen.get_or_insert(progress.pairs);
        metrics::images(Phase::Evaluate, progress.pairs.saturating_sub(seen));
        self.seen = Some(progress.pairs);
        self.switch.control()
    }

    fn checkpoint_due(&mut self) -> bool {
        self.last.elapsed() >= BETWEEN_CHECKPOINTS
    }

    fn checkpoint(&mut self, interim: Interim) -> Result<(), Interrupted> {
        self.last = Instant::now();
        self.checkpoints
            .blocking_send(interim)
            .map_err(|_| Interrupted)
    }
}

/// Measures the trained model, from the newest checkpoint that is whole, else from the beginning.
pub(crate) async fn run(attempt: &Attempt<'_>, task: &EvaluateTask) -> Result<Done, JobError> {
    let Some(measurement) = attempt.ready(load(attempt, task)).await? else {
        return Ok(Done::Drained);
    };
    let mut starts = Starts::new(&task.checkpoints, &attempt.reports);
    loop {
        let Some(start) = attempt.ready(starts.next()).await? else {
            return Ok(Done::Drained);
        };
        let is_new = start.is_none();
        // From here on a stop leaves a checkpoint.
        log_task(&task.spec);
        let result = measure(attempt, &task.key, &measurement, start).await;
        if is_new || !is_unusable(&result) {
            return result;
        }
    }
}

async fn load(attempt: &Attempt<'_>, task: &EvaluateTask) -> Result<Arc<dyn Evaluate>, JobError> {
    let Attempt { host, reports, .. } = attempt;
    let model = host.models.fetch(reports, &task.artifact).await?;
    let (backend, spec) = (Arc::clone(&host.backend), Arc::clone(&task.spec));
    read(move || backend.evaluation(&spec, model)).await
}

/// Measures on the libtorch thread while this one passes checkpoints on.
async fn measure(
    attempt: &Attempt<'_>,
    key: &Digest,
    measurement: &Arc<dyn Evaluate>,
    resume: Option<Bytes>,
) -> Result<Done, JobError> {
    let Attempt {
        host,
        reports,
        switch,
    } = attempt;
    let (checkpoints, inbox) = mpsc::channel(AHEAD);
    let mut reporter = Reporter {
        switch: switch.clone(),
        last: Instant::now(),
        checkpoints,
        seen: resume.is_none().then_some(0),
    };
    let (measurement, device) = (Arc::clone(measurement), host.device);
    let outcome = host.engine.run(move || {
        // The reporter is dropped with the closure, which ends `pass_on`.
        let peak = PeakMemory::start(device);
        let outcome = measurement.run(resume.as_deref(), &mut reporter);
        (outcome, peak.bytes())
    });
    let (ended, passed) = tokio::join!(outcome, pass_on(attempt, key, inbox));
    // When reports fail, the measurement is aborted by that: theirs is the reason to tell.
    passed?;
    let (outcome, peak) = ended?;
    reports.note_peak(peak);
    match outcome? {
        EvaluateOutcome::Finished(measured) => {
            log_measured(&measured);
            reports.complete_evaluation(&measured).await?;
            Ok(Done::Completed)
        }
        EvaluateOutcome::Drained => Ok(Done::Drained),
        EvaluateOutcome::Aborted => attempt.aborted(),
    }
}

/// Passes checkpoints on, until the measurement ends or one of them cannot be.
async fn pass_on(
    attempt: &Attempt<'_>,
    key: &Digest,
    mut inbox: mpsc::Receiver<Interim>,
) -> Result<(), JobError> {
    while let Some(interim) = inbox.recv().await {
        let saved = Saved {
            step: interim.pairs,
            epochs: 0,
            bytes: interim.bytes,
        };
        let passed = attempt.reports.checkpoint(key, saved).await;
        if passed.is_err() {
            attempt.switch.abort.cancel();
            return passed;
        }
    }
    Ok(())
}

/// What is measured, so that a curve can be told from its log.
fn log_task(spec: &EvaluateSpec) {
    let (mode, points, samples, seed) = (spec.mode, spec.grid.len(), spec.samples, spec.seed);
    let attack = attack::name(&spec.attacks);
    tracing::info!(?mode, %attack, points, samples, seed, "measuring");
}

fn log_measured(measured: &Measurement) {
    let Measurement {
        audit,
        flags,
        passes,
        points,
    } = measured;
    let samples = points.first().map_or(0, |point| point.samples);
    tracing::info!(samples, passes, ?audit, "measured");
    for flag in flags {
        tracing::warn!(
            flag = flag.as_str(),
            "the model may hide its gradients: the accuracy may be too high"
        );
    }
}

fn log_progress(progress: Progress) {
    let Progress {
        stage,
        round,
        rounds,
        done,
        samples,
        pairs,
    } = progress;
    tracing::debug!(?stage, round, rounds, done, samples, pairs, "measuring");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_two_models_are_kept() {
        let models = Models::default();
        let digests = [b"a", b"b", b"c"].map(|name| Digest::of(name));
        for digest in digests {
            models.put(digest, Bytes::copy_from_slice(digest.as_bytes()));
        }
        assert_eq!(models.get(digests[0]), None);
        for digest in &digests[1..] {
            assert_eq!(
                models.get(*digest).as_deref(),
                Some(digest.as_bytes().as_slice())
            );
        }
    }
}
