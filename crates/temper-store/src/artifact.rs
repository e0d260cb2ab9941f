use temper_core::Digest;

use crate::{JobId, Store, StoreError};

/// A trained model in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Path in the object store.
    pub path: String,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
}

impl Store {
    /// The model that a training made.
    ///
    /// # Errors
    /// `NotFound` without such a job, `NoResult` while it has made none.
    pub async fn artifact_get(&self, job: JobId) -> Result<Artifact, StoreError> {
        todo!()
    }
}
