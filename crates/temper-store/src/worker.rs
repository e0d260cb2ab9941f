use std::{collections::BTreeMap, time::Duration};

use sqlx::types::Json;
use temper_core::spec::Precision;
use uuid::Uuid;

use crate::{JobId, LeaseRef, Store, StoreError, value::column};

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
    /// What its operator says of it.
    pub labels: BTreeMap<String, String>,
    /// Time until it has to leave the machine; none: it may stay.
    pub time_left: Option<Duration>,
    /// Time that must be left for a job to be worth beginning.
    pub least_time: Duration,
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
                (incarnation, name, device, memory_bytes, result_versions, precisions, token_id,
                labels, ends_at, least_time)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9),
                make_interval(secs => $10))
            ON CONFLICT (incarnation) DO UPDATE SET name = excluded.name,
                device = excluded.device, memory_bytes = excluded.memory_bytes,
                result_versions = excluded.result_versions,
                precisions = excluded.precisions, labels = excluded.labels,
                ends_at = excluded.ends_at, least_time = excluded.least_time,
                last_seen_at = now()
            WHERE worker.token_id = excluded.token_id",
            worker.worker.incarnation,
            worker.name,
            worker.device,
            memory,
            &versions,
            &precisions,
            worker.worker.token,
            Json(&worker.labels) as _,
            worker.time_left.map(|time| time.as_secs_f64()),
            worker.least_time.as_secs_f64(),
        )
        .execute(&self.pool)
        .await?;
        if registered.rows_affected() == 0 {
            return Err(StoreError::WorkerTaken(worker.worker.incarnation));
        }
        Ok(())
    }

    /// Notes how much of its device's memory a worker has `free` where it says so and that differs much
    /// from what was noted before, and gives the leases that it holds by our records.
    ///
    /// # Errors
    /// When the database fails. An unknown worker is none: it is told so when it asks for a job.
    pub async fn worker_ask(
        &self,
        worker: WorkerRef,
        free: Option<u64>,
    ) -> Result<Vec<LeaseRef>, StoreError> {
        let free: Option<i64> = free.map(|free| column(free, "the memory")).transpose()?;
        let held = sqlx::query!(
            "WITH noted AS (
                UPDATE temper.worker SET free_memory_bytes = $3
                WHERE incarnation = $1 AND token_id = $2
                    AND $3::bigint IS NOT NULL
                    AND (free_memory_bytes IS NULL OR abs(free_memory_bytes - $3) > $4)
            )
            SELECT job_id, fence FROM temper.lease WHERE incarnation = $1 ORDER BY job_id",
            worker.incarnation,
            worker.token,
            free,
            MUCH_MEMORY,
        )
        .fetch_all(&self.pool)
        .await?;
        let leases = held.into_iter().map(|row| LeaseRef {
            job: JobId(row.job_id),
            incarnation: worker.incarnation,
            token: worker.token,
            fence: row.fence,
        });
        Ok(leases.collect())
    }
}

/// A difference of free memory that is noted, in bytes.
const MUCH_MEMORY: i64 = 64 << 20;

/// Notes that a worker was heard of, unless that was noted moments ago: polls come often.
/// To another token than its own the worker is unknown.
pub(crate) async fn worker_seen(store: &Store, worker: WorkerRef) -> Result<(), StoreError> {
    let known = sqlx::query_scalar!(
        r#"WITH seen AS (
            UPDATE temper.worker SET last_seen_at = now()
            WHERE incarnation = $1 AND token_id = $2
                AND last_seen_at < now() - interval '5 seconds'
        )
        SELECT EXISTS (
            SELECT FROM temper.worker WHERE incarnation = $1 AND token_id = $2
        ) AS "known!""#,
        worker.incarnation,
        worker.token,
    )
    .fetch_one(&store.pool)
    .await?;
    if known {
        Ok(())
    } else {
        Err(StoreError::UnknownWorker(worker.incarnation))
    }
}
