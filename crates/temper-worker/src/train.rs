//! A training job.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use temper_core::{Digest, report::EpochMetrics};
use temper_data::DataError;
use temper_torch::{Checkpoint, Control, Interrupted, Observer, PeakMemory, TrainOutcome};
use tokio::sync::mpsc;

use crate::{
    JobError,
    assignment::TrainTask,
    backend::Train,
    cadence::{Cadence, Unwritten},
    engine,
    job::{Attempt, Done, Switch},
    metrics,
    report::{Reports, Saved},
    resume::{Starts, is_unusable},
};

/// Reports that training may be ahead of their acknowledgement; each may hold a checkpoint.
const AHEAD: usize = 2;

/// What the libtorch thread hands over, in order.
enum Event {
    Epoch(EpochMetrics),
    Checkpoint(Checkpoint),
}

/// The observer on the libtorch thread.
struct Reporter {
    switch: Switch,
    events: mpsc::Sender<Event>,
    cadence: Cadence,
}

impl Observer for Reporter {
    fn control(&mut self) -> Control {
        self.switch.control()
    }

    fn stepped(&mut self, samples: u64) {
        metrics::step(samples);
    }

    fn epoch(&mut self, metrics: EpochMetrics) -> Result<(), Interrupted> {
        metrics::epoch();
        self.events
            .blocking_send(Event::Epoch(metrics))
            .map_err(|_| Interrupted)
    }

    fn wants_checkpoint(&mut self) -> bool {
        self.cadence.is_due(Instant::now())
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Interrupted> {
        self.cadence.handed_over(Instant::now());
        self.events
            .blocking_send(Event::Checkpoint(checkpoint))
            .map_err(|_| Interrupted)
    }
}

/// Trains from the newest checkpoint that is whole, else from the pretrained weights.
pub(crate) async fn run(attempt: &Attempt<'_>, task: &TrainTask) -> Result<Done, JobError> {
    let (backend, spec) = (Arc::clone(&attempt.host.backend), Arc::clone(&task.spec));
    let reading = read(move || backend.training(&spec));
    let Some(training) = attempt.ready(reading).await? else {
        return Ok(Done::Drained);
    };
    let mut starts = Starts::new(&task.checkpoints, &attempt.reports);
    loop {
        let Some(start) = attempt.ready(starts.next()).await? else {
            return Ok(Done::Drained);
        };
        let is_new = start.is_none();
        let result = train(attempt, &task.key, &training, start).await;
        if is_new || !is_unusable(&result) {
            return result;
        }
    }
}

/// Reads images off the async threads.
pub(crate) async fn read<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DataError> + Send + 'static,
) -> Result<T, JobError> {
    // What is logged meanwhile is the job's too.
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(JobError::Reader(match error.try_into_panic() {
            Ok(panic) => engine::message(&*panic),
            Err(error) => error.to_string(),
        })),
    }
}

/// Trains on the libtorch thread while this one passes the reports on.
async fn train(
    attempt: &Attempt<'_>,
    key: &Digest,
    training: &Arc<dyn Train>,
    resume: Option<Bytes>,
) -> Result<Done, JobError> {
    let Attempt {
        host,
        reports,
        switch,
    } = attempt;
    let (events, inbox) = mpsc::channel(AHEAD);
    let unwritten = Unwritten::default();
    let mut reporter = Reporter {
        switch: switch.clone(),
        events,
        cadence: Cadence::new(host.checkpoint_every, Instant::now(), unwritten.clone()),
    };
    let (training, device) = (Arc::clone(training), host.device);
    let training = host.engine.run(move || {
        let peak = PeakMemory::start(device);
        // The reporter is dropped with the closure, which ends `pass_on`.
        let outcome = training.run(resume.as_deref(), &mut reporter);
        (outcome, peak.bytes())
    });
    let passing = pass_on(attempt, key, inbox, &unwritten);
    let (ended, passed) = tokio::join!(training, passing);
    // When reports fail, training is aborted by that: theirs is the reason to tell.
    passed?;
    let (outcome, peak) = ended?;
    reports.note_peak(peak);
    match outcome? {
        TrainOutcome::Finished(model) => {
            reports.complete_training(key, model).await?;
            Ok(Done::Completed)
        }
        TrainOutcome::Drained => Ok(Done::Drained),
        TrainOutcome::Aborted => attempt.aborted(),
    }
}

/// Passes reports on in their order, until training ends or one of them cannot be.
async fn pass_on(
    attempt: &Attempt<'_>,
    key: &Digest,
    mut inbox: mpsc::Receiver<Event>,
    unwritten: &Unwritten,
) -> Result<(), JobError> {
    let Attempt {
        reports, switch, ..
    } = attempt;
    while let Some(event) = inbox.recv().await {
        let passed = match event {
            Event::Epoch(metrics) => {
                log(&metrics);
                reports.epoch(&metrics).await.map_err(JobError::from)
            }
            Event::Checkpoint(checkpoint) => {
                let written = write(reports, key, checkpoint).await;
                unwritten.end();
                written
            }
        };
        if passed.is_err() {
            // Training must not go on unreported; a sender that waits is freed as `inbox` drops.
            switch.abort.cancel();
            return passed;
        }
    }
    Ok(())
}

/// Writes a checkpoint down, off the libtorch thread and the async ones, and registers it.
async fn write(reports: &Reports, key: &Digest, checkpoint: Checkpoint) -> Result<(), JobError> {
    let (step, epochs) = (checkpoint.step, checkpoint.epochs);
    let bytes = tokio::task::spawn_blocking(move || checkpoint.to_bytes()).await;
    let bytes = bytes.map_err(|error| engine::Panicked(error.to_string()))??;
    let saved = Saved {
        step,
        epochs,
        bytes,
    };
    reports.checkpoint(key, saved).await
}

fn log(metrics: &EpochMetrics) {
    let EpochMetrics {
        epoch,
        epsilon,
        train_loss,
        images_per_second,
        loading_share,
        ..
    } = *metrics;
    tracing::info!(
        epoch,
        epsilon,
        train_loss,
        validation_accuracy = metrics.validation_accuracy,
        validation_robust_accuracy = metrics.validation_robust_accuracy,
        images_per_second,
        loading_share,
        "epoch"
    );
}
