//! What trainings made.

use std::collections::HashMap;

use temper_core::{
    job::{JobEvent, JobKind, JobState},
    spec::Selection,
};

use super::{BestModel, Trained, require_kind};
use crate::{
    Artifact, LeaseRef, StoreError,
    attempt::memory_column,
    coalesce::Write,
    lease::{Held, leases_try},
    store::Tx,
    value::column,
};

/// A training that a worker has finished.
#[derive(Debug)]
pub(crate) struct CompletedTraining {
    lease: LeaseRef,
    trained: Trained,
}

impl CompletedTraining {
    pub(super) fn new(lease: LeaseRef, trained: &Trained) -> Self {
        let trained = trained.clone();
        Self { lease, trained }
    }
}

impl Write for CompletedTraining {
    fn lease(&self) -> &LeaseRef {
        &self.lease
    }

    /// Also what waits for the trainings, which is written to as well: of a training some of whose
    /// evaluations are locked by others, nothing is written now.
    async fn lock(tx: &mut Tx, leases: &[LeaseRef]) -> Result<HashMap<LeaseRef, Held>, StoreError> {
        let mut held = leases_try(tx, leases).await?;
        let jobs: Vec<i64> = held.keys().map(|lease| lease.job.0).collect();
        let locked = sqlx::query_scalar!(
            "SELECT job.id FROM temper.job_dependency AS dependency
            JOIN temper.job ON job.id = dependency.job_id
            WHERE dependency.depends_on = ANY($1) FOR NO KEY UPDATE OF job SKIP LOCKED",
            &jobs,
        )
        .fetch_all(&mut **tx)
        .await?;
        let others = sqlx::query_scalar!(
            "SELECT depends_on FROM temper.job_dependency
            WHERE depends_on = ANY($1) AND job_id <> ALL ($2)",
            &jobs,
            &locked,
        )
        .fetch_all(&mut **tx)
        .await?;
        held.retain(|lease, _| !others.contains(&lease.job.0));
        Ok(held)
    }

    /// What has come to depend on a training until it was locked is seen: it is read by a later statement.
    async fn store(tx: &mut Tx, completed: &[(Held, Self)]) -> Result<(), StoreError> {
        let (mut rows, mut models) = (Rows::default(), ModelColumns::default());
        for (held, Self { trained, .. }) in completed {
            require_kind(held, JobKind::Train)?;
            require_epochs(held, trained.epochs)?;
            require_best(held, trained.best.as_ref())?;
            rows.push(held, trained)?;
            models.push(held, Selection::Last, None, &trained.artifact)?;
            if let Some(best) = &trained.best {
                let epoch = column(best.epoch, "the epoch")?;
                models.push(held, Selection::Best, Some(epoch), &best.artifact)?;
            }
        }
        let freed = sqlx::query_file!(
            "src/complete/train.sql",
            &rows.jobs,
            &rows.fences,
            &rows.peaks as _,
            &rows.best_epochs as _,
            &rows.micro_batches as _,
            &models.jobs,
            &models.selections,
            &models.epochs as _,
            &models.paths,
            &models.digests,
            &models.sizes,
            JobState::Leased.after(JobEvent::Completed)?.as_str(),
        )
        .execute(&mut **tx)
        .await?;
        if freed.rows_affected() > 0 {
            tx.announce();
        }
        Ok(())
    }

    fn repeated(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Trainings as columns.
#[derive(Default)]
struct Rows {
    jobs: Vec<i64>,
    fences: Vec<i64>,
    peaks: Vec<Option<i64>>,
    best_epochs: Vec<Option<i32>>,
    micro_batches: Vec<Option<i32>>,
}

impl Rows {
    fn push(&mut self, held: &Held, trained: &Trained) -> Result<(), StoreError> {
        let best = trained.best.as_ref();
        let best = best.map(|best| column(best.epoch, "the epoch"));
        let micro_batch = trained.micro_batch_size.filter(|size| *size > 0);
        let micro_batch = micro_batch.map(|size| column(size, "the micro-batch"));
        self.jobs.push(held.job.0);
        self.fences.push(held.fence);
        self.peaks.push(memory_column(trained.peak_memory_bytes)?);
        self.best_epochs.push(best.transpose()?);
        self.micro_batches.push(micro_batch.transpose()?);
        Ok(())
    }
}

/// Models as columns: of each training the last one, and the best one with its epoch if there is one.
#[derive(Default)]
struct ModelColumns {
    jobs: Vec<i64>,
    selections: Vec<String>,
    epochs: Vec<Option<i32>>,
    paths: Vec<String>,
    digests: Vec<Vec<u8>>,
    sizes: Vec<i64>,
}

impl ModelColumns {
    fn push(
        &mut self,
        held: &Held,
        selection: Selection,
        epoch: Option<i32>,
        artifact: &Artifact,
    ) -> Result<(), StoreError> {
        self.jobs.push(held.job.0);
        self.selections.push(selection.as_str().to_owned());
        self.epochs.push(epoch);
        self.paths.push(artifact.path.clone());
        self.digests.push(artifact.sha256.as_bytes().to_vec());
        self.sizes.push(column(artifact.size, "the size")?);
        Ok(())
    }
}

/// Every epoch must be reported. Each has its own number below how many the job has, so that as many as it
/// has are all of them.
fn require_epochs(held: &Held, handed_in: u32) -> Result<(), StoreError> {
    if handed_in == held.epochs && held.epochs_done == held.epochs {
        return Ok(());
    }
    Err(StoreError::EpochGap {
        job: held.job,
        epochs: held.epochs,
        handed_in,
        reported: held.epochs_done,
    })
}

fn require_best(held: &Held, best: Option<&BestModel>) -> Result<(), StoreError> {
    let Some(epoch) = best.map(|best| best.epoch).filter(|e| *e >= held.epochs) else {
        return Ok(());
    };
    Err(StoreError::Mismatch {
        job: held.job,
        reason: format!("it has no epoch {epoch} that could be its best"),
    })
}
