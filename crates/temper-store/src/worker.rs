use temper_core::spec::Precision;
use uuid::Uuid;

use crate::{Store, StoreError, value::column};

/// A worker, and the token under which it calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerRef {
    /// Fresh each start of its process.
    pub incarnation: Uuid,
    /// The caller's token, which must be the one that the worker registered under.
    pub token: Uuid,
}

/// A worker that introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorker {
    /// Its incarnation, and the token that is to be the only one that speaks for it.
    pub worker: WorkerRef,
    /// What people call it.
    pub name: String,
    /// Its device, for instance `cpu` or `cuda:0`.
    pub device: String,
    /// Memory of the device; none when not known.
    pub memory_bytes: Option<u64>,
    /// Result versions that it can produce.
    pub result_versions: Vec<u32>,
    /// Number formats that its device computes in, at least one.
    pub precisions: Vec<Precision>,
}

impl Store {
    /// Registers a worker. Repeating it under the same incarnation changes nothing but the facts.
    ///
    /// # Errors
    /// `WorkerTaken` when the incarnation is another token's.
    pub async fn worker_register(&self, worker: &NewWorker) -> Result<(), StoreError> {
        let memory: Option<i64> = worker
            .memory_bytes
            .map(|bytes| column(bytes, "the memory"))
            .transpose()?;
        let versions = worker
            .result_versions
            .iter()
            .map(|version| column(*version, "the version"));
        let versions: Vec<i32> = versions.collect::<Result<_, _>>()?;
        let precisions: Vec<String> = worker
            .precisions
            .iter()
            .map(|precision| precision.as_str().to_owned())
            .collect();
        let registered = sqlx::query!(
            "INSERT INTO temper.worker
                (incarnation, name, device, memory_bytes, result_versions, precisions, token_id)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (incarnation) DO UPDATE SET name = excluded.name,
                device = excluded.device, memory_bytes = excluded.memory_bytes,
                result_versions = excluded.result_versions,
                precisions = excluded.precisions, last_seen_at = now()
            WHERE worker.token_id = excluded.token_id",
            worker.worker.incarnation,
            worker.name,
            worker.device,
            memory,
            &versions,
            &precisions,
            worker.worker.token,
        )
        .execute(&self.pool)
        .await?;
        if registered.rows_affected() == 0 {
            return Err(StoreError::WorkerTaken(worker.worker.incarnation));
        }
        Ok(())
    }
}

/// What a claim needs to know of its worker.
pub(crate) struct WorkerFacts {
    pub(crate) name: String,
    pub(crate) device: String,
    pub(crate) result_versions: Vec<i32>,
    pub(crate) precisions: Vec<String>,
}

/// Notes that a worker was heard of, unless that was noted moments ago: polls come often.
/// To another token than its own the worker is unknown.
pub(crate) async fn worker_seen(
    store: &Store,
    worker: WorkerRef,
) -> Result<WorkerFacts, StoreError> {
    sqlx::query_as!(
        WorkerFacts,
        "WITH seen AS (
            UPDATE temper.worker SET last_seen_at = now()
            WHERE incarnation = $1 AND token_id = $2
                AND last_seen_at < now() - interval '5 seconds'
        )
        SELECT name, device, result_versions, precisions FROM temper.worker
        WHERE incarnation = $1 AND token_id = $2",
        worker.incarnation,
        worker.token,
    )
    .fetch_optional(&store.pool)
    .await?
    .ok_or(StoreError::UnknownWorker(worker.incarnation))
}
