//! Results: accepted once, with the job's state, in one transaction.

mod evaluate;
mod train;

use temper_core::{
    curve::Point,
    job::JobKind,
    report::{Audit, MaskingFlag},
};

pub(crate) use evaluate::CompletedEvaluation;
pub(crate) use train::CompletedTraining;

use crate::{Artifact, LeaseRef, Store, StoreError, attempt::memory_column, lease::Held};

/// What a training made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trained {
    /// The model of the last epoch.
    pub artifact: Artifact,
    /// The model of the best epoch on the validation split, where there is one.
    pub best: Option<BestModel>,
    /// Epochs trained.
    pub epochs: u32,
    /// Samples a forward pass at the end; none when not known.
    pub micro_batch_size: Option<u32>,
    /// The most memory of the device that was used, in bytes; none when not known.
    pub peak_memory_bytes: Option<u64>,
}

/// The model of the best epoch on the validation split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BestModel {
    /// The model.
    pub artifact: Artifact,
    /// Which epoch that was, from 0.
    pub epoch: u32,
}

/// What an evaluation measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// One point a strength of the grid, ascending.
    pub points: Vec<Point>,
    /// How far bisection was from exact; none in other modes and where nothing was audited.
    pub audit: Option<Audit>,
    /// Signs that the model hides its gradients.
    pub flags: Vec<MaskingFlag>,
    /// Passes of one image through the network; none when not known.
    pub passes: Option<u64>,
    /// The most memory of the device that was used, in bytes; none when not known.
    pub peak_memory_bytes: Option<u64>,
}

impl Store {
    /// Takes in what a training made: its models, the summary and the job's state in one
    /// transaction. Repeated under its own fence it changes nothing.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job, `EpochGap` unless every epoch was
    /// reported, `Mismatch` for a job that is no training and for a best epoch that it has not.
    pub async fn train_complete(
        &self,
        lease: &LeaseRef,
        trained: &Trained,
    ) -> Result<(), StoreError> {
        let completed = CompletedTraining::new(*lease, trained);
        self.trainings.call(completed).await?;
        self.footprint_note(lease, trained.peak_memory_bytes).await
    }

    /// Takes in a measurement: the points, the summary and the job's state in one transaction.
    /// Repeated under its own fence it changes nothing.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job, `Mismatch` when the points are not on
    /// the job's grid or not of its samples, the audit is none of its mode, or it is no evaluation, `Curve` for
    /// impossible counts.
    pub async fn evaluation_complete(
        &self,
        lease: &LeaseRef,
        measured: &Measured,
    ) -> Result<(), StoreError> {
        let completed = CompletedEvaluation::new(*lease, measured);
        self.evaluations.call(completed).await?;
        self.footprint_note(lease, measured.peak_memory_bytes).await
    }

    /// Notes what a job took of its device's memory, if that is less than what others like it took: a hint
    /// to placement, which the result need not wait for.
    async fn footprint_note(&self, lease: &LeaseRef, peak: Option<u64>) -> Result<(), StoreError> {
        let Some(peak) = memory_column(peak)? else {
            return Ok(());
        };
        sqlx::query!(
            "UPDATE temper.footprint
            SET cpu_peak_bytes = CASE ran.kind WHEN 'cpu' THEN $3 ELSE cpu_peak_bytes END,
                cuda_peak_bytes = CASE ran.kind WHEN 'cuda' THEN $3 ELSE cuda_peak_bytes END
            FROM (
                SELECT job.footprint_id, split_part(attempt.device, ':', 1) AS kind
                FROM temper.job JOIN temper.attempt ON attempt.job_id = job.id
                WHERE job.id = $1 AND attempt.fence = $2
            ) AS ran
            WHERE footprint.id = ran.footprint_id AND (
                (ran.kind = 'cpu' AND (cpu_peak_bytes IS NULL OR cpu_peak_bytes > $3))
                OR (ran.kind = 'cuda' AND (cuda_peak_bytes IS NULL OR cuda_peak_bytes > $3))
            )",
            lease.job.0,
            lease.fence,
            peak,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn require_kind(held: &Held, kind: JobKind) -> Result<(), StoreError> {
    if held.kind == kind {
        return Ok(());
    }
    let reason = format!("it is of kind {}, the result of kind {kind}", held.kind);
    Err(StoreError::Mismatch {
        job: held.job,
        reason,
    })
}
