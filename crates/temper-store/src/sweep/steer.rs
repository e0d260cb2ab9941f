//! What people do to sweeps that are there: change, pause, resume, delete.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use sqlx::types::Json;
use temper_core::placement::Placement;
use uuid::Uuid;

use super::{SweepState, jobs};
use crate::{
    Actor, Store, StoreError,
    audit::audit_note,
    queue::{self, queue_find},
    store::Tx,
    value::column,
};

/// Changes of a sweep; what is none stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SweepChanges {
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Free labels, instead of all there were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Priority of its jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// What it asks of workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Jobs of it that may be leased at a time, above 0; none: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_jobs: Option<Option<u32>>,
}

impl Store {
    /// Changes a sweep. With `revision` only if nobody has changed it since.
    ///
    /// # Errors
    /// `NotFound` without such a sweep, `Stale` when it has another revision.
    pub async fn sweep_update(
        &self,
        actor: &Actor<'_>,
        id: Uuid,
        revision: Option<i64>,
        changes: &SweepChanges,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sweep_lock(&mut tx, id, revision).await?;
        let limit = changes.parallel_jobs.flatten();
        let limit: Option<i32> = limit.map(|jobs| column(jobs, "the limit")).transpose()?;
        sqlx::query!(
            "UPDATE temper.sweep SET revision = revision + 1,
                display_name = coalesce($2, display_name), labels = coalesce($3, labels),
                priority = coalesce($4, priority),
                parallel_jobs = CASE WHEN $5 THEN $6 ELSE parallel_jobs END
            WHERE id = $1",
            id,
            changes.display_name,
            changes.labels.as_ref().map(Json) as _,
            changes.priority,
            changes.parallel_jobs.is_some(),
            limit,
        )
        .execute(&mut *tx)
        .await?;
        let moves = changes.placement.is_some() || changes.parallel_jobs.is_some();
        if moves {
            queue_change(&mut tx, id, changes.placement.as_ref()).await?;
        }
        if moves || changes.priority.is_some() {
            wish_changed(&mut tx, id).await?;
        }
        let detail = json!(changes);
        let method = "SweepService/UpdateSweep";
        audit_note(&mut tx, actor, method, Some(id), None, detail).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Keeps a sweep's jobs from being leased, but for those that another sweep wants; workers give
    /// back what they hold of the others. Pausing twice changes the reason alone.
    ///
    /// # Errors
    /// `NotFound` without such a sweep, `SweepState` when it was cancelled.
    pub async fn sweep_pause(
        &self,
        actor: &Actor<'_>,
        id: Uuid,
        revision: Option<i64>,
        reason: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        require_live(&sweep_lock(&mut tx, id, revision).await?)?;
        sqlx::query!(
            "UPDATE temper.sweep SET revision = revision + 1, pause_reason = $2,
                paused_at = coalesce(paused_at, now())
            WHERE id = $1",
            id,
            reason,
        )
        .execute(&mut *tx)
        .await?;
        wish_changed(&mut tx, id).await?;
        let detail = json!({ "reason": reason });
        let method = "SweepService/PauseSweep";
        audit_note(&mut tx, actor, method, Some(id), None, detail).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lets a paused sweep go on. Resuming one that is not paused changes nothing.
    ///
    /// # Errors
    /// `NotFound` without such a sweep, `SweepState` when it was cancelled.
    pub async fn sweep_resume(
        &self,
        actor: &Actor<'_>,
        id: Uuid,
        revision: Option<i64>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sweep = sweep_lock(&mut tx, id, revision).await?;
        require_live(&sweep)?;
        if !sweep.is_paused {
            return Ok(());
        }
        sqlx::query!(
            "UPDATE temper.sweep SET revision = revision + 1, pause_reason = '', paused_at = NULL,
                resumed_at = now()
            WHERE id = $1",
            id,
        )
        .execute(&mut *tx)
        .await?;
        wish_changed(&mut tx, id).await?;
        let method = "SweepService/ResumeSweep";
        audit_note(&mut tx, actor, method, Some(id), None, json!({})).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Forgets a sweep that has ended, with its cells. Jobs and their results stay: they are known
    /// by their keys, and another sweep finds them there.
    ///
    /// # Errors
    /// `NotFound` without such a sweep, `SweepState` while it has jobs to be done.
    pub async fn sweep_delete(
        &self,
        actor: &Actor<'_>,
        id: Uuid,
        revision: Option<i64>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sweep = sweep_lock(&mut tx, id, revision).await?;
        let is_running = sqlx::query_scalar!(
            r#"SELECT EXISTS (
                SELECT FROM temper.sweep_job AS link JOIN temper.job ON job.id = link.job_id
                WHERE link.sweep_id = $1 AND job.state IN ('queued', 'leased')
            ) AS "is_running!""#,
            id,
        )
        .fetch_one(&mut *tx)
        .await?;
        if is_running && !sweep.is_cancelled {
            return Err(StoreError::SweepState {
                sweep: id,
                state: SweepState::Running,
                what: "be deleted: cancel it first",
            });
        }
        sqlx::query!("DELETE FROM temper.cell_evaluation WHERE sweep_id = $1", id)
            .execute(&mut *tx)
            .await?;
        sqlx::query!("DELETE FROM temper.sweep_cell WHERE sweep_id = $1", id)
            .execute(&mut *tx)
            .await?;
        sqlx::query!("DELETE FROM temper.sweep_job WHERE sweep_id = $1", id)
            .execute(&mut *tx)
            .await?;
        let name = sqlx::query_scalar!(
            "DELETE FROM temper.sweep WHERE id = $1 RETURNING display_name",
            id
        )
        .fetch_one(&mut *tx)
        .await?;
        let detail = json!({ "display_name": name });
        let method = "SweepService/DeleteSweep";
        audit_note(&mut tx, actor, method, Some(id), None, detail).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// A sweep whose row is locked until the transaction ends.
pub(super) struct Locked {
    pub id: Uuid,
    pub is_cancelled: bool,
    pub is_paused: bool,
}

/// Locks a sweep; with `revision` only if it still has that one.
pub(super) async fn sweep_lock(
    tx: &mut Tx,
    id: Uuid,
    revision: Option<i64>,
) -> Result<Locked, StoreError> {
    let row = sqlx::query!(
        r#"SELECT revision, cancelled_at IS NOT NULL AS "is_cancelled!",
            paused_at IS NOT NULL AS "is_paused!"
        FROM temper.sweep WHERE id = $1 FOR NO KEY UPDATE"#,
        id,
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| StoreError::not_found("sweep", &id))?;
    if revision.is_some_and(|revision| revision != row.revision) {
        return Err(StoreError::Stale { sweep: id });
    }
    Ok(Locked {
        id,
        is_cancelled: row.is_cancelled,
        is_paused: row.is_paused,
    })
}

pub(super) fn require_live(sweep: &Locked) -> Result<(), StoreError> {
    if sweep.is_cancelled {
        return Err(StoreError::SweepState {
            sweep: sweep.id,
            state: SweepState::Cancelled,
            what: "go on: submit its spec again",
        });
    }
    Ok(())
}

/// Moves a sweep, whose row is locked, to the queue of what it asks of workers now.
async fn queue_change(
    tx: &mut Tx,
    sweep: Uuid,
    placement: Option<&Placement>,
) -> Result<(), StoreError> {
    let row = sqlx::query!(
        r#"SELECT sweep.owner, sweep.parallel_jobs, queue.device_kind,
            queue.labels AS "labels: Json<BTreeMap<String, String>>", queue.memory_bytes
        FROM temper.sweep JOIN temper.queue ON queue.id = sweep.queue_id WHERE sweep.id = $1"#,
        sweep,
    )
    .fetch_one(&mut **tx)
    .await?;
    let before = queue::placement(row.device_kind.as_deref(), row.labels.0, row.memory_bytes)?;
    let limited = row.parallel_jobs.map(|_| sweep);
    let queue = queue_find(tx, &row.owner, placement.unwrap_or(&before), limited).await?;
    sqlx::query!(
        "UPDATE temper.sweep SET queue_id = $2 WHERE id = $1",
        sweep,
        queue,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Tells a sweep's jobs that it wants them in another way.
pub(super) async fn wish_changed(tx: &mut Tx, sweep: Uuid) -> Result<(), StoreError> {
    let wanted = jobs::jobs_of(tx, sweep).await?;
    // What other sweeps want is read after the jobs are locked: a statement sees what was committed
    // before it started, and whoever changes a wish takes the same locks.
    jobs::jobs_lock(tx, &wanted).await?;
    jobs::wishes_refresh(tx, &wanted).await?;
    tx.announce();
    Ok(())
}
