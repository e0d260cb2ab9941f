use temper_core::curve::Point;

use crate::{Artifact, LeaseRef, Store, StoreError};

impl Store {
    /// Takes in a trained model of `epochs` epochs: the artifact, the summary and the job's state
    /// in one transaction. Repeated under its own fence it changes nothing.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job, `EpochGap` unless every epoch was
    /// reported, `Mismatch` for a job that is no training.
    pub async fn train_complete(
        &self,
        lease: &LeaseRef,
        artifact: &Artifact,
        epochs: u32,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Takes in a measurement: the points, the summary and the job's state in one transaction.
    /// Repeated under its own fence it changes nothing.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job, `Mismatch` when the points are not on
    /// the job's grid or it is no evaluation, `Curve` for impossible counts.
    pub async fn evaluation_complete(
        &self,
        lease: &LeaseRef,
        points: &[Point],
    ) -> Result<(), StoreError> {
        todo!()
    }
}
