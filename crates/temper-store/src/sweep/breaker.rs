//! The circuit breaker: a sweep whose jobs all fail the same way is paused before it has burned through.

use uuid::Uuid;

use crate::{Actor, JobId, Store, StoreError};

/// Jobs of a kind that have failed, all in one class and none having succeeded, at which their sweep is
/// paused.
pub const BREAKER: i64 = 5;

/// Whose doing it is, in the audit log.
const ACTOR: Actor<'static> = Actor {
    name: "circuit breaker",
    token: None,
    role: None,
};

struct Streak {
    kind: String,
    class: String,
    failed: i64,
    message: String,
    revision: i64,
}

impl Store {
    /// Pauses those sweeps that want a job which has just failed for good, if all that they have seen of
    /// its kind are such failures. It is a help, not a rule: where the database is away, the next
    /// failure does it.
    pub(crate) async fn sweeps_break(&self, job: JobId) {
        if let Err(error) = self.try_break(job).await {
            tracing::warn!(%job, %error, "cannot tell whether a sweep is to be paused");
        }
    }

    async fn try_break(&self, job: JobId) -> Result<(), StoreError> {
        let sweeps = sqlx::query_scalar!(
            "SELECT sweep.id FROM temper.sweep_job AS link
            JOIN temper.sweep ON sweep.id = link.sweep_id
            WHERE link.job_id = $1 AND sweep.cancelled_at IS NULL AND sweep.paused_at IS NULL",
            job.0,
        )
        .fetch_all(&self.pool)
        .await?;
        for sweep in sweeps {
            let Some(streak) = self.streak(sweep).await? else {
                continue;
            };
            let reason = format!(
                "the first {} jobs of kind {} all failed as {}, the last one so: {} Mend that, retry the jobs, and \
                 resume the sweep",
                streak.failed, streak.kind, streak.class, streak.message
            );
            match self
                .sweep_pause(&ACTOR, sweep, Some(streak.revision), &reason)
                .await
            {
                Ok(()) => tracing::warn!(%sweep, reason, "sweep paused"),
                // Somebody has changed it meanwhile, and knows better.
                Err(StoreError::Stale { .. } | StoreError::SweepState { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Jobs of one kind that have failed since the sweep was made or last resumed, if that is all that
    /// came of that kind, in one class, often enough.
    async fn streak(&self, sweep: Uuid) -> Result<Option<Streak>, StoreError> {
        Ok(sqlx::query_as!(
            Streak,
            r#"SELECT job.kind, min(last.failure_class) AS "class!", count(*) AS "failed!",
                (array_agg(job.message ORDER BY job.finished_at DESC))[1] AS "message!",
                min(sweep.revision) AS "revision!"
            FROM temper.sweep
            JOIN temper.sweep_job AS link ON link.sweep_id = sweep.id
            JOIN temper.job ON job.id = link.job_id
            LEFT JOIN LATERAL (
                SELECT attempt.failure_class FROM temper.attempt
                WHERE attempt.job_id = job.id ORDER BY attempt.number DESC LIMIT 1
            ) AS last ON job.state = 'failed'
            WHERE sweep.id = $1 AND job.state IN ('succeeded', 'failed')
                AND job.finished_at > coalesce(sweep.resumed_at, sweep.created_at)
            GROUP BY job.kind
            HAVING bool_and(job.state = 'failed') AND count(DISTINCT last.failure_class) = 1
                AND count(*) >= $2
            LIMIT 1"#,
            sweep,
            BREAKER,
        )
        .fetch_optional(&self.pool)
        .await?)
    }
}
