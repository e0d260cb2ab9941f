//! Why a job is not running.

use chrono::{DateTime, Utc};
use temper_core::{job::JobState, placement::Constraint};
use uuid::Uuid;

use super::{JobId, JobRow};
use crate::{
    Store, StoreError, SweepState,
    value::{named, stored},
};

/// Workers that were not heard of for longer are not told of.
const FORGOTTEN: &str = "1 hour";
/// Longer than any worker that is there keeps silent.
const SILENT: &str = "1 minute";
/// Jobs ahead that are counted, and workers that are told of.
const MOST: i64 = 1000;

/// Where a job stands, and what each worker lacks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The job.
    pub job: JobRow,
    /// State of the training that it waits for, of an evaluation that does.
    pub train_state: Option<JobState>,
    /// Whether a live sweep that is not paused wants it.
    pub wanted: bool,
    /// The sweeps that contain it.
    pub sweeps: Vec<WantingSweep>,
    /// Until when it pauses after a failure, where that is to come.
    pub pauses_until: Option<DateTime<Utc>>,
    /// Jobs of its sweep that are leased, and that may be, where there is such a limit.
    pub limit: Option<(u32, u32)>,
    /// Ready jobs of its owner that come before it, counted up to 1000.
    pub ahead: u32,
    /// Workers heard of within the hour, the last heard of first, 1000 at most.
    pub workers: Vec<WorkerFit>,
}

/// A sweep that contains a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantingSweep {
    /// The sweep.
    pub id: Uuid,
    /// Whether it wants the job: running, paused or cancelled.
    pub state: SweepState,
    /// Why it is paused; else empty.
    pub pause_reason: String,
}

/// What a worker lacks for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFit {
    /// Its name.
    pub name: String,
    /// Its device.
    pub device: String,
    /// What keeps it from taking the job; empty where nothing does.
    pub constraints: Vec<Constraint>,
    /// Bytes of its device's memory that are free, where that is known.
    pub free_memory_bytes: Option<u64>,
    /// Bytes that the job wants there, where that is known.
    pub wanted_memory_bytes: Option<u64>,
    /// The job that it has in hand.
    pub holds: Option<JobId>,
    /// When it was last heard of.
    pub seen_at: DateTime<Utc>,
}

impl Store {
    /// Why a job is not running.
    ///
    /// # Errors
    /// `NotFound` without such a job.
    pub async fn job_explain(&self, id: JobId) -> Result<Explanation, StoreError> {
        let job = self.job_get(id).await?.job;
        let row = sqlx::query!(
            r#"SELECT job.wanted, job.available_at, job.available_at > now() AS "pauses!",
                (
                    SELECT train.state FROM temper.job_dependency AS dependency
                    JOIN temper.job AS train ON train.id = dependency.depends_on
                    WHERE dependency.job_id = job.id AND job.blocked_by > 0
                    LIMIT 1
                ) AS train_state,
                limiting.parallel_jobs AS "parallel_jobs?",
                (
                    SELECT count(*) FROM temper.lease WHERE job.queue_id = (
                        SELECT other.queue_id FROM temper.job AS other WHERE other.id = lease.job_id
                    )
                ) AS "leased!",
                (
                    SELECT count(*) FROM (
                        SELECT FROM temper.queue AS own
                        JOIN temper.queue AS beside ON beside.owner = own.owner
                        JOIN temper.job AS other ON other.queue_id = beside.id
                        WHERE own.id = job.queue_id
                            AND other.state = 'queued' AND other.wanted AND other.blocked_by = 0
                            AND (-other.priority, other.id) < (-job.priority, job.id)
                        LIMIT $2
                    ) AS before
                ) AS "ahead!"
            FROM temper.job JOIN temper.queue ON queue.id = job.queue_id
            LEFT JOIN temper.sweep AS limiting ON limiting.id = queue.sweep_id
            WHERE job.id = $1"#,
            id.0,
            MOST,
        )
        .fetch_one(&self.pool)
        .await?;
        let state = |name: String| named(JobState::from_name, &name, "job state");
        let limit =
            |jobs| Ok::<_, StoreError>((stored(row.leased, "count")?, stored(jobs, "limit")?));
        Ok(Explanation {
            train_state: row.train_state.map(state).transpose()?,
            wanted: row.wanted,
            sweeps: self.sweeps_wanting(id).await?,
            pauses_until: row.pauses.then_some(row.available_at),
            limit: row.parallel_jobs.map(limit).transpose()?,
            ahead: stored(row.ahead, "count")?,
            workers: self.workers_fitting(id).await?,
            job,
        })
    }

    async fn sweeps_wanting(&self, job: JobId) -> Result<Vec<WantingSweep>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT sweep.id, sweep.pause_reason, sweep.cancelled_at IS NOT NULL AS "cancelled!",
                sweep.paused_at IS NOT NULL AS "paused!"
            FROM temper.sweep_job AS link JOIN temper.sweep ON sweep.id = link.sweep_id
            WHERE link.job_id = $1 ORDER BY sweep.created_at, sweep.id"#,
            job.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let sweeps = rows.into_iter().map(|row| WantingSweep {
            id: row.id,
            state: match (row.cancelled, row.paused) {
                (true, _) => SweepState::Cancelled,
                (false, true) => SweepState::Paused,
                (false, false) => SweepState::Running,
            },
            pause_reason: row.pause_reason,
        });
        Ok(sweeps.collect())
    }

    async fn workers_fitting(&self, job: JobId) -> Result<Vec<WorkerFit>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT worker.name, worker.device, worker.last_seen_at,
                coalesce(worker.free_memory_bytes, worker.memory_bytes) AS free,
                temper.memory_wanted(queue, footprint, worker.device_kind) AS needed,
                lease.job_id AS "holds?",
                temper.misfits(queue, footprint, worker) || array_remove(ARRAY[
                    CASE WHEN lease.job_id IS NOT NULL THEN 'busy' END,
                    CASE WHEN worker.last_seen_at < now() - $2::text::interval THEN 'silent' END
                ], NULL) AS "constraints!"
            FROM temper.job
            JOIN temper.queue ON queue.id = job.queue_id
            JOIN temper.footprint ON footprint.id = job.footprint_id
            JOIN temper.worker ON worker.last_seen_at > now() - $3::text::interval
            LEFT JOIN temper.lease ON lease.incarnation = worker.incarnation
            WHERE job.id = $1
            ORDER BY worker.last_seen_at DESC LIMIT $4"#,
            job.0,
            SILENT,
            FORGOTTEN,
            MOST,
        )
        .fetch_all(&self.pool)
        .await?;
        let memory = |bytes: Option<i64>| bytes.map(|bytes| stored(bytes, "memory")).transpose();
        let workers = rows.into_iter().map(|row| {
            let constraints = row.constraints.iter();
            let constraints =
                constraints.map(|name| named(Constraint::from_name, name, "constraint"));
            Ok(WorkerFit {
                constraints: constraints.collect::<Result<_, _>>()?,
                free_memory_bytes: memory(row.free)?,
                wanted_memory_bytes: memory(row.needed)?,
                holds: row.holds.map(JobId),
                seen_at: row.last_seen_at,
                name: row.name,
                device: row.device,
            })
        });
        workers.collect()
    }
}
