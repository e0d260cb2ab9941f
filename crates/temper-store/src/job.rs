//! Jobs, as people look at them.

mod cancel;
mod explain;
mod retry;

use std::{fmt, num::ParseIntError};

use sqlx::types::Json;
use temper_core::{
    Digest,
    job::{JobKind, JobState},
    report::EpochMetrics,
    spec::JobSpec,
};
use uuid::Uuid;

pub use explain::{Explanation, WantingSweep, WorkerFit};
pub use retry::Retried;

use crate::{
    Attempt, AttemptOutcome, Store, StoreError, attempt,
    value::{column, digest, named, stored},
};

/// Number of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
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

impl JobDetail {
    /// Seconds for which the ended attempts held their devices, wasted ones too.
    #[must_use]
    pub fn device_seconds(&self) -> f64 {
        self.seconds(|_| true)
    }

    /// Share of them that went to attempts without an accepted result, in `[0, 1]`; 0 before any
    /// attempt has ended.
    #[must_use]
    pub fn wasted_share(&self) -> f64 {
        let wasted = self.seconds(|outcome| outcome != Some(AttemptOutcome::Succeeded));
        let all = self.device_seconds();
        if all > 0.0 { wasted / all } else { 0.0 }
    }

    fn seconds(&self, counts: impl Fn(Option<AttemptOutcome>) -> bool) -> f64 {
        let attempts = self.attempts.iter();
        let counted = attempts.filter(|attempt| counts(attempt.outcome));
        counted.filter_map(|attempt| attempt.device_seconds).sum()
    }
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

/// A moment of the database, from which changes are told; by default the beginning, from which all is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotToken {
    since: u64,
    /// Where a look goes on that has not told all yet.
    page: Option<Page>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Page {
    /// When the look began: the next one's `since`.
    began: u64,
    /// The last position that was told.
    after: i32,
}

impl SnapshotToken {
    /// Whether all has been told that had changed when the look began.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.page.is_none()
    }
}

/// What has changed of a sweep's jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct JobChanges {
    /// The jobs as they stand, in the order of the sweep's cells. A job may be told again although
    /// it has not changed; a change is never left out.
    pub jobs: Vec<JobRow>,
    /// What to ask from next.
    pub next: SnapshotToken,
}

/// A row of [`job_records`].
struct JobRecord {
    id: i64,
    key: Vec<u8>,
    kind: String,
    state: String,
    title: String,
    epochs_done: i32,
    epochs: i32,
    last_epoch: Option<Json<EpochMetrics>>,
    message: String,
    train_job: Option<i64>,
    position: Option<i32>,
}

/// Jobs with their newest epoch and their place in the sweep `$1`, if that is given; the tail says
/// which ones.
macro_rules! job_records {
    ($tail:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            JobRecord,
            r#"SELECT job.id, job.key, job.kind, job.state, job.title, job.epochs_done, job.epochs,
                (
                    SELECT to_jsonb(metric) FROM temper.epoch_metric AS metric
                    WHERE metric.job_id = job.id ORDER BY metric.epoch DESC LIMIT 1
                ) AS "last_epoch: Json<EpochMetrics>",
                job.message,
                (
                    SELECT dependency.depends_on FROM temper.job_dependency AS dependency
                    WHERE dependency.job_id = job.id ORDER BY dependency.depends_on LIMIT 1
                ) AS train_job,
                link.position AS "position?"
            FROM temper.job
            LEFT JOIN temper.sweep_job AS link
                ON link.job_id = job.id AND link.sweep_id = $1::uuid
            "# + $tail,
            $($argument),*
        )
    };
}

impl JobRecord {
    fn into_row(self) -> Result<JobRow, StoreError> {
        Ok(JobRow {
            id: JobId(self.id),
            key: digest(&self.key, "job key")?,
            kind: named(JobKind::from_name, &self.kind, "job kind")?,
            state: named(JobState::from_name, &self.state, "job state")?,
            title: self.title,
            epochs_done: stored(self.epochs_done, "epochs")?,
            epochs: stored(self.epochs, "epochs")?,
            last_epoch: self.last_epoch.map(|metrics| metrics.0),
            message: self.message,
            train_job: self.train_job.map(JobId),
        })
    }
}

fn into_rows(records: Vec<JobRecord>) -> Result<Vec<JobRow>, StoreError> {
    records.into_iter().map(JobRecord::into_row).collect()
}

impl Store {
    /// One job with its attempts and epochs.
    ///
    /// # Errors
    /// `NotFound` without such a job.
    pub async fn job_get(&self, id: JobId) -> Result<JobDetail, StoreError> {
        let job = job_records!("WHERE job.id = $2", None::<Uuid>, id.0)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| StoreError::not_found("job", &id))?
            .into_row()?;
        let spec = sqlx::query_scalar!(
            r#"SELECT temper.job_spec(job) AS "spec!: Json<JobSpec>" FROM temper.job WHERE id = $1"#,
            id.0,
        )
        .fetch_one(&self.pool)
        .await?
        .0;
        let epochs = sqlx::query_scalar!(
            r#"SELECT to_jsonb(metric) AS "metric!: Json<EpochMetrics>"
            FROM temper.epoch_metric AS metric WHERE job_id = $1 ORDER BY epoch"#,
            id.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let epochs = epochs.into_iter().map(|metrics| metrics.0).collect();
        let attempts = attempt::attempts_of(self, id).await?;
        Ok(JobDetail {
            job,
            spec,
            attempts,
            epochs,
        })
    }

    /// A page of a sweep's jobs.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn job_list(&self, query: JobsQuery) -> Result<JobPage, StoreError> {
        self.sweep_exists(query.sweep).await?;
        let after: i32 = match query.after {
            Some(after) => column(after, "the page's start")?,
            None => -1,
        };
        // One more than asked for tells whether another page follows.
        let mut records = job_records!(
            "WHERE link.sweep_id = $1 AND link.position > $2
                AND ($3::text IS NULL OR job.state = $3)
            ORDER BY link.position LIMIT $4",
            query.sweep,
            after,
            query.state.map(JobState::as_str),
            i64::from(query.limit) + 1
        )
        .fetch_all(&self.pool)
        .await?;
        let more = records.len() > query.limit as usize;
        records.truncate(query.limit as usize);
        let last = records
            .last()
            .filter(|_| more)
            .and_then(|record| record.position);
        let next = last
            .map(|position| stored(position, "position"))
            .transpose()?;
        Ok(JobPage {
            jobs: into_rows(records)?,
            next,
        })
    }

    /// The jobs of a sweep that changed since `from`, at most `limit` of them: `next` goes on from there.
    /// Rows are taken when their writer had not committed before that moment: by transaction ids, not
    /// by clocks, so that a slow commit is not missed.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn job_changes(
        &self,
        sweep: Uuid,
        from: SnapshotToken,
        limit: u32,
    ) -> Result<JobChanges, StoreError> {
        self.sweep_exists(sweep).await?;
        // The moment is taken before the rows: what commits in between is told now and once more
        // the next time.
        let (began, after) = match from.page {
            Some(Page { began, after }) => (began, after),
            None => (self.oldest_running().await?, -1),
        };
        let records = job_records!(
            "WHERE link.sweep_id = $1 AND job.changed_in >= ($2::text)::xid8 AND link.position > $3
            ORDER BY link.position LIMIT $4",
            sweep,
            from.since.to_string(),
            after,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        let is_full = records.len() >= limit as usize;
        let last = records.last().and_then(|record| record.position);
        let next = match last.filter(|_| is_full) {
            Some(after) => SnapshotToken {
                page: Some(Page { began, after }),
                ..from
            },
            None => SnapshotToken {
                since: began,
                page: None,
            },
        };
        Ok(JobChanges {
            jobs: into_rows(records)?,
            next,
        })
    }

    /// The oldest transaction that is running: all before it are seen.
    async fn oldest_running(&self) -> Result<u64, StoreError> {
        let oldest = sqlx::query_scalar!(
            r#"SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS "xmin!""#
        )
        .fetch_one(&self.pool)
        .await?;
        let parsed = oldest.parse();
        parsed.map_err(|error: ParseIntError| StoreError::corrupt("snapshot", &error))
    }
}
