//! Sweeps: what was asked for, and where it stands.

mod breaker;
mod cancel;
mod cells;
mod create;
mod extend;
pub(crate) mod jobs;
mod preview;
mod staging;
mod steer;
mod templates;
mod title;

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use temper_core::{
    Digest, catalog::Input, expand::Expansion, placement::Placement, spec::SweepSpec,
    trace::TraceParent,
};
use uuid::Uuid;

pub use breaker::BREAKER;
pub use extend::SweepExtension;
pub use preview::SweepPreview;
pub use steer::SweepChanges;

use crate::{Store, StoreError, queue, value::stored};

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
    /// What it asks of workers.
    pub placement: &'a Placement,
    /// Jobs of it that may be leased at a time, above 0; none: any number.
    pub parallel_jobs: Option<u32>,
    /// What was asked for.
    pub spec: &'a SweepSpec,
    /// What it comes to.
    pub expansion: &'a Expansion,
    /// What its names stand for.
    pub inputs: &'a [Input],
    /// The trace in which it is asked for, which its new jobs belong to.
    pub trace: Option<TraceParent>,
}

/// What a sweep asked for, and what its names stood for then.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepRequest {
    /// The spec, every default filled in.
    pub spec: SweepSpec,
    /// Its models and datasets.
    pub inputs: Vec<Input>,
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
    /// What it asks of workers.
    pub placement: Placement,
    /// Jobs of it that may be leased at a time; none: any number.
    pub parallel_jobs: Option<u32>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it was cancelled, if it was.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// Since when it is paused, if it is.
    pub paused_at: Option<DateTime<Utc>>,
    /// Why it is paused; else empty.
    pub pause_reason: String,
    /// Grows with every change that is made to the sweep.
    pub revision: i64,
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
    /// Some jobs are still to be done, but none is begun: see the sweep's reason.
    Paused,
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

/// Which sweeps are wanted: those to which all applies that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepFilter {
    /// Where they stand.
    pub state: Option<SweepState>,
    /// Whose they are.
    pub owner: Option<String>,
    /// Labels that they bear with these values.
    pub labels: BTreeMap<String, String>,
    /// A model on their axis.
    pub model: Option<String>,
    /// A dataset on their axis.
    pub dataset: Option<String>,
}

/// A page of sweeps.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepPage {
    /// The sweeps, newest first.
    pub sweeps: Vec<SweepRow>,
    /// What the next page comes after; none on the last.
    pub next: Option<SweepCursor>,
}

impl SweepState {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for SweepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl JobCounts {
    /// Where a sweep with these jobs stands that nobody cancelled or paused.
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

/// A row of [`sweep_records`].
struct SweepRecord {
    id: Uuid,
    owner: String,
    display_name: String,
    labels: Json<BTreeMap<String, String>>,
    priority: i32,
    device_kind: Option<String>,
    worker_labels: Json<BTreeMap<String, String>>,
    memory_bytes: Option<i64>,
    parallel_jobs: Option<i32>,
    created_at: DateTime<Utc>,
    cancelled_at: Option<DateTime<Utc>>,
    paused_at: Option<DateTime<Utc>>,
    pause_reason: String,
    revision: i64,
    jobs_created: i32,
    cells: i64,
    cells_succeeded: i64,
    queued: i64,
    leased: i64,
    succeeded: i64,
    failed: i64,
    cancelled: i64,
}

/// Sweeps with their counts; the tail says which ones.
macro_rules! sweep_records {
    ($tail:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            SweepRecord,
            r#"SELECT sweep.id, sweep.owner, sweep.display_name,
                sweep.labels AS "labels: Json<BTreeMap<String, String>>",
                sweep.priority, queue.device_kind,
                queue.labels AS "worker_labels: Json<BTreeMap<String, String>>",
                queue.memory_bytes, sweep.parallel_jobs,
                sweep.created_at, sweep.cancelled_at, sweep.paused_at,
                sweep.pause_reason, sweep.revision, sweep.jobs_created,
                cells.total AS "cells!", cells.succeeded AS "cells_succeeded!",
                jobs.queued AS "queued!", jobs.leased AS "leased!",
                jobs.succeeded AS "succeeded!", jobs.failed AS "failed!",
                jobs.cancelled AS "cancelled!"
            FROM temper.sweep JOIN temper.queue ON queue.id = sweep.queue_id
            CROSS JOIN LATERAL (
                SELECT count(*) FILTER (WHERE job.state = 'queued') AS queued,
                    count(*) FILTER (WHERE job.state = 'leased') AS leased,
                    count(*) FILTER (WHERE job.state = 'succeeded') AS succeeded,
                    count(*) FILTER (WHERE job.state = 'failed') AS failed,
                    count(*) FILTER (WHERE job.state = 'cancelled') AS cancelled
                FROM temper.sweep_job AS link JOIN temper.job ON job.id = link.job_id
                WHERE link.sweep_id = sweep.id
            ) AS jobs
            CROSS JOIN LATERAL (
                SELECT count(*) AS total,
                    count(*) FILTER (WHERE train.state = 'succeeded' AND NOT EXISTS (
                        SELECT FROM temper.cell_evaluation AS evaluation
                        JOIN temper.job ON job.id = evaluation.job_id
                        WHERE evaluation.sweep_id = cell.sweep_id
                            AND evaluation.cell = cell.ordinal AND job.state <> 'succeeded'
                    )) AS succeeded
                FROM temper.sweep_cell AS cell JOIN temper.job AS train ON train.id = cell.train_job
                WHERE cell.sweep_id = sweep.id
            ) AS cells
            "# + $tail,
            $($argument),*
        )
    };
}

impl SweepRecord {
    fn into_row(self) -> Result<SweepRow, StoreError> {
        let jobs = JobCounts {
            queued: stored(self.queued, "count")?,
            leased: stored(self.leased, "count")?,
            succeeded: stored(self.succeeded, "count")?,
            failed: stored(self.failed, "count")?,
            cancelled: stored(self.cancelled, "count")?,
        };
        let state = match jobs.state() {
            _ if self.cancelled_at.is_some() => SweepState::Cancelled,
            SweepState::Running if self.paused_at.is_some() => SweepState::Paused,
            state => state,
        };
        Ok(SweepRow {
            id: self.id,
            owner: self.owner,
            display_name: self.display_name,
            labels: self.labels.0,
            priority: self.priority,
            placement: queue::placement(
                self.device_kind.as_deref(),
                self.worker_labels.0,
                self.memory_bytes,
            )?,
            parallel_jobs: self
                .parallel_jobs
                .map(|jobs| stored(jobs, "limit"))
                .transpose()?,
            created_at: self.created_at,
            cancelled_at: self.cancelled_at,
            paused_at: self.paused_at,
            pause_reason: self.pause_reason,
            revision: self.revision,
            jobs_created: stored(self.jobs_created, "count")?,
            cells: stored(self.cells, "count")?,
            cells_succeeded: stored(self.cells_succeeded, "count")?,
            jobs,
            state,
        })
    }
}

impl Store {
    /// A sweep with its counts.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn sweep_get(&self, id: Uuid) -> Result<SweepRow, StoreError> {
        sweep_records!("WHERE sweep.id = $1", id)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| StoreError::not_found("sweep", &id))?
            .into_row()
    }

    /// What a sweep asked for.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn sweep_request(&self, id: Uuid) -> Result<SweepRequest, StoreError> {
        let row = sqlx::query!(
            r#"SELECT spec AS "spec: Json<SweepSpec>", inputs AS "inputs: Json<Vec<Input>>"
            FROM temper.sweep WHERE id = $1"#,
            id,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| StoreError::not_found("sweep", &id))?;
        Ok(SweepRequest {
            spec: row.spec.0,
            inputs: row.inputs.0,
        })
    }

    /// A page of at most `limit` sweeps, newest first. A sweep that is submitted meanwhile moves no
    /// other to another page.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_list(
        &self,
        filter: &SweepFilter,
        limit: u32,
        after: Option<SweepCursor>,
    ) -> Result<SweepPage, StoreError> {
        let (created_at, id) = after.map(|after| (after.created_at, after.id)).unzip();
        // One more than asked for tells whether another page follows. Of a state only what it takes
        // to tell is looked at, and only of as many sweeps as fill the page.
        let records = sweep_records!(
            "WHERE ($1::timestamptz IS NULL OR (sweep.created_at, sweep.id) < ($1, $2::uuid))
                AND ($4::text IS NULL OR sweep.owner = $4)
                AND sweep.labels @> $5
                AND ($6::text IS NULL OR sweep.spec->'models' ? $6)
                AND ($7::text IS NULL OR sweep.spec->'datasets' ? $7)
                AND ($8::text IS NULL OR $8 = CASE
                    WHEN sweep.cancelled_at IS NOT NULL THEN 'cancelled'
                    WHEN EXISTS (
                        SELECT FROM temper.sweep_job AS link JOIN temper.job ON job.id = link.job_id
                        WHERE link.sweep_id = sweep.id AND job.state IN ('queued', 'leased')
                    ) THEN CASE WHEN sweep.paused_at IS NULL THEN 'running' ELSE 'paused' END
                    WHEN EXISTS (
                        SELECT FROM temper.sweep_job AS link JOIN temper.job ON job.id = link.job_id
                        WHERE link.sweep_id = sweep.id AND job.state <> 'succeeded'
                    ) THEN 'failed'
                    ELSE 'succeeded' END)
            ORDER BY sweep.created_at DESC, sweep.id DESC LIMIT $3",
            created_at,
            id,
            i64::from(limit) + 1,
            filter.owner,
            Json(&filter.labels) as _,
            filter.model,
            filter.dataset,
            filter.state.map(SweepState::as_str)
        )
        .fetch_all(&self.pool)
        .await?;
        let mut sweeps = records
            .into_iter()
            .map(SweepRecord::into_row)
            .collect::<Result<Vec<_>, _>>()?;
        let more = sweeps.len() > limit as usize;
        sweeps.truncate(limit as usize);
        let last = sweeps.last().filter(|_| more);
        let next = last.map(|last| SweepCursor {
            created_at: last.created_at,
            id: last.id,
        });
        Ok(SweepPage { sweeps, next })
    }

    /// Fails unless there is such a sweep: an empty list alone does not tell.
    pub(crate) async fn sweep_exists(&self, id: Uuid) -> Result<(), StoreError> {
        sqlx::query_scalar!("SELECT id FROM temper.sweep WHERE id = $1", id)
            .fetch_optional(&self.pool)
            .await?
            .map(drop)
            .ok_or_else(|| StoreError::not_found("sweep", &id))
    }
}
