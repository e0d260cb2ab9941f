use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    NewSweep, SweepCreated,
    cells::{self, Held},
    jobs, staging,
};
use crate::{
    Actor, Store, StoreError,
    audit::audit_note,
    queue::{Wish, queue_find},
    store::Tx,
    value::{column, digest, stored},
};

impl Store {
    /// Stores a sweep with its cells and jobs, in one transaction. Jobs whose keys exist are
    /// shared: succeeded and failed ones stay as they are, cancelled ones are queued again.
    ///
    /// # Errors
    /// `RequestReused` when the request id belongs to another request.
    pub async fn sweep_create(
        &self,
        actor: &Actor<'_>,
        sweep: NewSweep<'_>,
    ) -> Result<SweepCreated, StoreError> {
        let mut tx = self.begin().await?;
        let Some((id, queue)) = sweep_insert(&mut tx, &sweep).await? else {
            return sweep_repeated(&mut tx, &sweep).await;
        };
        let wish = Wish {
            owner: sweep.owner,
            queue,
            priority: sweep.priority,
            trace: sweep.trace,
        };
        let expansion = sweep.expansion;
        let jobs = staging::jobs_insert(&mut tx, expansion, wish).await?;
        cells::dependencies_insert(&mut tx, expansion, &jobs).await?;
        let held = Held::default();
        cells::links_insert(&mut tx, id, &jobs, &held).await?;
        cells::cells_insert(&mut tx, id, (expansion, &jobs), &held).await?;
        let (fresh, shared) = (jobs.ids(true), jobs.ids(false));
        jobs_share(&mut tx, &fresh, (&shared, &shared)).await?;
        let created: i32 = column(fresh.len(), "the sweep")?;
        sqlx::query!(
            "UPDATE temper.sweep SET jobs_created = $2 WHERE id = $1",
            id,
            created
        )
        .execute(&mut *tx)
        .await?;
        let detail = json!({ "owner": sweep.owner, "jobs_created": created });
        let method = "SweepService/CreateSweep";
        audit_note(&mut tx, actor, method, Some(id), None, detail).await?;
        tx.announce();
        tx.commit().await?;
        Ok(SweepCreated {
            id,
            existed: false,
            jobs_created: column(fresh.len(), "the sweep")?,
        })
    }
}

/// The new sweep's id and queue; none when its request id is taken, which a concurrent request may be about
/// to do: that one is waited for.
async fn sweep_insert(
    tx: &mut Tx,
    sweep: &NewSweep<'_>,
) -> Result<Option<(Uuid, i32)>, StoreError> {
    sqlx::query!(
        "INSERT INTO temper.owner (name) VALUES ($1) ON CONFLICT DO NOTHING",
        sweep.owner
    )
    .execute(&mut **tx)
    .await?;
    let id = Uuid::new_v4();
    let limited = sweep.parallel_jobs.map(|_| id);
    let queue = queue_find(tx, sweep.owner, sweep.placement, limited).await?;
    let parallel: Option<i32> = sweep
        .parallel_jobs
        .map(|jobs| column(jobs, "the limit"))
        .transpose()?;
    let inserted = sqlx::query!(
        "INSERT INTO temper.sweep (request_id, request_digest, owner, display_name, labels,
            priority, spec, inputs, id, queue_id, parallel_jobs)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (request_id) DO NOTHING",
        sweep.request_id,
        &sweep.request_digest.as_bytes()[..],
        sweep.owner,
        sweep.display_name,
        Json(sweep.labels) as _,
        sweep.priority,
        Json(sweep.spec) as _,
        Json(sweep.inputs) as _,
        id,
        queue,
        parallel,
    )
    .execute(&mut **tx)
    .await?;
    Ok((inserted.rows_affected() > 0).then_some((id, queue)))
}

async fn sweep_repeated(tx: &mut Tx, sweep: &NewSweep<'_>) -> Result<SweepCreated, StoreError> {
    let request = sweep.request_id.unwrap_or_default();
    let earlier = sqlx::query!(
        "SELECT id, request_digest, jobs_created FROM temper.sweep WHERE request_id = $1",
        request,
    )
    .fetch_one(&mut **tx)
    .await?;
    if digest(&earlier.request_digest, "request digest")? != sweep.request_digest {
        return Err(StoreError::RequestReused(request));
    }
    let jobs_created = stored(earlier.jobs_created, "count")?;
    Ok(SweepCreated {
        id: earlier.id,
        existed: true,
        jobs_created,
    })
}

/// Tells jobs that were there of a sweep that wants them now, and new ones how those stand that
/// they depend on. Of those that were there `asked` are wanted by the sweep for the first time.
pub(super) async fn jobs_share(
    tx: &mut Tx,
    fresh: &[i64],
    (shared, asked): (&[i64], &[i64]),
) -> Result<(), StoreError> {
    if shared.is_empty() {
        return Ok(());
    }
    // From here on nothing happens to the shared jobs before this sweep is there to see.
    jobs::jobs_lock(tx, shared).await?;
    jobs::wishes_refresh(tx, asked).await?;
    jobs::jobs_revive(tx, asked).await?;
    jobs::jobs_catch_up(tx, fresh).await
}
