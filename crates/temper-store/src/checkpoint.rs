use temper_core::Digest;

use crate::{LeaseRef, Store, StoreError};

/// A state to resume from, in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs done.
    pub epochs: u32,
    /// Path in the object store.
    pub path: String,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
}

impl Store {
    /// Makes a checkpoint the newest of its job. Repeating it changes nothing.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job.
    pub async fn checkpoint_register(
        &self,
        lease: &LeaseRef,
        checkpoint: &Checkpoint,
    ) -> Result<(), StoreError> {
        todo!()
    }
}
