//! Cancelling one job, although sweeps want it.

use serde_json::json;
use temper_core::job::{JobEvent, JobState};

use super::JobId;
use crate::{Actor, Store, StoreError, audit::audit_note, sweep::jobs, value::named};

impl Store {
    /// Cancels a job by a person's wish, on its worker too, and what waits for it. What sweeps want
    /// does not matter then, and does not change: the job is noted as withdrawn, so that only a
    /// sweep which asks for it afterwards queues it again. Cancelling it twice changes nothing; one
    /// that was cancelled for another reason is withdrawn as well.
    ///
    /// # Errors
    /// `NotFound` without such a job, `Transition` when it has succeeded or failed.
    pub async fn job_cancel(&self, actor: &Actor<'_>, id: JobId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        jobs::jobs_lock(&mut tx, &[id.0]).await?;
        let state = sqlx::query_scalar!("SELECT state FROM temper.job WHERE id = $1", id.0)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| StoreError::not_found("job", &id))?;
        let state = named(JobState::from_name, &state, "job state")?;
        if state != JobState::Cancelled {
            state.after(JobEvent::Cancelled)?;
        }
        // Read now that the job is locked: whoever adds a dependent locks it first.
        let dependents = jobs::dependents_lock(&mut tx, id).await?;
        jobs::jobs_stop(&mut tx, &[id.0], "a person cancelled it").await?;
        let withdrawn = sqlx::query!(
            "UPDATE temper.job SET withdrawn = true, message = 'a person cancelled it'
            WHERE id = $1 AND NOT withdrawn",
            id.0,
        )
        .execute(&mut *tx)
        .await?;
        if withdrawn.rows_affected() > 0 {
            let method = "JobService/CancelJob";
            audit_note(&mut tx, actor, method, None, Some(id), json!({})).await?;
        }
        let message = format!("training job {id} was cancelled");
        jobs::jobs_stop(&mut tx, &dependents, &message).await?;
        tx.commit().await?;
        Ok(())
    }
}
