use std::collections::HashSet;

use temper_core::report::EpochMetrics;

use crate::{JobId, LeaseRef, Store, StoreError, lease::lease_hold, store::Tx, value::column};

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
        let columns = EpochColumns::of(lease.job, epochs)?;
        let mut tx = self.begin().await?;
        let held = lease_hold(&mut tx, lease).await?;
        if let Some(epoch) = epochs.iter().map(|metrics| metrics.epoch).max()
            && epoch >= held.epochs
        {
            let reason = format!("it has {} epochs, none with number {epoch}", held.epochs);
            return Err(StoreError::Mismatch {
                job: lease.job,
                reason,
            });
        }
        columns.upsert(&mut tx, lease).await?;
        epochs_note(&mut tx, lease.job).await?;
        tx.commit().await?;
        Ok(())
    }
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
    fn of(job: JobId, epochs: &[EpochMetrics]) -> Result<Self, StoreError> {
        let (mut columns, mut seen) = (Self::default(), HashSet::new());
        for metrics in epochs {
            if let Some(reason) = objection(metrics) {
                let reason = format!("epoch {}: {reason}", metrics.epoch);
                return Err(StoreError::Mismatch { job, reason });
            }
            let epoch = column(metrics.epoch, "the epoch")?;
            if !seen.insert(epoch) {
                let reason = format!("epoch {epoch} is there twice");
                return Err(StoreError::Mismatch { job, reason });
            }
            columns.epochs.push(epoch);
            columns.epsilons.push(metrics.epsilon);
            columns.learning_rates.push(metrics.learning_rate);
            columns.train_losses.push(metrics.train_loss);
            columns
                .validation_accuracies
                .push(metrics.validation_accuracy);
            columns
                .validation_robust_accuracies
                .push(metrics.validation_robust_accuracy);
            columns.images_per_second.push(metrics.images_per_second);
            columns.loading_shares.push(metrics.loading_share);
        }
        Ok(columns)
    }

    async fn upsert(&self, tx: &mut Tx, lease: &LeaseRef) -> Result<(), StoreError> {
        sqlx::query!(
            "INSERT INTO temper.epoch_metric (job_id, fence, epoch, epsilon, learning_rate,
                train_loss, validation_accuracy, validation_robust_accuracy, images_per_second,
                loading_share)
            SELECT $1, $2, row.* FROM unnest($3::int[], $4::float8[], $5::float8[], $6::float8[],
                $7::float8[], $8::float8[], $9::float8[], $10::float8[]) AS row
            ON CONFLICT (job_id, epoch) DO UPDATE SET fence = excluded.fence,
                epsilon = excluded.epsilon, learning_rate = excluded.learning_rate,
                train_loss = excluded.train_loss,
                validation_accuracy = excluded.validation_accuracy,
                validation_robust_accuracy = excluded.validation_robust_accuracy,
                images_per_second = excluded.images_per_second,
                loading_share = excluded.loading_share, reported_at = now()",
            lease.job.0,
            lease.fence,
            &self.epochs,
            &self.epsilons,
            &self.learning_rates,
            &self.train_losses,
            &self.validation_accuracies as _,
            &self.validation_robust_accuracies as _,
            &self.images_per_second,
            &self.loading_shares,
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
