use std::time::Duration;

use temper_core::{Digest, spec::JobSpec};
use uuid::Uuid;

use crate::{Artifact, Checkpoint, JobId, Store, StoreError};

/// The right to write to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRef {
    /// The job.
    pub job: JobId,
    /// The worker's incarnation.
    pub incarnation: Uuid,
    /// Grows with every lease of the job.
    pub fence: i64,
}

/// A leased job.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The lease.
    pub lease: LeaseRef,
    /// The job's key.
    pub key: Digest,
    /// What to do.
    pub spec: JobSpec,
    /// The newest two registered checkpoints, newest first.
    pub checkpoints: Vec<Checkpoint>,
    /// The model to measure, of an evaluation.
    pub artifact: Option<Artifact>,
}

/// What a worker is to do with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseStatus {
    /// The lease is extended: go on.
    Continue,
    /// No live sweep wants the job: stop.
    Cancel,
    /// The lease is gone: stop.
    Lost,
}

impl Store {
    /// Takes the next job for a worker: of the owner with the fewest leases for their weight, the
    /// one of the highest priority, then the oldest. The lease lasts `duration` from now by the
    /// database's clock. None when nothing is ready that the worker can do.
    ///
    /// # Errors
    /// `UnknownWorker` when the incarnation has not registered.
    pub async fn lease_claim(
        &self,
        incarnation: Uuid,
        duration: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        todo!()
    }

    /// Extends a worker's leases (job and fence) to `duration` from now, and says what became of
    /// each, in the order asked. A lease that has run out but was not yet taken back is extended:
    /// nobody else holds the job.
    ///
    /// # Errors
    /// `UnknownWorker` when the incarnation has not registered.
    pub async fn lease_heartbeat(
        &self,
        incarnation: Uuid,
        leases: &[(JobId, i64)],
        duration: Duration,
    ) -> Result<Vec<LeaseStatus>, StoreError> {
        todo!()
    }

    /// Gives a job back, its checkpoints kept and no attempt burned.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job.
    pub async fn lease_release(&self, lease: &LeaseRef) -> Result<(), StoreError> {
        todo!()
    }

    /// Takes back every lease that has run out: its job is queued again, or has failed once too
    /// many of its attempts were lost. Gives the jobs. Any number of coordinators may call this at
    /// once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lease_expire(&self) -> Result<Vec<JobId>, StoreError> {
        todo!()
    }
}
