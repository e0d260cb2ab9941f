//! What the sweeps' wishes come to for jobs. Callers hold the locks of the jobs that they pass.

use temper_core::job::{JobEvent, JobState};
use uuid::Uuid;

use crate::{JobId, StoreError, store::Tx};

/// Jobs that a sweep wants, or wanted.
pub(super) async fn jobs_of(tx: &mut Tx, sweep: Uuid) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT job_id FROM temper.sweep_job WHERE sweep_id = $1",
        sweep
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Locks jobs, in the order of their ids like everybody.
pub(crate) async fn jobs_lock(tx: &mut Tx, jobs: &[i64]) -> Result<(), StoreError> {
    sqlx::query!(
        "SELECT id FROM temper.job WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        jobs,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(())
}

/// Computes anew whether jobs are wanted, how much, by whom and where, from the sweeps that link to them.
/// It moves no job: one that a person cancelled stays cancelled, however many sweeps want it.
pub(super) async fn wishes_refresh(tx: &mut Tx, jobs: &[i64]) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE temper.job
        SET wanted = wish.wanted, priority = wish.priority, owner = wish.owner,
            queue_id = wish.queue_id
        FROM (
            SELECT job.id, live.owner IS NOT NULL AS wanted,
                coalesce(live.priority, job.priority) AS priority,
                coalesce(live.owner, job.owner) AS owner,
                coalesce(live.queue_id, job.queue_id) AS queue_id
            FROM temper.job
            LEFT JOIN LATERAL (
                SELECT sweep.priority, sweep.owner, sweep.queue_id
                FROM temper.sweep_job AS link JOIN temper.sweep ON sweep.id = link.sweep_id
                WHERE link.job_id = job.id
                    AND sweep.cancelled_at IS NULL AND sweep.paused_at IS NULL
                ORDER BY sweep.priority DESC, sweep.created_at, sweep.id LIMIT 1
            ) AS live ON true
            WHERE job.id = ANY($1)
        ) AS wish
        WHERE job.id = wish.id
            AND (job.wanted, job.priority, job.owner, job.queue_id)
                IS DISTINCT FROM (wish.wanted, wish.priority, wish.owner, wish.queue_id)",
        jobs,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Queues those of the jobs again that were cancelled, are wanted, and do not wait for a failure.
/// Only for jobs that a sweep has just come to ask for: a new wish outweighs that a person cancelled
/// them before, which nothing else does.
pub(super) async fn jobs_revive(tx: &mut Tx, jobs: &[i64]) -> Result<(), StoreError> {
    let queued = JobState::Cancelled.after(JobEvent::Wanted)?;
    sqlx::query!(
        "UPDATE temper.job SET state = $2, message = '', finished_at = NULL, available_at = now(),
            withdrawn = false
        WHERE id = ANY($1) AND state = 'cancelled' AND wanted AND NOT EXISTS (
            SELECT FROM temper.job_dependency AS dependency
            JOIN temper.job AS train ON train.id = dependency.depends_on
            WHERE dependency.job_id = job.id AND train.state = 'failed'
        )",
        jobs,
        queued.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Lets fresh jobs know how older ones that they depend on ended: their successes block nothing,
/// their failures cancel.
pub(super) async fn jobs_catch_up(tx: &mut Tx, fresh: &[i64]) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE temper.job SET blocked_by = 0
        FROM temper.job_dependency AS dependency
        JOIN temper.job AS train ON train.id = dependency.depends_on
        WHERE job.id = ANY($1) AND dependency.job_id = job.id AND train.state = 'succeeded'",
        fresh,
    )
    .execute(&mut **tx)
    .await?;
    let failed = sqlx::query_scalar!(
        "SELECT DISTINCT train.id FROM temper.job_dependency AS dependency
        JOIN temper.job AS train ON train.id = dependency.depends_on
        WHERE dependency.job_id = ANY($1) AND train.state = 'failed'",
        fresh,
    )
    .fetch_all(&mut **tx)
    .await?;
    for train in failed {
        dependents_cancel(tx, JobId(train)).await?;
    }
    Ok(())
}

/// Cancels those of the jobs that no live sweep wants, and the leases of those that run.
pub(super) async fn jobs_cancel(tx: &mut Tx, jobs: &[i64]) -> Result<(), StoreError> {
    let unwanted = sqlx::query_scalar!(
        "SELECT id FROM temper.job
        WHERE id = ANY($1) AND state IN ('queued', 'leased') AND NOT EXISTS (
            SELECT FROM temper.sweep_job AS link JOIN temper.sweep ON sweep.id = link.sweep_id
            WHERE link.job_id = job.id AND sweep.cancelled_at IS NULL
        )",
        jobs,
    )
    .fetch_all(&mut **tx)
    .await?;
    jobs_stop(tx, &unwanted, "no live sweep wants it").await
}

/// Cancels those of the jobs that have not ended, and the leases of those that run.
pub(crate) async fn jobs_stop(tx: &mut Tx, jobs: &[i64], message: &str) -> Result<(), StoreError> {
    // A heartbeat locks several leases as well, in the same order.
    sqlx::query!(
        "SELECT job_id FROM temper.lease WHERE job_id = ANY($1) ORDER BY job_id FOR UPDATE",
        jobs,
    )
    .fetch_all(&mut **tx)
    .await?;
    sqlx::query!(
        "WITH gone AS (DELETE FROM temper.lease WHERE job_id = ANY($1) RETURNING job_id, attempt)
        UPDATE temper.attempt SET ended_at = now(), outcome = 'cancelled',
            device_seconds = greatest(0, extract(epoch FROM now() - started_at))
        FROM gone WHERE attempt.job_id = gone.job_id AND attempt.number = gone.attempt",
        jobs,
    )
    .execute(&mut **tx)
    .await?;
    cancel(tx, jobs, message).await
}

/// Cancels what waits for a training that has failed. Locks the jobs itself.
pub(crate) async fn dependents_cancel(tx: &mut Tx, train: JobId) -> Result<(), StoreError> {
    let dependents = dependents_lock(tx, train).await?;
    cancel(tx, &dependents, &format!("training job {train} failed")).await
}

/// Locks and gives what depends on a training.
pub(crate) async fn dependents_lock(tx: &mut Tx, train: JobId) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT job.id FROM temper.job_dependency AS dependency
        JOIN temper.job ON job.id = dependency.job_id
        WHERE dependency.depends_on = $1 ORDER BY job.id FOR NO KEY UPDATE OF job",
        train.0,
    )
    .fetch_all(&mut **tx)
    .await?)
}

async fn cancel(tx: &mut Tx, jobs: &[i64], message: &str) -> Result<(), StoreError> {
    let cancelled = JobState::Queued.after(JobEvent::Cancelled)?;
    sqlx::query!(
        "UPDATE temper.job
        SET state = $2, message = $3, finished_at = now(), withdrawn = false
        WHERE id = ANY($1) AND state IN ('queued', 'leased')",
        jobs,
        cancelled.as_str(),
        message,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
