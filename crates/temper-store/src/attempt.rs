use chrono::{DateTime, Utc};
use temper_core::job::{FailureClass, JobState};
use uuid::Uuid;

use crate::{LeaseRef, Store, StoreError};

/// One worker's try at a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Counts from 1 within the job.
    pub number: u32,
    /// Name of the worker.
    pub worker: String,
    /// The worker's incarnation.
    pub incarnation: Uuid,
    /// Its device.
    pub device: String,
    /// Fence of its lease.
    pub fence: i64,
    /// When the lease was given.
    pub started_at: DateTime<Utc>,
    /// When it ended, if it has.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended; none while it runs.
    pub outcome: Option<AttemptOutcome>,
    /// Why it failed, if it did.
    pub failure_class: Option<FailureClass>,
    /// What the worker said, or the coordinator of a worker that said nothing.
    pub message: String,
    /// Seconds for which it held its device, wasted ones too; none while it runs.
    pub device_seconds: Option<f64>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// Its result was accepted.
    Succeeded,
    /// It failed.
    Failed,
    /// The worker gave the job back.
    Released,
    /// The lease ran out.
    Lost,
    /// The job was cancelled.
    Cancelled,
}

impl Store {
    /// Ends an attempt without a result and says where its job stands then: queued again, or
    /// failed, by the class's policy; a failed training cancels what depends on it.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job.
    pub async fn attempt_fail(
        &self,
        lease: &LeaseRef,
        class: FailureClass,
        message: &str,
    ) -> Result<JobState, StoreError> {
        todo!()
    }
}
