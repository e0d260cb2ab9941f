//! What a job reports, repeated over broken connections for as long as its lease lasts. Every report
//! has the same effect twice: epochs replace, objects are put if absent, and Complete under its own
//! fence answers OK again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use temper_core::{Digest, ErrorKind, job::FailureClass, report::EpochMetrics};
use temper_proto::v1::{self, complete_request};
use temper_service::{
    client::is_transient,
    objects::{Objects, ObjectsError, Stored, artifact_path, best_path, checkpoint_path},
    status,
};
use temper_torch::{Measurement, TrainedModel};
use tonic::{Code, Status};

use crate::{
    assignment::Object,
    coordinator::Coordinator,
    error::JobError,
    lease::{Ended, Lease},
    logs::Logs,
    metrics,
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A store that fails this often fails the attempt, after pauses of 11 seconds in all beside what the
/// tries take: heartbeats go on meanwhile, so that the lease would never end it.
const STORE_TRIES: u32 = 8;

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// The lease is over: there is nothing more to say.
    #[error("the lease is over")]
    LeaseOver,
    /// The coordinator says no, and will say it again.
    #[error("the coordinator refused the report")]
    Refused(#[source] Status),
}

/// Pauses between tries, each twice as long as the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    pub(crate) async fn pause(&mut self) {
        let pause = self.0;
        self.0 = LONGEST_PAUSE.min(pause * 2);
        tokio::time::sleep(pause).await;
    }
}

/// A checkpoint written down.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs done and reported.
    pub epochs: u32,
    pub bytes: Vec<u8>,
}

/// Where a job's reports go. Clones share the lease.
#[derive(Debug, Clone)]
pub(crate) struct Reports {
    coordinator: Coordinator,
    objects: Objects,
    lease: Arc<Lease>,
    /// The most memory of the device that the job used, in bytes; 0 when not known.
    peak: Arc<AtomicI64>,
    /// What the job logs, the rest of which goes before the report of how it ended.
    logs: Option<Logs>,
}

impl Reports {
    pub(crate) fn new(coordinator: Coordinator, objects: Objects, lease: Arc<Lease>) -> Self {
        Self {
            coordinator,
            objects,
            lease,
            peak: Arc::default(),
            logs: None,
        }
    }

    /// The same for a job whose log is sent.
    #[must_use]
    pub(crate) fn with_logs(self, logs: Logs) -> Self {
        Self {
            logs: Some(logs),
            ..self
        }
    }

    /// Remembers what memory was used, for the report of how the job ended.
    pub(crate) fn note_peak(&self, bytes: Option<u64>) {
        let bytes = i64::try_from(bytes.unwrap_or(0)).unwrap_or(i64::MAX);
        self.peak.fetch_max(bytes, Ordering::Relaxed);
    }

    fn peak(&self) -> i64 {
        self.peak.load(Ordering::Relaxed)
    }

    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Reports one epoch.
    pub(crate) async fn epoch(&self, metrics: &EpochMetrics) -> Result<(), ReportError> {
        let request = v1::ReportEpochsRequest {
            lease: self.reference(),
            epochs: vec![metrics.into()],
        };
        persist(&self.lease, || {
            self.coordinator.report_epochs(request.clone())
        })
        .await
    }

    /// Stores a checkpoint of the job with `key`, then makes it the one to resume from.
    pub(crate) async fn checkpoint(&self, key: &Digest, checkpoint: Saved) -> Result<(), JobError> {
        let Saved {
            step,
            epochs,
            bytes,
        } = checkpoint;
        let began = Instant::now();
        let path = checkpoint_path(key, self.fence(), step);
        let stored = self.put(&path, bytes.into()).await?;
        let registered = v1::Checkpoint {
            step: i64::try_from(step).unwrap_or(i64::MAX),
            epochs,
            size: length(&stored),
            sha256: stored.sha256.to_string(),
            path: stored.path,
        };
        let size = stored.size;
        let request = v1::RegisterCheckpointRequest {
            lease: self.reference(),
            checkpoint: Some(registered),
        };
        persist(&self.lease, || {
            self.coordinator.register_checkpoint(request.clone())
        })
        .await?;
        metrics::checkpoint(size, began.elapsed());
        Ok(())
    }

    /// Stores the trained model of the job with `key` and that of its best epoch, then hands them
    /// in.
    pub(crate) async fn complete_training(
        &self,
        key: &Digest,
        model: TrainedModel,
    ) -> Result<(), JobError> {
        let TrainedModel {
            bytes,
            epochs,
            best,
            micro_batch_size,
            ..
        } = model;
        let path = artifact_path(key, self.fence());
        let mut result = v1::TrainResult {
            artifact: Some(self.artifact(&path, bytes).await?),
            epochs,
            best: None,
            best_epoch: 0,
            micro_batch_size,
            peak_memory_bytes: self.peak(),
        };
        if let Some(best) = best {
            let path = best_path(key, self.fence());
            result.best = Some(self.artifact(&path, best.bytes).await?);
            result.best_epoch = best.epoch;
        }
        self.complete(complete_request::Result::Train(result)).await
    }

    /// Hands in what was measured.
    pub(crate) async fn complete_evaluation(&self, measured: &Measurement) -> Result<(), JobError> {
        let flags = measured.flags.iter().copied();
        let result = v1::EvaluateResult {
            points: measured.points.iter().map(Into::into).collect(),
            audit: measured.audit.as_ref().map(Into::into),
            flags: flags
                .map(|flag| v1::MaskingFlag::from(flag).into())
                .collect(),
            peak_memory_bytes: self.peak(),
            passes: measured.passes,
        };
        self.complete(complete_request::Result::Evaluate(result))
            .await
    }

    /// Ends the attempt as failed.
    pub(crate) async fn fail(
        &self,
        class: FailureClass,
        message: String,
    ) -> Result<(), ReportError> {
        self.flush_logs().await;
        let message = match &self.logs {
            Some(logs) => logs.redact(&message),
            None => message,
        };
        let class = v1::FailureClass::from(class).into();
        let request = v1::FailRequest {
            lease: self.reference(),
            failure_class: class,
            message,
            peak_memory_bytes: self.peak(),
        };
        persist(&self.lease, || self.coordinator.fail(request.clone())).await
    }

    /// Gives the job back.
    pub(crate) async fn release(&self) -> Result<(), ReportError> {
        self.flush_logs().await;
        let request = v1::ReleaseRequest {
            lease: self.reference(),
        };
        persist(&self.lease, || self.coordinator.release(request.clone())).await
    }

    /// The bytes of an object, verified.
    pub(crate) async fn fetch(&self, object: &Object) -> Result<Bytes, JobError> {
        let get = || self.objects.get(&object.path, object.sha256, object.size);
        stored(&self.lease, get).await
    }

    async fn artifact(&self, path: &str, bytes: Vec<u8>) -> Result<v1::Artifact, JobError> {
        let stored = self.put(path, bytes.into()).await?;
        Ok(v1::Artifact {
            size: length(&stored),
            sha256: stored.sha256.to_string(),
            path: stored.path,
        })
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<Stored, JobError> {
        stored(&self.lease, || self.objects.put(path, bytes.clone())).await
    }

    /// A heartbeat that finds the job succeeded answers "lost". So when the lease ends while the
    /// answer to Complete is awaited, Complete itself has the last word: one more try.
    async fn complete(&self, result: complete_request::Result) -> Result<(), JobError> {
        self.flush_logs().await;
        let request = v1::CompleteRequest {
            lease: self.reference(),
            result: Some(result),
        };
        let call = || self.coordinator.complete(request.clone());
        match persist(&self.lease, call).await {
            Err(ReportError::LeaseOver) => {
                call().await.map_err(|_| ReportError::LeaseOver)?;
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// Once the attempt is over its lease takes no more lines.
    async fn flush_logs(&self) {
        if let Some(logs) = &self.logs {
            logs.flush().await;
        }
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "requests hold the lease as an optional field"
    )]
    fn reference(&self) -> Option<v1::LeaseRef> {
        Some(self.lease.reference().clone())
    }

    fn fence(&self) -> i64 {
        self.lease.reference().fence
    }
}

/// Repeats `call` until it is answered or the lease is over. `ABORTED` ends the lease.
///
/// # Errors
/// [`ReportError`].
pub(crate) async fn persist<T, F>(lease: &Lease, call: impl Fn() -> F) -> Result<T, ReportError>
where
    F: Future<Output = Result<T, Status>>,
{
    let attempts = async {
        let mut backoff = Backoff::new();
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(status) if status.code() == Code::Aborted => {
                    tracing::info!(reason = status.message(), "the lease is lost");
                    lease.end(Ended::Lost);
                    return Err(ReportError::LeaseOver);
                }
                Err(status) if is_transient(&status) => {
                    tracing::warn!(reason = status.message(), "no answer: trying again");
                    backoff.pause().await;
                }
                Err(status) => return Err(ReportError::Refused(status)),
            }
        }
    };
    tokio::select! {
        // An answer that came in time counts, even if the lease ended with it.
        biased;
        answer = attempts => answer,
        () = lease.over().cancelled() => Err(ReportError::LeaseOver),
    }
}

/// Repeats an operation of the object store a few times, while the lease lasts.
async fn stored<T, F>(lease: &Lease, operation: impl Fn() -> F) -> Result<T, JobError>
where
    F: Future<Output = Result<T, ObjectsError>>,
{
    let attempts = async {
        let mut backoff = Backoff::new();
        for _ in 1..STORE_TRIES {
            match operation().await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tracing::warn!(error = status::chain(&error), "trying again");
                    backoff.pause().await;
                }
                other => return other,
            }
        }
        operation().await
    };
    tokio::select! {
        biased;
        answer = attempts => Ok(answer?),
        () = lease.over().cancelled() => Err(ReportError::LeaseOver.into()),
    }
}

fn length(stored: &Stored) -> i64 {
    i64::try_from(stored.size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
