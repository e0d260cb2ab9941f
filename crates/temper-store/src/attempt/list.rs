//! Attempts, as people look at them.

use temper_core::job::FailureClass;

use super::{Attempt, AttemptOutcome};
use crate::{
    JobId, Store, StoreError,
    value::{column, named, stored},
};

/// Which of a job's attempts are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptsQuery {
    /// The job.
    pub job: JobId,
    /// Only attempts after this one ([`AttemptPage::next`] of the page before).
    pub after: Option<u32>,
    /// At most so many.
    pub limit: u32,
}

/// A page of a job's attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptPage {
    /// The attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// What the next page comes after; none on the last.
    pub next: Option<u32>,
}

impl Store {
    /// A page of a job's attempts.
    ///
    /// # Errors
    /// `NotFound` without such a job.
    pub async fn attempt_list(&self, query: AttemptsQuery) -> Result<AttemptPage, StoreError> {
        sqlx::query_scalar!("SELECT id FROM temper.job WHERE id = $1", query.job.0)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| StoreError::not_found("job", &query.job))?;
        let after = column(query.after.unwrap_or(0), "the page's start")?;
        // One more than asked for tells whether another page follows.
        let limit = i64::from(query.limit) + 1;
        let mut attempts = attempts_after(self, query.job, after, Some(limit)).await?;
        let more = attempts.len() > query.limit as usize;
        attempts.truncate(query.limit as usize);
        let last = attempts.last().filter(|_| more);
        let next = last.map(|attempt| attempt.number);
        Ok(AttemptPage { attempts, next })
    }
}

/// All of a job's attempts.
pub(crate) async fn attempts_of(store: &Store, job: JobId) -> Result<Vec<Attempt>, StoreError> {
    attempts_after(store, job, 0, None).await
}

async fn attempts_after(
    store: &Store,
    job: JobId,
    after: i32,
    limit: Option<i64>,
) -> Result<Vec<Attempt>, StoreError> {
    let rows = sqlx::query!(
        "SELECT number, worker, incarnation, device, fence, started_at, ended_at, outcome,
            failure_class, message, device_seconds, peak_memory_bytes
        FROM temper.attempt WHERE job_id = $1 AND number > $2 ORDER BY number LIMIT $3",
        job.0,
        after,
        limit,
    )
    .fetch_all(&store.pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let outcome = row.outcome.as_deref();
            let class = row.failure_class.as_deref();
            Ok(Attempt {
                number: stored(row.number, "attempt number")?,
                worker: row.worker,
                incarnation: row.incarnation,
                device: row.device,
                fence: row.fence,
                started_at: row.started_at,
                ended_at: row.ended_at,
                outcome: outcome
                    .map(|name| named(AttemptOutcome::from_name, name, "outcome"))
                    .transpose()?,
                failure_class: class
                    .map(|name| named(FailureClass::from_name, name, "failure class"))
                    .transpose()?,
                message: row.message,
                device_seconds: row.device_seconds,
                peak_memory_bytes: row
                    .peak_memory_bytes
                    .map(|bytes| stored(bytes, "memory"))
                    .transpose()?,
            })
        })
        .collect()
}
