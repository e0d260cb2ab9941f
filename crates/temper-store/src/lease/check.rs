//! The fence: who may write to a job.

use std::collections::HashMap;

use temper_core::job::{JobKind, JobState};
use uuid::Uuid;

use super::LeaseRef;
use crate::{
    AttemptOutcome, JobId, StoreError,
    store::Tx,
    value::{named, stored},
};

/// A job whose lease the writer holds; its row is locked until the transaction ends.
pub(crate) struct Held {
    pub(crate) job: JobId,
    pub(crate) kind: JobKind,
    pub(crate) state: JobState,
    pub(crate) epochs: u32,
    /// Epochs that are reported.
    pub(crate) epochs_done: u32,
    pub(crate) fence: i64,
}

/// What a fence is good for.
pub(crate) enum Hold {
    /// The writer may write.
    Live(Held),
    /// The writer's result was accepted before.
    Accepted,
}

/// Locks the lease's job and checks that the writer may write to it. A writer that may not locks
/// nothing.
///
/// Only the job's row tells, because only it is sure to be read as it is after the wait for its
/// lock. The attempt of a fence never changes hands, and neither does the worker's token.
pub(crate) async fn lease_check(tx: &mut Tx, lease: &LeaseRef) -> Result<Hold, StoreError> {
    let row = sqlx::query!(
        "SELECT kind, state, epochs, epochs_done FROM temper.job
        WHERE id = $1 AND state = 'leased' AND fence = $2 AND EXISTS (
            SELECT FROM temper.attempt JOIN temper.worker USING (incarnation)
            WHERE attempt.job_id = job.id AND attempt.fence = job.fence
                AND attempt.incarnation = $3 AND worker.token_id = $4
        ) FOR NO KEY UPDATE",
        lease.job.0,
        lease.fence,
        lease.incarnation,
        lease.token,
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else {
        return lease_lost(tx, lease).await;
    };
    Ok(Hold::Live(Held {
        job: lease.job,
        kind: named(JobKind::from_name, &row.kind, "job kind")?,
        state: named(JobState::from_name, &row.state, "job state")?,
        epochs: stored(row.epochs, "epochs")?,
        epochs_done: stored(row.epochs_done, "epochs")?,
        fence: lease.fence,
    }))
}

/// Locks the jobs of those of the leases that are good and whose job nobody else has locked, and gives
/// what it locked. Waits for no lock, so that many jobs can be locked at once in any order.
pub(crate) async fn leases_try(
    tx: &mut Tx,
    leases: &[LeaseRef],
) -> Result<HashMap<LeaseRef, Held>, StoreError> {
    let jobs: Vec<i64> = leases.iter().map(|lease| lease.job.0).collect();
    let fences: Vec<i64> = leases.iter().map(|lease| lease.fence).collect();
    let incarnations: Vec<Uuid> = leases.iter().map(|lease| lease.incarnation).collect();
    let tokens: Vec<Uuid> = leases.iter().map(|lease| lease.token).collect();
    let rows = sqlx::query!(
        r#"SELECT lease.incarnation AS "incarnation!", lease.token AS "token!",
            job.id, job.kind, job.state, job.epochs, job.epochs_done, job.fence
        FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::uuid[])
            AS lease (job_id, fence, incarnation, token)
        JOIN temper.job ON job.id = lease.job_id AND job.fence = lease.fence
        WHERE job.state = 'leased' AND EXISTS (
            SELECT FROM temper.attempt JOIN temper.worker USING (incarnation)
            WHERE attempt.job_id = job.id AND attempt.fence = job.fence
                AND attempt.incarnation = lease.incarnation AND worker.token_id = lease.token
        ) FOR NO KEY UPDATE OF job SKIP LOCKED"#,
        &jobs,
        &fences,
        &incarnations,
        &tokens,
    )
    .fetch_all(&mut **tx)
    .await?;
    let held = rows.into_iter().map(|row| {
        let lease = LeaseRef {
            job: JobId(row.id),
            incarnation: row.incarnation,
            token: row.token,
            fence: row.fence,
        };
        let held = Held {
            job: lease.job,
            kind: named(JobKind::from_name, &row.kind, "job kind")?,
            state: named(JobState::from_name, &row.state, "job state")?,
            epochs: stored(row.epochs, "epochs")?,
            epochs_done: stored(row.epochs_done, "epochs")?,
            fence: lease.fence,
        };
        Ok((lease, held))
    });
    held.collect()
}

/// Like [`lease_check`], for writers that have nothing to repeat after their result.
pub(crate) async fn lease_hold(tx: &mut Tx, lease: &LeaseRef) -> Result<Held, StoreError> {
    match lease_check(tx, lease).await? {
        Hold::Live(held) => Ok(held),
        Hold::Accepted => Err(repeated_late(lease)),
    }
}

/// The answer to a writer whose result has been accepted and who writes on.
pub(crate) fn repeated_late(lease: &LeaseRef) -> StoreError {
    StoreError::LeaseLost {
        job: lease.job,
        reason: "its result has been accepted".to_owned(),
    }
}

/// Notes that the lease's worker gets on.
pub(crate) async fn progress_note(tx: &mut Tx, job: JobId) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE temper.lease SET progress_at = now() WHERE job_id = $1",
        job.0
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Says what became of a lease, and who has the job now.
async fn lease_lost(tx: &mut Tx, lease: &LeaseRef) -> Result<Hold, StoreError> {
    let row = sqlx::query!(
        r#"SELECT job.state, job.fence, own.outcome, holder.worker AS "holder?",
            (own.incarnation = $3 AND worker.token_id = $4) IS TRUE AS "given!"
        FROM temper.job
        LEFT JOIN temper.attempt AS own ON own.job_id = job.id AND own.fence = $2
        LEFT JOIN temper.worker ON worker.incarnation = own.incarnation
        LEFT JOIN temper.attempt AS holder
            ON holder.job_id = job.id AND holder.fence = job.fence AND job.state = 'leased'
        WHERE job.id = $1"#,
        lease.job.0,
        lease.fence,
        lease.incarnation,
        lease.token,
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| StoreError::not_found("job", &lease.job))?;
    let state = named(JobState::from_name, &row.state, "job state")?;
    let lost = |reason| {
        Err(StoreError::LeaseLost {
            job: lease.job,
            reason,
        })
    };
    if !row.given {
        return lost(format!(
            "fence {} was never given to this worker",
            lease.fence
        ));
    }
    if state == JobState::Succeeded && row.fence == lease.fence {
        return Ok(Hold::Accepted);
    }
    let own = match row.outcome.as_deref().and_then(AttemptOutcome::from_name) {
        Some(AttemptOutcome::Lost) => "it ran out",
        Some(AttemptOutcome::Released) => "it was given back",
        Some(AttemptOutcome::Cancelled) => "the job was cancelled",
        Some(AttemptOutcome::Failed) => "its attempt has failed",
        Some(AttemptOutcome::Succeeded) | None => "its attempt is over",
    };
    let now = match row.holder {
        Some(worker) => format!("worker {worker} holds the job under fence {}", row.fence),
        None => format!("the job is {state}"),
    };
    lost(format!("{own}, and now {now}"))
}
