use serde_json::json;
use uuid::Uuid;

use super::jobs;
use crate::{Actor, Store, StoreError, audit::audit_note};

impl Store {
    /// Withdraws a sweep's wish for its jobs: those that no other live sweep wants are cancelled,
    /// on their workers too; the others take the priority that is left. Cancelling twice changes
    /// nothing.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn sweep_cancel(&self, actor: &Actor<'_>, id: Uuid) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let cancelled_at = sqlx::query_scalar!(
            "SELECT cancelled_at FROM temper.sweep WHERE id = $1 FOR NO KEY UPDATE",
            id,
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| StoreError::not_found("sweep", &id))?;
        if cancelled_at.is_some() {
            return Ok(());
        }
        sqlx::query!(
            "UPDATE temper.sweep SET cancelled_at = now() WHERE id = $1",
            id
        )
        .execute(&mut *tx)
        .await?;
        let wanted = sqlx::query_scalar!(
            "SELECT job_id FROM temper.sweep_job WHERE sweep_id = $1",
            id
        )
        .fetch_all(&mut *tx)
        .await?;
        // What another sweep wants is read after its jobs are locked: a statement sees what was
        // committed before it started, and creating a sweep takes the same locks.
        jobs::jobs_lock(&mut tx, &wanted).await?;
        jobs::wishes_refresh(&mut tx, &wanted).await?;
        jobs::jobs_cancel(&mut tx, &wanted).await?;
        let method = "SweepService/CancelSweep";
        audit_note(&mut tx, actor, method, Some(id), None, json!({})).await?;
        tx.commit().await?;
        Ok(())
    }
}
