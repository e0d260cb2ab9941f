//! What benchmarks ask of their database: how durable it is, what was written to it, a
//! history, and copies of the tables for `pgbench` to write to.

mod history;
mod results;

use sqlx::{AssertSqlSafe, FromRow};

use crate::{Store, StoreError};

pub use history::{history_insert, history_sweeps};
pub use results::results_insert;

/// A cell for `pgbench`: a training and its evaluation, as the store writes them, on what
/// [`tables_copy`] made. It takes the variables `first_training`, `first_evaluation`, `clients` and
/// `next`, the first place that has not been taken; client 3 of 64 takes the places 3, 67, 131.
pub const CELL: &str = include_str!("bench/cell.sql");

/// Tables and their rows of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// Temper's own.
    Temper,
    /// The copies.
    Copies,
}

/// What was accepted of jobs that are no history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Accepted {
    /// Jobs that have succeeded.
    pub jobs: i64,
    /// Attempts that have.
    pub attempts: i64,
    /// Rows of summaries.
    pub summaries: i64,
    /// Epochs of trainings.
    pub epochs: i64,
    /// Models of trainings.
    pub artifacts: i64,
    /// Points of evaluations.
    pub points: i64,
    /// Leases that are left.
    pub leases: i64,
}

/// What was written to Temper's tables since the cluster was made, as far as its processes have told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Written {
    /// Rows of `job_summary`: one a job that has succeeded.
    pub summaries: i64,
    /// Versions of rows that were left behind by updates and deletions.
    pub superseded: i64,
    /// Of them those left on the page of their successor, with no new entry in any index.
    pub hot: i64,
    /// Versions that nobody sees any more and that nothing has cleared away yet.
    pub dead: i64,
}

/// Bytes on disk of Temper's tables, with their indexes; logs of attempts are not among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Sizes {
    /// Of the table of epochs.
    pub epochs: i64,
    /// Of that of points.
    pub points: i64,
    /// Of all others.
    pub others: i64,
}

/// The copies of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Copied {
    /// Trainings, and as many evaluations; both are numbered without a gap.
    pub cells: i64,
    /// Number of the first training.
    pub first_training: i64,
    /// Number of the first evaluation.
    pub first_evaluation: i64,
}

/// The settings by which a commit is durable, and what each stands at.
///
/// # Errors
/// When the database fails.
pub async fn durability(store: &Store) -> Result<Vec<(String, String)>, StoreError> {
    let query = "SELECT name, setting FROM pg_settings
        WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') ORDER BY name";
    Ok(sqlx::query_as(query).fetch_all(&store.pool).await?)
}

/// Writes everything to disk, so that what is measured next does not pay for what came before.
///
/// # Errors
/// When the database fails.
pub async fn checkpoint(store: &Store) -> Result<(), StoreError> {
    sqlx::raw_sql("CHECKPOINT").execute(&store.pool).await?;
    Ok(())
}

/// Clears away what is dead and counts what is there, as autovacuum would in its time.
///
/// # Errors
/// When the database fails.
pub async fn vacuum(store: &Store) -> Result<(), StoreError> {
    sqlx::raw_sql("VACUUM (ANALYZE)")
        .execute(&store.pool)
        .await?;
    Ok(())
}

/// Bytes of write-ahead log since the cluster was made.
///
/// # Errors
/// When the database fails.
pub async fn wal_bytes(store: &Store) -> Result<i64, StoreError> {
    let query = "SELECT (pg_current_wal_lsn() - '0/0')::bigint";
    Ok(sqlx::query_scalar(query).fetch_one(&store.pool).await?)
}

/// What was written to Temper's tables. Processes that are idle tell with a delay of seconds.
///
/// # Errors
/// When the database fails.
pub async fn written(store: &Store) -> Result<Written, StoreError> {
    let query =
        "SELECT coalesce(sum(n_tup_ins) FILTER (WHERE relname = 'job_summary'), 0)::bigint AS summaries,
            sum(n_tup_upd + n_tup_del)::bigint AS superseded, sum(n_tup_hot_upd)::bigint AS hot,
            sum(n_dead_tup)::bigint AS dead
        FROM pg_stat_user_tables WHERE schemaname = 'temper'";
    Ok(sqlx::query_as(query).fetch_one(&store.pool).await?)
}

/// How large the tables are.
///
/// # Errors
/// When the database fails.
pub async fn sizes(store: &Store) -> Result<Sizes, StoreError> {
    let query =
        "SELECT coalesce(sum(bytes) FILTER (WHERE relname = 'epoch_metric'), 0)::bigint AS epochs,
            coalesce(sum(bytes) FILTER (WHERE relname = 'evaluation'), 0)::bigint AS points,
            coalesce(sum(bytes) FILTER (
                WHERE relname NOT IN ('epoch_metric', 'evaluation', 'attempt_log')
            ), 0)::bigint AS others
        FROM (
            SELECT relname, pg_total_relation_size(relid) AS bytes
            FROM pg_stat_user_tables WHERE schemaname = 'temper'
        ) AS relation";
    Ok(sqlx::query_as(query).fetch_one(&store.pool).await?)
}

/// What was accepted.
///
/// # Errors
/// When the database fails.
pub async fn accepted(store: &Store, tables: Tables) -> Result<Accepted, StoreError> {
    let schema = match tables {
        Tables::Temper => "temper",
        Tables::Copies => "bench",
    };
    // History has numbers below 0.
    let query = format!(
        "SELECT (SELECT count(*) FROM {schema}.job WHERE state = 'succeeded' AND id > 0) AS jobs,
            (SELECT count(*) FROM {schema}.attempt
            WHERE outcome = 'succeeded' AND job_id > 0) AS attempts,
            (SELECT count(*) FROM {schema}.job_summary WHERE job_id > 0) AS summaries,
            (SELECT count(*) FROM {schema}.epoch_metric WHERE job_id > 0) AS epochs,
            (SELECT count(*) FROM {schema}.artifact WHERE job_id > 0) AS artifacts,
            (SELECT count(*) FROM {schema}.evaluation WHERE job_id > 0) AS points,
            (SELECT count(*) FROM {schema}.lease) AS leases"
    );
    // The names are ours and need no quotes.
    let query = sqlx::query_as(AssertSqlSafe(query));
    Ok(query.fetch_one(&store.pool).await?)
}

/// Jobs that wait or are held.
///
/// # Errors
/// When the database fails.
pub async fn queued(store: &Store) -> Result<i64, StoreError> {
    let query = "SELECT count(*) FROM temper.job WHERE state IN ('queued', 'leased')";
    Ok(sqlx::query_scalar(query).fetch_one(&store.pool).await?)
}

/// Copies the tables that a job is written to, in the schema `bench`: columns, defaults, checks,
/// indexes and storage are the same, and the queue is in them. Foreign keys are not copied, and
/// neither is the trigger that notes the transaction: statements in its place set the column.
///
/// # Errors
/// When the database fails, or the queue is not one new sweep with an evaluation a cell.
pub async fn tables_copy(store: &Store) -> Result<Copied, StoreError> {
    let mut tx = store.begin().await?;
    sqlx::raw_sql(COPY).execute(&mut *tx).await?;
    let copied: Option<Copied> = sqlx::query_as(COPIED).fetch_optional(&mut *tx).await?;
    tx.commit().await?;
    copied.ok_or_else(|| StoreError::corrupt("queue", "its numbers have gaps"))
}

const COPY: &str = "CREATE SCHEMA bench;
    DO $$
    DECLARE original record;
    BEGIN
        FOR original IN
            SELECT relname, reloptions FROM pg_class
            WHERE relnamespace = 'temper'::regnamespace AND relname IN ('job', 'attempt', 'lease',
                'epoch_metric', 'evaluation', 'artifact', 'job_summary')
        LOOP
            EXECUTE format('CREATE TABLE bench.%1$I (LIKE temper.%1$I INCLUDING ALL)%2$s',
                original.relname, ' WITH (' || array_to_string(original.reloptions, ', ') || ')');
        END LOOP;
    END
    $$;
    INSERT INTO bench.job OVERRIDING SYSTEM VALUE
    SELECT * FROM temper.job WHERE state = 'queued' ORDER BY id;";

const COPIED: &str = "SELECT training.jobs AS cells, training.first AS first_training,
        evaluation.first AS first_evaluation
    FROM (
        SELECT count(*) AS jobs, min(id) AS first, max(id) AS last FROM bench.job WHERE kind = 'train'
    ) AS training, (
        SELECT count(*) AS jobs, min(id) AS first, max(id) AS last
        FROM bench.job WHERE kind = 'evaluate'
    ) AS evaluation
    WHERE training.jobs = evaluation.jobs
        AND training.last - training.first = training.jobs - 1
        AND evaluation.last - evaluation.first = evaluation.jobs - 1";
