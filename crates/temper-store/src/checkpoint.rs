use temper_core::Digest;

use crate::{
    JobId, LeaseRef, Store, StoreError,
    lease::{lease_hold, progress_note},
    value::{column, digest, stored},
};

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
        let (step, size): (i64, i64) = (
            column(checkpoint.step, "the step")?,
            column(checkpoint.size, "the size")?,
        );
        let epochs: i32 = column(checkpoint.epochs, "the epochs")?;
        let mut tx = self.begin().await?;
        lease_hold(&mut tx, lease).await?;
        let stored = sqlx::query!(
            "INSERT INTO temper.checkpoint (path, job_id, fence, step, epochs, sha256, size)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (path) DO UPDATE SET registered_at = checkpoint.registered_at
            WHERE checkpoint.job_id = excluded.job_id AND checkpoint.fence = excluded.fence
                AND checkpoint.sha256 = excluded.sha256",
            checkpoint.path,
            lease.job.0,
            lease.fence,
            step,
            epochs,
            &checkpoint.sha256.as_bytes()[..],
            size,
        )
        .execute(&mut *tx)
        .await?;
        if stored.rows_affected() == 0 {
            let reason = format!("another checkpoint is registered at {}", checkpoint.path);
            return Err(StoreError::Mismatch {
                job: lease.job,
                reason,
            });
        }
        progress_note(&mut tx, lease.job).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A job's newest two checkpoints, newest first: when one is torn, the next is used.
    pub(crate) async fn checkpoints_newest(
        &self,
        job: JobId,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        let rows = sqlx::query!(
            "SELECT path, step, epochs, sha256, size FROM temper.checkpoint
            WHERE job_id = $1 AND condemned_at IS NULL
            ORDER BY step DESC, fence DESC LIMIT 2",
            job.0,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Checkpoint {
                    step: stored(row.step, "step")?,
                    epochs: stored(row.epochs, "epochs")?,
                    path: row.path,
                    sha256: digest(&row.sha256, "digest of a checkpoint")?,
                    size: stored(row.size, "size")?,
                })
            })
            .collect()
    }
}
