//! Failed jobs, tried again because a person asks for it.

use std::collections::HashSet;

use serde_json::json;
use sqlx::types::Json;
use temper_core::{
    Violations,
    job::{FailureClass, JobEvent, JobFilter, JobState},
    spec::SweepSpec,
};
use uuid::Uuid;

use super::JobId;
use crate::{
    Actor, Store, StoreError, SweepState, audit::audit_note, store::Tx, sweep::jobs, value::column,
};

/// What is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retried {
    /// The failed jobs that were queued again, ascending.
    pub jobs: Vec<JobId>,
    /// What was cancelled because one of them had failed, and waits for it again, ascending.
    pub revived: Vec<JobId>,
}

impl Store {
    /// Queues those of a sweep's failed jobs again that the filter lets through, and no others;
    /// their attempts so far no longer count against them. What was cancelled with a training is
    /// queued with it, where a live sweep wants it and no person cancelled it.
    ///
    /// # Errors
    /// `NotFound` without such a sweep, `SweepState` when it is cancelled, `Filter` when the filter names what no
    /// cell of the sweep has.
    pub async fn jobs_retry(
        &self,
        actor: &Actor<'_>,
        sweep: Uuid,
        filter: &JobFilter,
    ) -> Result<Retried, StoreError> {
        let mut tx = self.begin().await?;
        let retried = retry(&mut tx, sweep, filter).await?;
        if !retried.jobs.is_empty() {
            let (jobs, revived) = (retried.jobs.len(), retried.revived.len());
            let detail = json!({ "jobs": jobs, "revived": revived });
            let method = "JobService/RetryJobs";
            audit_note(&mut tx, actor, method, Some(sweep), None, detail).await?;
        }
        tx.commit().await?;
        Ok(retried)
    }

    /// What [`Self::jobs_retry`] would do: it does it, and takes it back.
    ///
    /// # Errors
    /// As there.
    pub async fn jobs_retry_preview(
        &self,
        sweep: Uuid,
        filter: &JobFilter,
    ) -> Result<Retried, StoreError> {
        let mut tx = self.begin().await?;
        let retried = retry(&mut tx, sweep, filter).await?;
        drop(tx);
        Ok(retried)
    }
}

async fn retry(tx: &mut Tx, sweep: Uuid, filter: &JobFilter) -> Result<Retried, StoreError> {
    require_live(tx, sweep).await?;
    require_known(tx, sweep, filter).await?;
    let columns = FilterColumns::of(filter)?;
    let meant = columns.failed(tx, sweep).await?;
    let mut family = dependents_of(tx, &meant).await?;
    family.extend(&meant);
    jobs::jobs_lock(tx, &family).await?;
    // From here on none of them moves. What happened before that is read again: whoever cancels a
    // sweep takes the same locks, and a job may have been retried or have failed otherwise.
    require_live(tx, sweep).await?;
    let meant: HashSet<i64> = meant.into_iter().collect();
    let mut failed = columns.failed(tx, sweep).await?;
    failed.retain(|job| meant.contains(job));
    let jobs = requeue(tx, &failed).await?;
    let revived = revive(tx, &jobs).await?;
    if !jobs.is_empty() {
        tx.announce();
    }
    let ids = |jobs: Vec<i64>| jobs.into_iter().map(JobId).collect();
    Ok(Retried {
        jobs: ids(jobs),
        revived: ids(revived),
    })
}

async fn require_live(tx: &mut Tx, sweep: Uuid) -> Result<(), StoreError> {
    let cancelled_at =
        sqlx::query_scalar!("SELECT cancelled_at FROM temper.sweep WHERE id = $1", sweep)
            .fetch_optional(&mut **tx)
            .await?
            .ok_or_else(|| StoreError::not_found("sweep", &sweep))?;
    match cancelled_at {
        None => Ok(()),
        Some(_) => Err(StoreError::SweepState {
            sweep,
            state: SweepState::Cancelled,
            what: "have jobs tried again: submit its spec anew",
        }),
    }
}

/// Refuses a filter that names what the sweep does not have.
async fn require_known(tx: &mut Tx, sweep: Uuid, filter: &JobFilter) -> Result<(), StoreError> {
    if *filter == JobFilter::default() {
        return Ok(());
    }
    let spec = sqlx::query_scalar!(
        r#"SELECT spec AS "spec: Json<SweepSpec>" FROM temper.sweep WHERE id = $1"#,
        sweep
    )
    .fetch_one(&mut **tx)
    .await?;
    let mut violations = Violations::default();
    filter.cells.check("cells", &spec, &mut violations);
    let strangers = sqlx::query_scalar!(
        r#"SELECT asked.job_id AS "job_id!" FROM unnest($2::bigint[]) AS asked (job_id)
        WHERE NOT EXISTS (
            SELECT FROM temper.sweep_job AS link
            WHERE link.sweep_id = $1 AND link.job_id = asked.job_id
        )"#,
        sweep,
        &filter.jobs,
    )
    .fetch_all(&mut **tx)
    .await?;
    let strangers: HashSet<i64> = strangers.into_iter().collect();
    for (i, job) in filter.jobs.iter().enumerate() {
        let known = !strangers.contains(job);
        violations.require(known, &format!("jobs[{i}]"), || {
            format!("jobs/{job} is none of the sweep's")
        });
    }
    violations.into_result(()).map_err(StoreError::Filter)
}

/// A filter as the columns of a statement.
struct FilterColumns<'a> {
    filter: &'a JobFilter,
    classes: Vec<String>,
    schedules: Vec<String>,
    target_nums: Vec<i32>,
    target_dens: Vec<i32>,
    seeds: Vec<i64>,
    hyperparameters: Vec<i32>,
}

impl<'a> FilterColumns<'a> {
    fn of(filter: &'a JobFilter) -> Result<Self, StoreError> {
        let classes = filter.failure_classes.iter().copied();
        let cells = &filter.cells;
        let seeds = cells.seeds.iter().map(|seed| column(*seed, "the seed"));
        let settings = cells.hyperparameters.iter();
        let settings = settings.map(|index| column(*index, "the index"));
        let mut columns = Self {
            filter,
            classes: classes
                .map(FailureClass::as_str)
                .map(str::to_owned)
                .collect(),
            schedules: cells.schedules.iter().map(ToString::to_string).collect(),
            target_nums: Vec::new(),
            target_dens: Vec::new(),
            seeds: seeds.collect::<Result<_, _>>()?,
            hyperparameters: settings.collect::<Result<_, _>>()?,
        };
        for target in &cells.target_epsilons {
            columns
                .target_nums
                .push(column(target.numerator(), "the target")?);
            columns
                .target_dens
                .push(column(target.denominator(), "the target")?);
        }
        Ok(columns)
    }

    /// The sweep's failed jobs that the filter lets through, ascending: trainings and evaluations
    /// of the cells that it means.
    async fn failed(&self, tx: &mut Tx, sweep: Uuid) -> Result<Vec<i64>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"WITH cell AS (
                SELECT ordinal, train_job FROM temper.sweep_cell
                WHERE sweep_id = $1
                    AND ($2::text[] = '{}' OR model = ANY($2))
                    AND ($3::text[] = '{}' OR dataset = ANY($3))
                    AND ($4::text[] = '{}' OR schedule = ANY($4))
                    AND ($5::bigint[] = '{}' OR seed = ANY($5))
                    AND ($6::int[] = '{}' OR (target_num, target_den) IN
                        (SELECT * FROM unnest($6::int[], $7::int[])))
                    AND ($10::int[] = '{}' OR hyperparameters = ANY($10))
            ), member AS (
                SELECT train_job AS job_id FROM cell
                UNION
                SELECT evaluation.job_id FROM cell
                JOIN temper.cell_evaluation AS evaluation
                    ON evaluation.sweep_id = $1 AND evaluation.cell = cell.ordinal
            )
            SELECT job.id AS "id!" FROM member JOIN temper.job ON job.id = member.job_id
            WHERE job.state = 'failed'
                AND ($8::bigint[] = '{}' OR job.id = ANY($8))
                AND ($9::text[] = '{}' OR (
                    SELECT attempt.failure_class FROM temper.attempt
                    WHERE attempt.job_id = job.id ORDER BY attempt.number DESC LIMIT 1
                ) = ANY($9))
            ORDER BY job.id"#,
            sweep,
            &self.filter.cells.models,
            &self.filter.cells.datasets,
            &self.schedules,
            &self.seeds,
            &self.target_nums,
            &self.target_dens,
            &self.filter.jobs,
            &self.classes,
            &self.hyperparameters,
        )
        .fetch_all(&mut **tx)
        .await?)
    }
}

async fn dependents_of(tx: &mut Tx, jobs: &[i64]) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT DISTINCT job_id FROM temper.job_dependency WHERE depends_on = ANY($1)",
        jobs,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Queues failed jobs, which are locked.
async fn requeue(tx: &mut Tx, failed: &[i64]) -> Result<Vec<i64>, StoreError> {
    let queued = JobState::Failed.after(JobEvent::Retried)?;
    let mut jobs = sqlx::query_scalar!(
        "UPDATE temper.job SET state = $2, forgiven_attempts = attempts, message = '',
            finished_at = NULL, available_at = now()
        WHERE id = ANY($1) AND state = 'failed' RETURNING id",
        failed,
        queued.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    jobs.sort_unstable();
    Ok(jobs)
}

/// Queues what was cancelled with trainings that are tried again. A sweep that is paused is live:
/// its jobs wait for it.
async fn revive(tx: &mut Tx, trains: &[i64]) -> Result<Vec<i64>, StoreError> {
    let dependents = dependents_of(tx, trains).await?;
    // Locked before, except for those that a sweep has made since: nobody else has them in hand.
    jobs::jobs_lock(tx, &dependents).await?;
    let queued = JobState::Cancelled.after(JobEvent::Wanted)?;
    let mut revived = sqlx::query_scalar!(
        "UPDATE temper.job SET state = $2, message = '', finished_at = NULL, available_at = now()
        WHERE id = ANY($1) AND state = 'cancelled' AND NOT withdrawn AND EXISTS (
            SELECT FROM temper.sweep_job AS link JOIN temper.sweep ON sweep.id = link.sweep_id
            WHERE link.job_id = job.id AND sweep.cancelled_at IS NULL
        ) AND NOT EXISTS (
            SELECT FROM temper.job_dependency AS dependency
            JOIN temper.job AS train ON train.id = dependency.depends_on
            WHERE dependency.job_id = job.id AND train.state IN ('failed', 'cancelled')
        ) RETURNING id",
        &dependents,
        queued.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    revived.sort_unstable();
    Ok(revived)
}
