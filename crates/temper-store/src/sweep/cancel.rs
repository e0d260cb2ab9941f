use serde_json::json;
use uuid::Uuid;

use super::{jobs, steer::sweep_lock};
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
        if sweep_lock(&mut tx, id, None).await?.is_cancelled {
            return Ok(());
        }
        sqlx::query!(
            "UPDATE temper.sweep SET cancelled_at = now(), revision = revision + 1 WHERE id = $1",
            id
        )
        .execute(&mut *tx)
        .await?;
        let wanted = jobs::jobs_of(&mut tx, id).await?;
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
