//! Leases: given, extended, given back, taken back.

mod check;
mod claim;

use std::time::Duration;

use temper_core::{
    Digest,
    job::{FailureClass, JobEvent, JobKind, JobState},
    spec::JobSpec,
    trace::TraceParent,
};
use uuid::Uuid;

pub(crate) use check::{
    Held, Hold, lease_check, lease_hold, leases_try, progress_note, repeated_late,
};

use crate::{
    Artifact, AttemptOutcome, Checkpoint, JobId, Store, StoreError,
    attempt::{End, Failure, attempt_end, job_fail, job_requeue},
    store::Tx,
    value::{named, stored},
    worker::{WorkerRef, worker_seen},
};

/// The right to write to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseRef {
    /// The job.
    pub job: JobId,
    /// The worker's incarnation.
    pub incarnation: Uuid,
    /// The token under which the writer calls: the lease is good under the worker's own alone.
    pub token: Uuid,
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
    /// The trace that the attempt goes on with.
    pub trace: Option<TraceParent>,
    /// The attempt before was lost.
    pub rescues: bool,
}

/// What a worker is to do with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseStatus {
    /// The lease is extended: go on.
    Continue,
    /// The lease is extended, but every sweep that wants the job is paused: give it back.
    Release,
    /// No live sweep wants the job: stop.
    Cancel,
    /// The lease is gone: stop.
    Lost,
}

impl Store {
    /// Extends a worker's leases (job and fence) to `duration` from now, and says what became of
    /// each, in the order asked. A lease that has run out but was not yet taken back is extended:
    /// nobody else holds the job. Without leases it only tells that the worker is there.
    ///
    /// # Errors
    /// `UnknownWorker` when the incarnation has not registered under this token.
    pub async fn lease_heartbeat(
        &self,
        worker: WorkerRef,
        leases: &[(JobId, i64)],
        duration: Duration,
    ) -> Result<Vec<LeaseStatus>, StoreError> {
        worker_seen(self, worker).await?;
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let (jobs, fences): (Vec<i64>, Vec<i64>) =
            leases.iter().map(|(job, fence)| (job.0, *fence)).unzip();
        let rows = sqlx::query!(
            r#"WITH asked AS (
                SELECT * FROM unnest($2::bigint[], $3::bigint[])
                WITH ORDINALITY AS ask (job_id, fence, place)
            ), held AS MATERIALIZED (
                SELECT lease.job_id, lease.fence FROM temper.lease
                WHERE lease.incarnation = $1 AND lease.job_id = ANY($2)
                ORDER BY lease.job_id FOR NO KEY UPDATE
            ), extended AS (
                UPDATE temper.lease
                SET expires_at = now() + make_interval(secs => $4), last_heartbeat_at = now()
                FROM held JOIN asked USING (job_id, fence)
                WHERE lease.job_id = held.job_id
                RETURNING lease.job_id, lease.fence
            )
            SELECT extended.job_id IS NOT NULL AS "extended!", job.wanted IS FALSE AS "unwanted!",
                (job.state = 'cancelled' AND job.fence = asked.fence) IS TRUE AS "cancelled!"
            FROM asked
            LEFT JOIN extended USING (job_id, fence)
            LEFT JOIN temper.job ON job.id = asked.job_id
            ORDER BY asked.place"#,
            worker.incarnation,
            &jobs,
            &fences,
            duration.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        let statuses = rows.into_iter().map(|row| {
            if row.cancelled {
                LeaseStatus::Cancel
            } else if !row.extended {
                LeaseStatus::Lost
            } else if row.unwanted {
                LeaseStatus::Release
            } else {
                LeaseStatus::Continue
            }
        });
        Ok(statuses.collect())
    }

    /// Gives a job back, its checkpoints kept and no attempt burned.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job.
    pub async fn lease_release(&self, lease: &LeaseRef) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let held = lease_hold(&mut tx, lease).await?;
        attempt_end(&mut tx, &held, &End::plain(AttemptOutcome::Released)).await?;
        job_requeue(&mut tx, &held, JobEvent::Released, Duration::ZERO).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives back what a worker says that it does not hold, no attempt burned. Gives the jobs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leases_disown(&self, held: &[LeaseRef]) -> Result<Vec<JobId>, StoreError> {
        let mut released = Vec::new();
        for lease in held {
            match self.lease_release(lease).await {
                Ok(()) => released.push(lease.job),
                // It was taken back meanwhile.
                Err(StoreError::LeaseLost { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(released)
    }

    /// Takes back every lease that has run out: its job is queued again, or has failed once too
    /// many of its attempts were lost. Gives the jobs. Any number of coordinators may call this at
    /// once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lease_expire(&self) -> Result<Vec<JobId>, StoreError> {
        let overdue = sqlx::query_scalar!(
            "SELECT job_id FROM temper.lease WHERE expires_at < now() ORDER BY job_id"
        )
        .fetch_all(&self.pool)
        .await?;
        let mut expired = Vec::new();
        // One transaction each: a lease that somebody is just about to end waits for nobody.
        for job in overdue {
            let mut tx = self.begin().await?;
            let Some(held) = overdue_lock(&mut tx, JobId(job)).await? else {
                continue;
            };
            let message = "the lease ran out with no word from the worker";
            let outcome = AttemptOutcome::Lost;
            let failure = Failure {
                outcome,
                class: FailureClass::Lost,
                message,
                peak_memory: None,
            };
            let state = job_fail(&mut tx, &held, &failure).await?;
            tx.commit().await?;
            if state == JobState::Failed {
                self.sweeps_break(held.job).await;
            }
            expired.push(held.job);
        }
        Ok(expired)
    }
}

/// Locks a job whose lease has run out; none when another has it in hand, or when a heartbeat came
/// in between.
async fn overdue_lock(tx: &mut Tx, job: JobId) -> Result<Option<Held>, StoreError> {
    let row = sqlx::query!(
        "SELECT kind, state, epochs, epochs_done, fence FROM temper.job
        WHERE id = $1 AND state = 'leased' FOR NO KEY UPDATE SKIP LOCKED",
        job.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    // A statement of its own, so that it sees the lease as it is now that the job is locked. The
    // lease is locked too: a heartbeat that is about to extend it comes first or not at all.
    let overdue = sqlx::query_scalar!(
        "SELECT job_id FROM temper.lease
        WHERE job_id = $1 AND fence = $2 AND expires_at < clock_timestamp() FOR UPDATE",
        job.0,
        row.fence,
    )
    .fetch_optional(&mut **tx)
    .await?;
    if overdue.is_none() {
        return Ok(None);
    }
    Ok(Some(Held {
        job,
        kind: named(JobKind::from_name, &row.kind, "job kind")?,
        state: named(JobState::from_name, &row.state, "job state")?,
        epochs: stored(row.epochs, "epochs")?,
        epochs_done: stored(row.epochs_done, "epochs")?,
        fence: row.fence,
    }))
}
