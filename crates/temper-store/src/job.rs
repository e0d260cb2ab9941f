use std::fmt;

use temper_core::{
    Digest,
    job::{JobKind, JobState},
    report::EpochMetrics,
    spec::JobSpec,
};
use uuid::Uuid;

use crate::{Attempt, Store, StoreError};

/// Number of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job as lists show it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Number.
    pub id: JobId,
    /// Content-addressed key.
    pub key: Digest,
    /// What kind.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// A line for people: model, dataset, schedule, seed.
    pub title: String,
    /// Epochs done; 0 for an evaluation.
    pub epochs_done: u32,
    /// Epochs in all; 0 for an evaluation.
    pub epochs: u32,
    /// The newest epoch's metrics, of a training that has any.
    pub last_epoch: Option<EpochMetrics>,
    /// Why it failed or was cancelled; else empty.
    pub message: String,
    /// The training that it depends on, of an evaluation.
    pub train_job: Option<JobId>,
}

/// All there is of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobDetail {
    /// The job.
    pub job: JobRow,
    /// What to do.
    pub spec: JobSpec,
    /// Every try, oldest first.
    pub attempts: Vec<Attempt>,
    /// Every epoch's metrics, ascending.
    pub epochs: Vec<EpochMetrics>,
}

/// Which of a sweep's jobs are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobsQuery {
    /// The sweep.
    pub sweep: Uuid,
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs after this position ([`JobPage::next`] of the page before).
    pub after: Option<u32>,
    /// At most so many.
    pub limit: u32,
}

/// A page of a sweep's jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPage {
    /// The jobs, in the order of the sweep's cells, trainings before their evaluations.
    pub jobs: Vec<JobRow>,
    /// Where the next page starts; none on the last.
    pub next: Option<u32>,
}

/// A moment of the database, from which changes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotToken(u64);

/// What has changed of a sweep's jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct JobChanges {
    /// The jobs as they stand, in the order of the sweep's cells. A job may be told again although
    /// it has not changed; a change is never left out.
    pub jobs: Vec<JobRow>,
    /// What to ask from next.
    pub next: SnapshotToken,
}

impl Store {
    /// One job with its attempts and epochs.
    ///
    /// # Errors
    /// `NotFound` without such a job.
    pub async fn job_get(&self, id: JobId) -> Result<JobDetail, StoreError> {
        todo!()
    }

    /// A page of a sweep's jobs.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn job_list(&self, query: JobsQuery) -> Result<JobPage, StoreError> {
        todo!()
    }

    /// The jobs of a sweep that changed since `since`; all of them without it. Rows are taken when
    /// their writer had not committed before that moment: by transaction ids, not by clocks, so
    /// that a slow commit is not missed.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn job_changes(
        &self,
        sweep: Uuid,
        since: Option<SnapshotToken>,
    ) -> Result<JobChanges, StoreError> {
        todo!()
    }
}
