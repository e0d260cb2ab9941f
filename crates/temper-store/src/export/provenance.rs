use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use temper_core::{catalog::Input, spec::SweepSpec};
use uuid::Uuid;

use crate::{Store, StoreError, value::stored};

/// Where a sweep's results come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Provenance {
    /// Whose it is.
    pub owner: String,
    /// What people call it.
    pub display_name: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// What was asked for, every default filled in.
    pub spec: SweepSpec,
    /// What its names stood for, with digests.
    pub inputs: Vec<Input>,
    /// Result versions of its jobs, ascending.
    pub result_versions: Vec<u32>,
    /// What its accepted results were made on.
    pub ran: Vec<Ran>,
    /// When this was read.
    pub read_at: DateTime<Utc>,
}

/// What accepted results were made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Name of the worker.
    pub worker: String,
    /// Its device.
    pub device: String,
    /// Jobs that succeeded there.
    pub jobs: i64,
}

impl Store {
    /// Where a sweep's results come from.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn sweep_provenance(&self, sweep: Uuid) -> Result<Provenance, StoreError> {
        let row = sqlx::query!(
            r#"SELECT owner, display_name, labels AS "labels: Json<BTreeMap<String, String>>",
                created_at, spec AS "spec: Json<SweepSpec>", inputs AS "inputs: Json<Vec<Input>>",
                now() AS "read_at!",
                ARRAY(
                    SELECT DISTINCT job.result_version FROM temper.sweep_job AS link
                    JOIN temper.job ON job.id = link.job_id
                    WHERE link.sweep_id = sweep.id ORDER BY job.result_version
                ) AS "result_versions!: Vec<i32>"
            FROM temper.sweep WHERE id = $1"#,
            sweep,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| StoreError::not_found("sweep", &sweep))?;
        let ran = sqlx::query_as!(
            Ran,
            r#"SELECT attempt.worker, attempt.device, count(*) AS "jobs!"
            FROM temper.sweep_job AS link
            JOIN temper.attempt ON attempt.job_id = link.job_id AND attempt.outcome = 'succeeded'
            WHERE link.sweep_id = $1
            GROUP BY attempt.worker, attempt.device ORDER BY attempt.worker, attempt.device"#,
            sweep,
        )
        .fetch_all(&self.pool)
        .await?;
        let versions = row.result_versions.into_iter();
        let versions = versions.map(|version| stored(version, "result version"));
        Ok(Provenance {
            owner: row.owner,
            display_name: row.display_name,
            labels: row.labels.0,
            created_at: row.created_at,
            spec: row.spec.0,
            inputs: row.inputs.0,
            result_versions: versions.collect::<Result<_, _>>()?,
            ran,
            read_at: row.read_at,
        })
    }
}
