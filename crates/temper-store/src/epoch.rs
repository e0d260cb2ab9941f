use temper_core::report::EpochMetrics;

use crate::{LeaseRef, Store, StoreError};

impl Store {
    /// Stores epochs of a training; one reported before is replaced.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job.
    pub async fn epochs_report(
        &self,
        lease: &LeaseRef,
        epochs: &[EpochMetrics],
    ) -> Result<(), StoreError> {
        todo!()
    }
}
