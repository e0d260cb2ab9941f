//! The tables as a test sees them at the end, where no service tells as much, and who holds what while
//! it runs.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, types::Json};
use temper_core::spec::JobSpec;
use uuid::Uuid;

use crate::{Store, StoreError};

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Held {
    /// Number of the job.
    pub job: i64,
    /// Fence of the lease.
    pub fence: i64,
    /// Name of the worker.
    pub worker: String,
    /// Whether the job is an evaluation.
    pub evaluates: bool,
    /// Attempts of the job that were lost before.
    pub lost: i64,
    /// When this was looked up, by the database's clock.
    pub seen_at: DateTime<Utc>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct JobRecord {
    /// Number.
    pub id: i64,
    /// Key, 32 bytes.
    pub key: Vec<u8>,
    /// Name of its state.
    pub state: String,
    /// Why it is not what it should be.
    pub message: String,
    /// Epochs in all.
    pub epochs: i32,
    /// Fence of its last lease.
    pub fence: i64,
    /// What to do.
    pub spec: Json<JobSpec>,
    /// Rows of results that it has: of `job_summary`.
    pub summaries: i64,
    /// Leases that are left.
    pub leases: i64,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AttemptRecord {
    /// Its job.
    pub job_id: i64,
    /// Fence of its lease.
    pub fence: i64,
    /// Name of the worker.
    pub worker: String,
    /// The worker's incarnation.
    pub incarnation: Uuid,
    /// When the lease was given.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How.
    pub outcome: Option<String>,
    /// What was said of it.
    pub message: String,
}

/// An epoch.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct EpochRecord {
    /// Its job.
    pub job_id: i64,
    /// Which.
    pub epoch: i32,
    /// Fence of the lease under which it was reported.
    pub fence: i64,
    /// A number that the worker reported.
    pub train_loss: f64,
    /// When it was reported.
    pub reported_at: DateTime<Utc>,
}

/// A point of a curve.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct PointRecord {
    /// Its job.
    pub job_id: i64,
    /// Place on the grid.
    pub ordinal: i32,
    /// Samples classified rightly.
    pub correct: i32,
    /// Samples in all.
    pub samples: i32,
}

/// Bytes in the object store: a trained model, or a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ObjectRecord {
    /// Its job.
    pub job_id: i64,
    /// Fence of the lease under which it was made.
    pub fence: i64,
    /// Where it lies.
    pub path: String,
    /// SHA-256 of the bytes.
    pub sha256: Vec<u8>,
    /// Length in bytes.
    pub size: i64,
    /// When it was accepted.
    pub at: DateTime<Utc>,
    /// Whether its bytes may be gone.
    pub condemned: bool,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    /// By number.
    pub jobs: Vec<JobRecord>,
    /// By job and fence.
    pub attempts: Vec<AttemptRecord>,
    /// By job and epoch.
    pub epochs: Vec<EpochRecord>,
    /// By job and ordinal.
    pub points: Vec<PointRecord>,
    /// Models of the last epoch, by job.
    pub artifacts: Vec<ObjectRecord>,
    /// By job, fence and step.
    pub checkpoints: Vec<ObjectRecord>,
    /// Rows that lead nowhere: their tables, and what tells them there.
    pub dangling: Vec<(String, String)>,
}

impl Tables {
    /// Reads the tables.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read(store: &Store) -> Result<Self, StoreError> {
        let pool = &store.pool;
        let jobs = "SELECT id, key, state, message, epochs, fence, temper.job_spec(job) AS spec,
                (SELECT count(*) FROM temper.job_summary WHERE job_id = id) AS summaries,
                (SELECT count(*) FROM temper.lease WHERE job_id = id) AS leases
            FROM temper.job ORDER BY id";
        let attempts =
            "SELECT job_id, fence, worker, incarnation, started_at, ended_at, outcome, message
            FROM temper.attempt ORDER BY job_id, fence";
        let epochs = "SELECT job_id, epoch, fence, train_loss, reported_at
            FROM temper.epoch_metric ORDER BY job_id, epoch";
        let points = "SELECT job_id, ordinal, correct, samples
            FROM temper.evaluation ORDER BY job_id, ordinal";
        let artifacts =
            "SELECT job_id, split_part(path, '/', 2)::bigint AS fence, path, sha256, size,
                created_at AS at, false AS condemned
            FROM temper.artifact WHERE selection = 'last' ORDER BY job_id";
        let checkpoints = "SELECT job_id, fence, path, sha256, size, registered_at AS at,
                condemned_at IS NOT NULL AS condemned
            FROM temper.checkpoint ORDER BY job_id, fence, step";
        Ok(Self {
            jobs: sqlx::query_as(jobs).fetch_all(pool).await?,
            attempts: sqlx::query_as(attempts).fetch_all(pool).await?,
            epochs: sqlx::query_as(epochs).fetch_all(pool).await?,
            points: sqlx::query_as(points).fetch_all(pool).await?,
            artifacts: sqlx::query_as(artifacts).fetch_all(pool).await?,
            checkpoints: sqlx::query_as(checkpoints).fetch_all(pool).await?,
            dangling: sqlx::query_as("SELECT relation, id FROM temper.dangling")
                .fetch_all(pool)
                .await?,
        })
    }
}

/// Who holds what.
///
/// # Errors
/// When the database fails.
pub async fn leases(store: &Store) -> Result<Vec<Held>, StoreError> {
    let query =
        "SELECT lease.job_id AS job, lease.fence, attempt.worker, job.kind = 'evaluate' AS evaluates,
            clock_timestamp() AS seen_at,
            (SELECT count(*) FROM temper.attempt AS earlier
            WHERE earlier.job_id = lease.job_id AND earlier.outcome = 'lost') AS lost
        FROM temper.lease JOIN temper.attempt USING (job_id, fence)
        JOIN temper.job ON job.id = lease.job_id
        WHERE lease.expires_at > clock_timestamp() ORDER BY job";
    Ok(sqlx::query_as(query).fetch_all(&store.pool).await?)
}

/// The database's clock.
///
/// # Errors
/// When the database fails.
pub async fn now(store: &Store) -> Result<DateTime<Utc>, StoreError> {
    let query = "SELECT clock_timestamp()";
    Ok(sqlx::query_scalar(query).fetch_one(&store.pool).await?)
}

/// How an attempt ended (none: it runs), and the fence of its job's last lease.
///
/// # Errors
/// When the database fails, or there is no such attempt.
pub async fn attempt_outcome(
    store: &Store,
    (job, fence): (i64, i64),
) -> Result<(Option<String>, i64), StoreError> {
    let query = "SELECT attempt.outcome, job.fence FROM temper.attempt
        JOIN temper.job ON job.id = attempt.job_id
        WHERE attempt.job_id = $1 AND attempt.fence = $2";
    let found = sqlx::query_as(query).bind(job).bind(fence);
    Ok(found.fetch_one(&store.pool).await?)
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Progress {
    /// Jobs that have succeeded.
    pub succeeded: i64,
    /// Jobs that have failed or were cancelled.
    pub given_up: i64,
    /// Jobs that have not ended.
    pub open: i64,
}

/// How far the work is.
///
/// # Errors
/// When the database fails.
pub async fn progress(store: &Store) -> Result<Progress, StoreError> {
    let query = "SELECT count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
            count(*) FILTER (WHERE state IN ('failed', 'cancelled')) AS given_up,
            count(*) FILTER (WHERE state IN ('queued', 'leased')) AS open
        FROM temper.job";
    Ok(sqlx::query_as(query).fetch_one(&store.pool).await?)
}

/// How much there is of all that callers bring about. What the reaper and the janitor do by themselves
/// changes none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Tally {
    /// Sweeps.
    pub sweeps: i64,
    /// Changes of them.
    pub revisions: i64,
    /// Jobs.
    pub jobs: i64,
    /// Wishes of sweeps for jobs.
    pub links: i64,
    /// Cells.
    pub cells: i64,
    /// Epochs reported.
    pub epochs: i64,
    /// Lines logged.
    pub lines: i64,
    /// Models.
    pub artifacts: i64,
    /// Results.
    pub summaries: i64,
    /// Workers.
    pub workers: i64,
    /// Tokens that are good.
    pub tokens: i64,
    /// Entries of the audit log.
    pub audit: i64,
}

/// How much there is.
///
/// # Errors
/// When the database fails.
pub async fn tally(store: &Store) -> Result<Tally, StoreError> {
    let query = "SELECT (SELECT count(*) FROM temper.sweep) AS sweeps,
            (SELECT coalesce(sum(revision), 0)::bigint FROM temper.sweep) AS revisions,
            (SELECT count(*) FROM temper.job) AS jobs,
            (SELECT count(*) FROM temper.sweep_job) AS links,
            (SELECT count(*) FROM temper.sweep_cell) AS cells,
            (SELECT count(*) FROM temper.epoch_metric) AS epochs,
            (SELECT count(*) FROM temper.attempt_log) AS lines,
            (SELECT count(*) FROM temper.artifact) AS artifacts,
            (SELECT count(*) FROM temper.job_summary) AS summaries,
            (SELECT count(*) FROM temper.worker) AS workers,
            (SELECT count(*) FROM temper.token WHERE revoked_at IS NULL) AS tokens,
            (SELECT count(*) FROM temper.audit) AS audit";
    Ok(sqlx::query_as(query).fetch_one(&store.pool).await?)
}

/// Ends every other connection of Temper's to this database, as an operator may. Says how many.
///
/// # Errors
/// When the database fails.
pub async fn backends_terminate(store: &Store) -> Result<i64, StoreError> {
    let query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND application_name = 'temper'";
    Ok(sqlx::query_scalar(query).fetch_one(&store.pool).await?)
}

/// What PostgreSQL keeps of a role's password; none without one.
///
/// # Errors
/// When the database fails, or there is no such role.
pub async fn role_password(store: &Store, role: &str) -> Result<Option<String>, StoreError> {
    let query = sqlx::query_scalar("SELECT rolpassword FROM pg_authid WHERE rolname = $1");
    Ok(query.bind(role).fetch_one(&store.pool).await?)
}

/// Keeps everybody else from reading or writing leases until it is dropped, as a database does that hangs.
///
/// # Errors
/// When the database fails.
pub async fn lock(store: &Store) -> Result<impl Send + use<>, StoreError> {
    let mut tx = store.begin().await?;
    sqlx::raw_sql("LOCK TABLE temper.lease IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await?;
    Ok(tx)
}
