use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use temper_core::{Digest, expand::Expansion, spec::SweepSpec};
use uuid::Uuid;

use crate::{Store, StoreError};

/// A sweep to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewSweep<'a> {
    /// The client's own id of the request, by which repeating it is harmless.
    pub request_id: Option<Uuid>,
    /// Digest of the request, by which a repeated id is told from a reused one.
    pub request_digest: Digest,
    /// Whose share of the workers it takes.
    pub owner: &'a str,
    /// What people call it.
    pub display_name: &'a str,
    /// Free labels, for people.
    pub labels: &'a BTreeMap<String, String>,
    /// Higher ones are leased first.
    pub priority: i32,
    /// What was asked for.
    pub spec: &'a SweepSpec,
    /// What it comes to.
    pub expansion: &'a Expansion,
}

/// What became of a new sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepCreated {
    /// The sweep.
    pub id: Uuid,
    /// It is that of an earlier request with the same id.
    pub existed: bool,
    /// Jobs that it was the first to ask for; the others it shares.
    pub jobs_created: u32,
}

/// A sweep and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepRow {
    /// The sweep.
    pub id: Uuid,
    /// Whose it is.
    pub owner: String,
    /// What people call it.
    pub display_name: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Priority of its jobs.
    pub priority: i32,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it was cancelled, if it was.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// Jobs that it was the first to ask for.
    pub jobs_created: u32,
    /// Cells in all.
    pub cells: u32,
    /// Cells whose training and evaluations have all succeeded.
    pub cells_succeeded: u32,
    /// Its jobs by state.
    pub jobs: JobCounts,
    /// Where it stands.
    pub state: SweepState,
}

/// Jobs by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobCounts {
    /// Waiting for a worker, or for the job that they depend on.
    pub queued: u32,
    /// Held by a worker.
    pub leased: u32,
    /// With an accepted result.
    pub succeeded: u32,
    /// Given up.
    pub failed: u32,
    /// Not wanted any more, or dependent on a job that failed.
    pub cancelled: u32,
}

/// Where a sweep stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepState {
    /// Some jobs are still to be done.
    Running,
    /// Every job succeeded.
    Succeeded,
    /// Nothing is left to do, and some jobs did not succeed.
    Failed,
    /// A person cancelled it.
    Cancelled,
}

/// A place in the list of sweeps, which is ordered by time and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepCursor {
    /// When the last sweep of the page was submitted.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// A page of sweeps.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepPage {
    /// The sweeps, newest first.
    pub sweeps: Vec<SweepRow>,
    /// What the next page comes after; none on the last.
    pub next: Option<SweepCursor>,
}

impl JobCounts {
    /// Where a sweep with these jobs stands that nobody cancelled.
    #[must_use]
    pub fn state(&self) -> SweepState {
        if self.queued + self.leased > 0 {
            SweepState::Running
        } else if self.failed + self.cancelled > 0 {
            SweepState::Failed
        } else {
            SweepState::Succeeded
        }
    }
}

impl Store {
    /// Stores a sweep with its cells and jobs, in one transaction. Jobs whose keys exist are
    /// shared: succeeded and failed ones stay as they are, cancelled ones are queued again.
    ///
    /// # Errors
    /// `RequestReused` when the request id belongs to another request.
    pub async fn sweep_create(&self, sweep: NewSweep<'_>) -> Result<SweepCreated, StoreError> {
        todo!()
    }

    /// A sweep with its counts.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn sweep_get(&self, id: Uuid) -> Result<SweepRow, StoreError> {
        todo!()
    }

    /// What a sweep asked for.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn sweep_spec(&self, id: Uuid) -> Result<SweepSpec, StoreError> {
        todo!()
    }

    /// A page of at most `limit` sweeps, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_list(
        &self,
        limit: u32,
        after: Option<SweepCursor>,
    ) -> Result<SweepPage, StoreError> {
        todo!()
    }

    /// Withdraws a sweep's wish for its jobs: those that no other live sweep wants are cancelled,
    /// on their workers too; the others take the priority that is left. Cancelling twice changes
    /// nothing.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn sweep_cancel(&self, id: Uuid) -> Result<(), StoreError> {
        todo!()
    }
}
