use uuid::Uuid;

use crate::{Store, StoreError};

/// A worker that introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorker {
    /// Fresh each start of its process.
    pub incarnation: Uuid,
    /// What people call it.
    pub name: String,
    /// Its device, for instance `cpu` or `cuda:0`.
    pub device: String,
    /// Memory of the device; none when not known.
    pub memory_bytes: Option<u64>,
    /// Result versions that it can produce.
    pub result_versions: Vec<u32>,
}

impl Store {
    /// Registers a worker. Repeating it under the same incarnation changes nothing but the facts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn worker_register(&self, worker: &NewWorker) -> Result<(), StoreError> {
        todo!()
    }
}
