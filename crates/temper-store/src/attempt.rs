//! Attempts, and how they end without a result.

mod list;

use std::time::Duration;

use chrono::{DateTime, Utc};
use temper_core::job::{FailureClass, JobEvent, JobState, Verdict};
use uuid::Uuid;

pub(crate) use list::attempts_of;
pub use list::{AttemptPage, AttemptsQuery};

use crate::{
    LeaseRef, Store, StoreError,
    lease::{Held, lease_hold},
    store::Tx,
    sweep::jobs,
    value::{column, stored, text},
};

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
    /// The most memory of the device that it used, in bytes; none when not known.
    pub peak_memory_bytes: Option<u64>,
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

impl AttemptOutcome {
    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
        }
    }

    /// The outcome of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Succeeded,
            Self::Failed,
            Self::Released,
            Self::Lost,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|outcome| outcome.as_str() == name)
    }
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
        failed: FailedAttempt<'_>,
    ) -> Result<JobState, StoreError> {
        let mut tx = self.begin().await?;
        let held = lease_hold(&mut tx, lease).await?;
        let failure = Failure {
            outcome: AttemptOutcome::Failed,
            class: failed.class,
            message: &text(failed.message),
            peak_memory: memory_column(failed.peak_memory_bytes)?,
        };
        let state = job_fail(&mut tx, &held, &failure).await?;
        tx.commit().await?;
        if state == JobState::Failed {
            self.sweeps_break(held.job).await;
        }
        Ok(state)
    }
}

/// A worker's word that its attempt came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedAttempt<'a> {
    /// Why.
    pub class: FailureClass,
    /// What happened, for people.
    pub message: &'a str,
    /// The most memory of the device that it used, in bytes; none when not known.
    pub peak_memory_bytes: Option<u64>,
}

/// An attempt that came to nothing.
pub(crate) struct Failure<'a> {
    pub(crate) outcome: AttemptOutcome,
    pub(crate) class: FailureClass,
    pub(crate) message: &'a str,
    pub(crate) peak_memory: Option<i64>,
}

/// How an attempt ends.
pub(crate) struct End<'a> {
    pub(crate) outcome: AttemptOutcome,
    pub(crate) class: Option<FailureClass>,
    pub(crate) message: &'a str,
    pub(crate) peak_memory: Option<i64>,
}

impl End<'_> {
    /// An end of which there is nothing more to say.
    pub(crate) fn plain(outcome: AttemptOutcome) -> Self {
        Self {
            outcome,
            class: None,
            message: "",
            peak_memory: None,
        }
    }
}

/// Ends a held job's attempt by a failure and settles what becomes of the job.
pub(crate) async fn job_fail(
    tx: &mut Tx,
    held: &Held,
    failure: &Failure<'_>,
) -> Result<JobState, StoreError> {
    let end = End {
        outcome: failure.outcome,
        class: Some(failure.class),
        message: failure.message,
        peak_memory: failure.peak_memory,
    };
    attempt_end(tx, held, &end).await?;
    let earlier = sqlx::query_scalar!(
        r#"SELECT count(*) AS "earlier!" FROM temper.attempt
        JOIN temper.job ON job.id = attempt.job_id
        WHERE attempt.job_id = $1 AND attempt.failure_class = $2
            AND attempt.fence < $3 AND attempt.number > job.forgiven_attempts"#,
        held.job.0,
        failure.class.as_str(),
        held.fence,
    )
    .fetch_one(&mut **tx)
    .await?;
    let number = held.job.0.unsigned_abs();
    match failure.class.verdict(number, stored(earlier, "count")?) {
        Verdict::RetryAfter(pause) => {
            let event = match failure.outcome {
                AttemptOutcome::Lost => JobEvent::Expired,
                _ => JobEvent::FailedForNow,
            };
            job_requeue(tx, held, event, pause).await
        }
        Verdict::GiveUp => {
            let state = held.state.after(JobEvent::FailedForGood)?;
            let message = format!("{}: {}", failure.class, failure.message);
            sqlx::query!(
                "UPDATE temper.job SET state = $2, message = $3, finished_at = now()
                WHERE id = $1 AND state = 'leased' AND fence = $4",
                held.job.0,
                state.as_str(),
                message,
                held.fence,
            )
            .execute(&mut **tx)
            .await?;
            jobs::dependents_cancel(tx, held.job).await?;
            Ok(state)
        }
    }
}

/// Queues a held job again, not to be leased before the pause is over.
pub(crate) async fn job_requeue(
    tx: &mut Tx,
    held: &Held,
    event: JobEvent,
    pause: Duration,
) -> Result<JobState, StoreError> {
    let state = held.state.after(event)?;
    sqlx::query!(
        "UPDATE temper.job SET state = $2, available_at = now() + make_interval(secs => $3)
        WHERE id = $1 AND state = 'leased' AND fence = $4",
        held.job.0,
        state.as_str(),
        pause.as_secs_f64(),
        held.fence,
    )
    .execute(&mut **tx)
    .await?;
    tx.announce();
    Ok(state)
}

/// Ends a held job's attempt and gives its lease back.
pub(crate) async fn attempt_end(tx: &mut Tx, held: &Held, end: &End<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        "WITH gone AS (DELETE FROM temper.lease WHERE job_id = $1 AND fence = $2)
        UPDATE temper.attempt
        SET ended_at = now(), outcome = $3, failure_class = $4, message = $5,
            peak_memory_bytes = $6,
            device_seconds = greatest(0, extract(epoch FROM now() - started_at))
        WHERE job_id = $1 AND fence = $2",
        held.job.0,
        held.fence,
        end.outcome.as_str(),
        end.class.map(FailureClass::as_str),
        end.message,
        end.peak_memory,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Memory for a column in which none is null; a device that tells 0 does not know.
pub(crate) fn memory_column(bytes: Option<u64>) -> Result<Option<i64>, StoreError> {
    let bytes = bytes.filter(|bytes| *bytes > 0);
    bytes.map(|bytes| column(bytes, "the memory")).transpose()
}
