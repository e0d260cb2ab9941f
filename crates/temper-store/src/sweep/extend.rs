use std::collections::HashSet;

use serde_json::json;
use sqlx::types::Json;
use temper_core::{catalog::Input, expand::Expansion, spec::SweepSpec, trace::TraceParent};
use uuid::Uuid;

use super::{
    cells::{self, Held},
    create::jobs_share,
    jobs, staging,
    steer::{require_live, sweep_lock},
};
use crate::{Actor, Store, StoreError, audit::audit_note, queue::Wish, store::Tx, value::column};

/// A sweep with more on its axes.
#[derive(Debug, Clone, Copy)]
pub struct SweepExtension<'a> {
    /// The sweep.
    pub sweep: Uuid,
    /// Its revision when the extension was laid out: an extension of something else is none.
    pub revision: i64,
    /// The whole spec.
    pub spec: &'a SweepSpec,
    /// What the whole spec comes to.
    pub expansion: &'a Expansion,
    /// What all of its names stand for.
    pub inputs: &'a [Input],
    /// How many evaluations each of its cells had before.
    pub evaluations: usize,
    /// The trace in which it is asked for, which the new jobs belong to.
    pub trace: Option<TraceParent>,
}

impl Store {
    /// Adds cells and evaluations to a live sweep. Those that it has stay as they are, in their
    /// places. Gives how many jobs it was the first to ask for.
    ///
    /// # Errors
    /// `NotFound` without such a sweep, `Stale` when it was changed since the extension was laid
    /// out, `SweepState` when it was cancelled.
    pub async fn sweep_extend(
        &self,
        actor: &Actor<'_>,
        extension: SweepExtension<'_>,
    ) -> Result<u32, StoreError> {
        let SweepExtension {
            sweep, expansion, ..
        } = extension;
        let mut tx = self.begin().await?;
        require_live(&sweep_lock(&mut tx, sweep, Some(extension.revision)).await?)?;
        let row = sqlx::query!(
            "SELECT owner, priority, queue_id FROM temper.sweep WHERE id = $1",
            sweep
        )
        .fetch_one(&mut *tx)
        .await?;
        let held = held(&mut tx, sweep, extension.evaluations).await?;
        let wish = Wish {
            owner: &row.owner,
            queue: row.queue_id,
            priority: row.priority,
            trace: extension.trace,
        };
        let jobs = staging::jobs_insert(&mut tx, expansion, wish).await?;
        cells::dependencies_insert(&mut tx, expansion, &jobs).await?;
        cells::links_insert(&mut tx, sweep, &jobs, &held).await?;
        cells::cells_insert(&mut tx, sweep, (expansion, &jobs), &held).await?;
        let fresh = jobs.ids(true);
        sqlx::query!(
            "UPDATE temper.sweep SET revision = revision + 1, spec = $2, inputs = $3,
                jobs_created = jobs_created + $4, extended_at = now()
            WHERE id = $1",
            sweep,
            Json(extension.spec) as _,
            Json(extension.inputs) as _,
            column::<_, i32>(fresh.len(), "the sweep")?,
        )
        .execute(&mut *tx)
        .await?;
        // What the sweep wants already is left as it is, also where a person cancelled it.
        let shared = jobs.ids(false);
        let asked = shared.iter().filter(|job| !held.jobs.contains(job));
        let asked: Vec<i64> = asked.copied().collect();
        jobs_share(&mut tx, &fresh, (&shared, &asked)).await?;
        // The sweep may be paused: then it wants the new ones no more than the others.
        jobs::jobs_lock(&mut tx, &fresh).await?;
        jobs::wishes_refresh(&mut tx, &fresh).await?;
        let created: u32 = column(fresh.len(), "the sweep")?;
        let detail = json!({ "jobs_created": created });
        let method = "SweepService/ExtendSweep";
        audit_note(&mut tx, actor, method, Some(sweep), None, detail).await?;
        tx.announce();
        tx.commit().await?;
        Ok(created)
    }
}

async fn held(tx: &mut Tx, sweep: Uuid, evaluations: usize) -> Result<Held, StoreError> {
    let jobs: HashSet<i64> = jobs::jobs_of(tx, sweep).await?.into_iter().collect();
    let rows = sqlx::query!(
        "SELECT ordinal, model, dataset, schedule, target_num, target_den, seed, hyperparameters
        FROM temper.sweep_cell WHERE sweep_id = $1",
        sweep,
    )
    .fetch_all(&mut **tx)
    .await?;
    let cells = rows.into_iter().map(|row| {
        let target = (row.target_num, row.target_den);
        let name = (
            row.model,
            row.dataset,
            row.schedule,
            target,
            row.seed,
            row.hyperparameters,
        );
        (name, row.ordinal)
    });
    Ok(Held {
        jobs,
        cells: cells.collect(),
        evaluations,
    })
}
