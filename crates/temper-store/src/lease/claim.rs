use std::time::Duration;

use sqlx::types::Json;
use temper_core::{
    job::{JobEvent, JobState},
    spec::JobSpec,
};

use super::{Claim, LeaseRef, lease_hold};
use crate::{
    Checkpoint, JobId, Store, StoreError,
    epoch::epochs_count,
    value::{column, digest},
    worker::{WorkerFacts, WorkerRef, worker_seen},
};

struct ClaimRecord {
    id: i64,
    key: Vec<u8>,
    fence: i64,
    spec: Json<JobSpec>,
}

impl Store {
    /// Takes the next job for a worker: of the owner with the fewest leases for their weight, the
    /// one of the highest priority, then the oldest. The lease lasts `duration` from now by the
    /// database's clock. None when nothing is ready that the worker can do.
    ///
    /// # Errors
    /// `UnknownWorker` when the incarnation has not registered under this token.
    pub async fn lease_claim(
        &self,
        worker: WorkerRef,
        duration: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        let facts = worker_seen(self, worker).await?;
        while let Some(record) = self.job_lease(worker, &facts, duration).await? {
            match self.claim_of(worker, record).await {
                // Its sweep was cancelled at this very moment: there may be another job.
                Err(StoreError::LeaseLost { .. }) => {}
                claim => return claim.map(Some),
            }
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
        let checkpoints = self.checkpoints_newest(job).await?;
        let artifact = match &spec {
            JobSpec::Train(_) => {
                // The first lease of a job has nothing to rewind.
                if lease.fence > 1 {
                    self.epochs_rewind(&lease, checkpoints.first()).await?;
                }
                None
            }
            JobSpec::Evaluate(spec) => self.artifact_measured(job, spec.model).await?,
        };
        let key = digest(&record.key, "job key")?;
        Ok(Claim {
            lease,
            key,
            spec,
            checkpoints,
            artifact,
        })
    }

    /// Chooses, leases and notes the attempt in one statement. Owners come in the order of their
    /// turn, and the first one with a ready job that nobody else is just taking has it. Within an
    /// owner each number format has a line of its own, which the partial index `job_ready` holds in
    /// the order wanted: of the worker's formats that line is taken from whose head comes first, so
    /// that the cost is that of the first rows of the queue, whatever the history and whatever the
    /// worker cannot do. Heads are only looked at; the row that is taken is the only one locked.
    async fn job_lease(
        &self,
        worker: WorkerRef,
        facts: &WorkerFacts,
        duration: Duration,
    ) -> Result<Option<ClaimRecord>, StoreError> {
        let leased = JobState::Queued.after(JobEvent::Leased)?;
        Ok(sqlx::query_as!(
            ClaimRecord,
            r#"WITH turn AS MATERIALIZED (
                SELECT owner.name FROM temper.owner
                LEFT JOIN temper.lease ON lease.owner = owner.name
                GROUP BY owner.name
                ORDER BY count(lease.job_id)::float8 / owner.weight, owner.name
            ), next AS MATERIALIZED (
                SELECT ready.id FROM turn CROSS JOIN LATERAL (
                    SELECT format.name FROM unnest($7::text[]) AS format (name)
                    CROSS JOIN LATERAL (
                        SELECT job.priority, job.id FROM temper.job
                        WHERE job.owner = turn.name AND job.precision = format.name
                            AND job.state = 'queued' AND job.wanted AND job.blocked_by = 0
                            AND job.available_at <= now() AND job.result_version = ANY($2)
                        ORDER BY job.priority DESC, job.id LIMIT 1
                    ) AS head
                    ORDER BY head.priority DESC, head.id
                ) AS line CROSS JOIN LATERAL (
                    SELECT job.id FROM temper.job
                    WHERE job.owner = turn.name AND job.precision = line.name
                        AND job.state = 'queued' AND job.wanted AND job.blocked_by = 0
                        AND job.available_at <= now() AND job.result_version = ANY($2)
                    ORDER BY job.priority DESC, job.id LIMIT 1
                    FOR NO KEY UPDATE SKIP LOCKED
                ) AS ready LIMIT 1
            ), claimed AS (
                UPDATE temper.job
                SET state = $6, fence = job.fence + 1, attempts = job.attempts + 1, message = ''
                FROM next WHERE job.id = next.id
                RETURNING job.id, job.key, job.fence, job.attempts, job.owner,
                    temper.job_spec(job) AS spec
            ), tried AS (
                INSERT INTO temper.attempt (job_id, number, incarnation, worker, device, fence)
                SELECT id, attempts, $1, $3, $4, fence FROM claimed
            ), leased AS (
                INSERT INTO temper.lease (job_id, attempt, incarnation, owner, fence, expires_at)
                SELECT id, attempts, $1, owner, fence, now() + make_interval(secs => $5)
                FROM claimed
            )
            SELECT id, key, fence, spec AS "spec!: Json<JobSpec>" FROM claimed"#,
            worker.incarnation,
            &facts.result_versions,
            facts.name,
            facts.device,
            duration.as_secs_f64(),
            leased.as_str(),
            &facts.precisions,
        )
        .fetch_optional(&self.pool)
        .await?)
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
            epochs_count(&mut tx, lease.job).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
