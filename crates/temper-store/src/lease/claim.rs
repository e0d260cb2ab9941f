use std::time::Duration;

use sqlx::{PgExecutor, types::Json};
use temper_core::{
    job::{JobEvent, JobState},
    spec::JobSpec,
    trace::TraceParent,
};

use super::{Claim, LeaseRef, lease_hold};
use crate::{
    Checkpoint, JobId, Store, StoreError,
    artifact::ArtifactRecord,
    epoch::epochs_note,
    queue::queue_lock,
    value::{column, digest},
    worker::{WorkerRef, worker_seen},
};

struct ClaimRecord {
    id: i64,
    key: Vec<u8>,
    fence: i64,
    spec: Json<JobSpec>,
    /// The model to measure, of an evaluation.
    artifact: Option<ArtifactRecord>,
    trace: Option<Vec<u8>>,
    /// Whether the attempt before was lost.
    rescues: bool,
}

/// What a look at the queue comes to.
enum Look {
    Nothing,
    Claimed(Box<ClaimRecord>),
    /// The next job stands in this queue, which has a limit: it must be locked to be claimed from.
    Limited(i32),
}

/// Limited queues that are locked in vain before a claim is put off: others are claiming from them.
const MOST_LOOKS: usize = 8;

impl Store {
    /// Takes the next job for a worker: of the owner with the fewest leases for their weight, the
    /// one of the highest priority, then the oldest, of those that the worker can do and whose sweep
    /// has not as many under way as it may. The lease lasts `duration` from now by the database's
    /// clock. None when nothing such is ready.
    ///
    /// # Errors
    /// `UnknownWorker` when the incarnation has not registered under this token.
    pub async fn lease_claim(
        &self,
        worker: WorkerRef,
        duration: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        while let Some(record) = self.job_lease(worker, duration).await? {
            match self.claim_of(worker, record).await {
                // Its sweep was cancelled at this very moment: there may be another job.
                Err(StoreError::LeaseLost { .. }) => {}
                claim => return claim.map(Some),
            }
        }
        // Nothing is for the unknown, either; they must be told.
        worker_seen(self, worker).await?;
        Ok(None)
    }

    /// Leases the next job. Where its queue has a limit, those who claim from it take turns, so that
    /// each counts what the one before has leased.
    async fn job_lease(
        &self,
        worker: WorkerRef,
        duration: Duration,
    ) -> Result<Option<ClaimRecord>, StoreError> {
        let claim = (worker, duration);
        let mut look = job_claim(&self.pool, claim, None).await?;
        for _ in 0..MOST_LOOKS {
            let queue = match look {
                Look::Nothing => return Ok(None),
                Look::Claimed(record) => return Ok(Some(*record)),
                Look::Limited(queue) => queue,
            };
            let mut tx = self.begin().await?;
            queue_lock(&mut tx, queue).await?;
            look = job_claim(&mut *tx, claim, Some(queue)).await?;
            tx.commit().await?;
        }
        Ok(None)
    }

    /// What the worker needs for the job that it has just leased.
    async fn claim_of(&self, worker: WorkerRef, record: ClaimRecord) -> Result<Claim, StoreError> {
        let job = JobId(record.id);
        let lease = LeaseRef {
            job,
            incarnation: worker.incarnation,
            token: worker.token,
            fence: record.fence,
        };
        let spec = record.spec.0;
        // The first lease of a job has nothing to go on from.
        let checkpoints = if lease.fence > 1 {
            self.checkpoints_newest(job).await?
        } else {
            Vec::new()
        };
        if matches!(spec, JobSpec::Train(_)) && lease.fence > 1 {
            self.epochs_rewind(&lease, checkpoints.first()).await?;
        }
        let artifact = record.artifact.map(ArtifactRecord::into_artifact);
        let key = digest(&record.key, "job key")?;
        Ok(Claim {
            lease,
            key,
            spec,
            checkpoints,
            artifact: artifact.transpose()?,
            trace: record.trace.as_deref().and_then(TraceParent::from_bytes),
            rescues: record.rescues,
        })
    }

    /// Deletes the epochs that the worker is going to train again.
    async fn epochs_rewind(
        &self,
        lease: &LeaseRef,
        newest: Option<&Checkpoint>,
    ) -> Result<(), StoreError> {
        let done: i32 = column(
            newest.map_or(0, |checkpoint| checkpoint.epochs),
            "the epochs",
        )?;
        let mut tx = self.begin().await?;
        lease_hold(&mut tx, lease).await?;
        let gone = sqlx::query!(
            "DELETE FROM temper.epoch_metric WHERE job_id = $1 AND epoch >= $2",
            lease.job.0,
            done,
        )
        .execute(&mut *tx)
        .await?;
        if gone.rows_affected() > 0 {
            epochs_note(&mut tx, lease.job).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Chooses, leases, and notes the attempt and that the worker was heard of, in one statement.
///
/// A line is what stands in one queue with one footprint; the partial index `job_ready` holds each in the
/// order wanted. Lines that are not empty are found by going from one to the next in the index, and those
/// that the worker cannot do are dropped whole: the cost is that of one step a line, whatever the history
/// and whatever stands in the lines. Of the others the heads are looked at, in the order of their owners'
/// turns, and the first that nobody else is just taking is leased. It is the only row that is locked.
async fn job_claim(
    executor: impl PgExecutor<'_>,
    (worker, duration): (WorkerRef, Duration),
    locked: Option<i32>,
) -> Result<Look, StoreError> {
    let leased = JobState::Queued.after(JobEvent::Leased)?;
    let row = sqlx::query_file!(
        "src/lease/claim.sql",
        worker.incarnation,
        worker.token,
        duration.as_secs_f64(),
        leased.as_str(),
        locked,
    )
    .fetch_optional(executor)
    .await?;
    let Some(row) = row else {
        return Ok(Look::Nothing);
    };
    let artifact = match (row.path, row.sha256, row.size) {
        (Some(path), Some(sha256), Some(size)) => Some(ArtifactRecord { path, sha256, size }),
        _ => None,
    };
    Ok(match (row.id, row.key, row.fence, row.spec) {
        (Some(id), Some(key), Some(fence), Some(spec)) => Look::Claimed(Box::new(ClaimRecord {
            id,
            key,
            fence,
            spec,
            artifact,
            trace: row.trace_parent,
            rescues: row.rescues,
        })),
        _ => Look::Limited(row.queue),
    })
}
