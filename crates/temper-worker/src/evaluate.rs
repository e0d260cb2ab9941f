//! An evaluation job.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use temper_core::Digest;
use temper_torch::{EvaluateOutcome, Progress, StoredModel};

use crate::{
    JobError,
    assignment::{EvaluateTask, Object},
    job::{Attempt, Done},
    report::Reports,
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

/// Measures the trained model.
pub(crate) async fn run(attempt: &Attempt<'_>, task: EvaluateTask) -> Result<Done, JobError> {
    let Attempt {
        host,
        reports,
        switch,
    } = attempt;
    let model = host.models.fetch(reports, &task.artifact).await?;
    let (sources, spec) = (Arc::clone(&host.sources), Arc::clone(&task.spec));
    let load = move || {
        let train = &spec.train;
        // A scripted module's structure is in its file alone.
        let scripted = train.model.scripted.map(|_| sources.weights(&train.model));
        let images = sources.test(&train.dataset, &train.data, spec.samples)?;
        Ok((images, scripted.transpose()?))
    };
    let (images, module) = read(load).await?;
    let (batch, device, switch) = (host.eval_batch, host.device, switch.clone());
    let outcome = host.engine.run(move || {
        temper_torch::evaluate(
            &task.spec,
            StoredModel {
                bytes: &model,
                module: module.as_deref(),
            },
            (&images, batch),
            device,
            &mut |progress| {
                log(progress);
                switch.control()
            },
        )
    });
    match outcome.await?? {
        EvaluateOutcome::Finished(points) => {
            reports.complete_evaluation(&points).await?;
            Ok(Done::Completed)
        }
        EvaluateOutcome::Aborted => attempt.aborted(),
    }
}

fn log(progress: Progress) {
    let Progress {
        grid_index,
        grid_points,
        done,
        samples,
    } = progress;
    tracing::debug!(grid_index, grid_points, done, samples, "measuring");
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
