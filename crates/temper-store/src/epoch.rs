use std::collections::HashSet;

use temper_core::report::EpochMetrics;

use crate::{
    JobId, LeaseRef, Store, StoreError,
    coalesce::Write,
    lease::{Held, repeated_late},
    store::Tx,
    value::column,
};

impl Store {
    /// Stores epochs of a training; one reported before is replaced.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job, `Mismatch` for epochs that the job does
    /// not have, for an epoch twice, and for values that are not finite.
    pub async fn epochs_report(
        &self,
        lease: &LeaseRef,
        epochs: &[EpochMetrics],
    ) -> Result<(), StoreError> {
        let report = EpochReport::of(*lease, epochs)?;
        self.reports.call(report).await
    }
}

/// Epochs that a worker tells.
#[derive(Debug)]
pub(crate) struct EpochReport {
    lease: LeaseRef,
    epochs: Vec<EpochMetrics>,
}

impl EpochReport {
    fn of(lease: LeaseRef, epochs: &[EpochMetrics]) -> Result<Self, StoreError> {
        let (job, mut seen) = (lease.job, HashSet::new());
        for metrics in epochs {
            let reason = objection(metrics).unwrap_or("it is there twice");
            if objection(metrics).is_some() || !seen.insert(metrics.epoch) {
                let reason = format!("epoch {}: {reason}", metrics.epoch);
                return Err(StoreError::Mismatch { job, reason });
            }
        }
        let epochs = epochs.to_vec();
        Ok(Self { lease, epochs })
    }
}

impl Write for EpochReport {
    fn lease(&self) -> &LeaseRef {
        &self.lease
    }

    async fn store(tx: &mut Tx, reports: &[(Held, Self)]) -> Result<(), StoreError> {
        let mut columns = EpochColumns::default();
        for (held, report) in reports {
            require_epochs(held, &report.epochs)?;
            for metrics in &report.epochs {
                columns.push(held, metrics)?;
            }
        }
        let jobs: Vec<i64> = reports.iter().map(|(held, _)| held.job.0).collect();
        columns.upsert(tx, &jobs).await
    }

    fn repeated(&self) -> Result<(), StoreError> {
        Err(repeated_late(&self.lease))
    }
}

fn require_epochs(held: &Held, epochs: &[EpochMetrics]) -> Result<(), StoreError> {
    let last = epochs.iter().map(|metrics| metrics.epoch).max();
    let Some(epoch) = last.filter(|epoch| *epoch >= held.epochs) else {
        return Ok(());
    };
    let reason = format!("it has {} epochs, none with number {epoch}", held.epochs);
    Err(StoreError::Mismatch {
        job: held.job,
        reason,
    })
}

/// Notes that the lease's worker gets on, and in the job how many epochs are there.
pub(crate) async fn epochs_note(tx: &mut Tx, job: JobId) -> Result<(), StoreError> {
    sqlx::query!(
        "WITH progress AS (UPDATE temper.lease SET progress_at = now() WHERE job_id = $1)
        UPDATE temper.job SET epochs_done =
            (SELECT count(*) FROM temper.epoch_metric WHERE epoch_metric.job_id = job.id)
        WHERE id = $1",
        job.0,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Epochs as columns, which is how one statement takes any number of them.
#[derive(Default)]
struct EpochColumns {
    jobs: Vec<i64>,
    fences: Vec<i64>,
    epochs: Vec<i32>,
    epsilons: Vec<f64>,
    learning_rates: Vec<f64>,
    train_losses: Vec<f64>,
    validation_accuracies: Vec<Option<f64>>,
    validation_robust_accuracies: Vec<Option<f64>>,
    images_per_second: Vec<f64>,
    loading_shares: Vec<f64>,
}

impl EpochColumns {
    fn push(&mut self, held: &Held, metrics: &EpochMetrics) -> Result<(), StoreError> {
        self.jobs.push(held.job.0);
        self.fences.push(held.fence);
        self.epochs.push(column(metrics.epoch, "the epoch")?);
        self.epsilons.push(metrics.epsilon);
        self.learning_rates.push(metrics.learning_rate);
        self.train_losses.push(metrics.train_loss);
        self.validation_accuracies.push(metrics.validation_accuracy);
        self.validation_robust_accuracies
            .push(metrics.validation_robust_accuracy);
        self.images_per_second.push(metrics.images_per_second);
        self.loading_shares.push(metrics.loading_share);
        Ok(())
    }

    /// Stores them all, and notes in these jobs how many are there.
    async fn upsert(&self, tx: &mut Tx, jobs: &[i64]) -> Result<(), StoreError> {
        sqlx::query_file!(
            "src/epoch/report.sql",
            &self.jobs,
            &self.fences,
            &self.epochs,
            &self.epsilons,
            &self.learning_rates,
            &self.train_losses,
            &self.validation_accuracies as _,
            &self.validation_robust_accuracies as _,
            &self.images_per_second,
            &self.loading_shares,
            jobs,
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

/// What is wrong with an epoch's values, if anything.
fn objection(metrics: &EpochMetrics) -> Option<&'static str> {
    let shares = [
        metrics.validation_accuracy,
        metrics.validation_robust_accuracy,
        Some(metrics.loading_share),
    ];
    let numbers = [
        metrics.epsilon,
        metrics.learning_rate,
        metrics.train_loss,
        metrics.images_per_second,
    ];
    if !numbers.iter().all(|number| number.is_finite()) {
        Some("a value is not finite")
    } else if !shares
        .iter()
        .flatten()
        .all(|share| (0.0..=1.0).contains(share))
    {
        Some("a share is outside [0, 1]")
    } else {
        None
    }
}
