//! How much there is to do for workers of a class, for what starts them.

use std::collections::BTreeMap;

use sqlx::types::Json;
use temper_core::placement::DeviceKind;

use crate::{Store, StoreError, value::stored};

/// Jobs for workers of a class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Ready, fit for such a worker, and within the limits of their sweeps. Those that pause after a failure
    /// are among them. A job that fits several classes counts for each.
    pub queued: u64,
    /// Held by such workers.
    pub leased: u64,
}

impl Store {
    /// What workers with this kind of device and these labels have to do. Whether a job fits one is told as a
    /// claim tells it (`temper.misfits`).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn demand(
        &self,
        device_kind: DeviceKind,
        labels: &BTreeMap<String, String>,
    ) -> Result<Demand, StoreError> {
        let kind = device_kind.as_str();
        let row = sqlx::query_file!("src/demand.sql", kind, Json(labels) as _)
            .fetch_one(&self.pool)
            .await?;
        Ok(Demand {
            queued: stored(row.queued, "count")?,
            leased: stored(row.leased, "count")?,
        })
    }
}
