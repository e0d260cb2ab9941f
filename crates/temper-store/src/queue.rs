//! Queues: whose jobs go to which workers.

use std::collections::BTreeMap;

use sqlx::types::Json;
use temper_core::{
    placement::{Constraint, DeviceKind, Placement},
    spec::{Precision, RESULT_VERSION},
    trace::TraceParent,
};
use uuid::Uuid;

use crate::{
    Store, StoreError,
    store::Tx,
    value::{column, named, stored},
};

/// How a sweep wants its jobs done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish<'a> {
    pub(crate) owner: &'a str,
    pub(crate) queue: i32,
    pub(crate) priority: i32,
    /// The trace in which it asked for them.
    pub(crate) trace: Option<TraceParent>,
}

/// The queue of these jobs, made where there is none. `limited` is the sweep whose limit of jobs at a
/// time holds for it.
pub(crate) async fn queue_find(
    tx: &mut Tx,
    owner: &str,
    placement: &Placement,
    limited: Option<Uuid>,
) -> Result<i32, StoreError> {
    let kind = placement.device_kind.map(DeviceKind::as_str);
    let memory: Option<i64> = placement
        .memory_bytes
        .map(|bytes| column(bytes, "the memory"))
        .transpose()?;
    let labels = Json(&placement.labels);
    sqlx::query!(
        "INSERT INTO temper.queue (owner, device_kind, labels, memory_bytes, sweep_id)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        owner,
        kind,
        labels as _,
        memory,
        limited,
    )
    .execute(&mut **tx)
    .await?;
    Ok(sqlx::query_scalar!(
        "SELECT id FROM temper.queue
        WHERE owner = $1 AND device_kind IS NOT DISTINCT FROM $2 AND labels = $3
            AND memory_bytes IS NOT DISTINCT FROM $4 AND sweep_id IS NOT DISTINCT FROM $5",
        owner,
        kind,
        labels as _,
        memory,
        limited,
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// What a queue's columns ask of workers.
pub(crate) fn placement(
    device_kind: Option<&str>,
    labels: BTreeMap<String, String>,
    memory_bytes: Option<i64>,
) -> Result<Placement, StoreError> {
    let kind = |name| named(DeviceKind::from_name, name, "kind of device");
    Ok(Placement {
        device_kind: device_kind.map(kind).transpose()?,
        labels,
        memory_bytes: memory_bytes
            .map(|bytes| stored(bytes, "memory"))
            .transpose()?,
    })
}

/// Lets nobody else claim from the queue until the transaction ends.
pub(crate) async fn queue_lock(tx: &mut Tx, queue: i32) -> Result<(), StoreError> {
    sqlx::query!(
        "SELECT id FROM temper.queue WHERE id = $1 FOR NO KEY UPDATE",
        queue
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(())
}

/// How the workers that are there stand to jobs that are not queued yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fitness {
    /// Workers heard of within the last minute.
    pub workers: u32,
    /// Those of them that can do such jobs.
    pub fitting: u32,
    /// Of the others, how many each constraint keeps from it; a worker may lack several things.
    pub constraints: BTreeMap<Constraint, u32>,
}

impl Store {
    /// How the workers that are there stand to jobs with this placement and number format.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn placement_fitness(
        &self,
        placement: &Placement,
        precision: Precision,
    ) -> Result<Fitness, StoreError> {
        let memory: Option<i64> = placement
            .memory_bytes
            .map(|bytes| column(bytes, "the memory"))
            .transpose()?;
        let workers = sqlx::query_scalar!(
            r#"SELECT temper.misfits(
                ROW(0, '', $1::text, $2::jsonb, $3::bigint, NULL)::temper.queue,
                ROW(0, NULL, NULL, $4::text, $5::integer, NULL, NULL)::temper.footprint,
                worker
            ) AS "constraints!"
            FROM temper.worker WHERE worker.last_seen_at > now() - interval '1 minute'"#,
            placement.device_kind.map(DeviceKind::as_str),
            Json(&placement.labels) as _,
            memory,
            precision.as_str(),
            column::<_, i32>(RESULT_VERSION, "the result version")?,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut fitness = Fitness::default();
        for constraints in workers {
            fitness.workers += 1;
            fitness.fitting += u32::from(constraints.is_empty());
            for name in &constraints {
                let constraint = named(Constraint::from_name, name, "constraint")?;
                *fitness.constraints.entry(constraint).or_default() += 1;
            }
        }
        Ok(fitness)
    }
}
