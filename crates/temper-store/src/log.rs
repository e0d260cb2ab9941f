//! What the workers of attempts logged: of each attempt the newest lines.

use chrono::{DateTime, Utc};
use temper_core::{
    job::{JobKind, JobState},
    report::LogLevel,
};

use crate::{
    JobId, LeaseRef, Store, StoreError,
    lease::lease_hold,
    value::{column, named, stored, text},
};

/// Lines of an attempt that are kept: the newest, because they tell how it ended.
pub const MAX_LOG_LINES: u32 = 10_000;

/// Characters of a line's message that are kept.
pub const MAX_LOG_MESSAGE: usize = 2000;

/// A line that an attempt's worker logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Counts from 1 within the attempt, lines that are not kept included.
    pub number: u32,
    /// When, by the worker's clock.
    pub at: DateTime<Utc>,
    /// How much it matters.
    pub level: LogLevel,
    /// The part of the worker that it comes from.
    pub target: String,
    /// What it says.
    pub message: String,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogQuery {
    /// The job.
    pub job: JobId,
    /// Number of the attempt.
    pub attempt: u32,
    /// Only lines after this one; 0: from the first.
    pub after: u32,
    /// At most so many.
    pub limit: u32,
}

/// Some of an attempt's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The lines, ascending.
    pub lines: Vec<LogLine>,
    /// Lines of the attempt that were logged and are not kept.
    pub dropped: u32,
    /// The attempt had ended before the lines were read: there will be no others.
    pub ended: bool,
}

impl Store {
    /// Stores lines, which must ascend by their numbers. Lines that are there already stay as they
    /// are, so that repeating lines changes nothing. Beyond [`MAX_LOG_LINES`] the oldest go.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job.
    pub async fn logs_report(&self, lease: &LeaseRef, lines: &[LogLine]) -> Result<(), StoreError> {
        let columns = LineColumns::of(lines)?;
        let mut tx = self.begin().await?;
        lease_hold(&mut tx, lease).await?;
        let told = sqlx::query!(
            "UPDATE temper.attempt SET log_lines = greatest(log_lines, $3)
            WHERE job_id = $1 AND fence = $2 RETURNING number, log_lines",
            lease.job.0,
            lease.fence,
            columns.numbers.last().copied().unwrap_or(0),
        )
        .fetch_one(&mut *tx)
        .await?;
        let kept: i32 = column(MAX_LOG_LINES, "the count of lines")?;
        let before = told.log_lines.saturating_sub(kept);
        sqlx::query!(
            "INSERT INTO temper.attempt_log
                (job_id, attempt, line, logged_at, level, target, message)
            SELECT $1, $2, row.* FROM unnest($4::int[], $5::timestamptz[], $6::text[], $7::text[],
                $8::text[]) AS row (line, logged_at, level, target, message)
            WHERE row.line > $3
            ON CONFLICT (job_id, attempt, line) DO NOTHING",
            lease.job.0,
            told.number,
            before,
            &columns.numbers,
            &columns.times,
            &columns.levels,
            &columns.targets,
            &columns.messages,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "DELETE FROM temper.attempt_log WHERE job_id = $1 AND attempt = $2 AND line <= $3",
            lease.job.0,
            told.number,
            before,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Some of an attempt's lines.
    ///
    /// # Errors
    /// `NotFound` without such an attempt.
    pub async fn logs_read(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        let (job, attempt): (i64, i32) = (query.job.0, column(query.attempt, "the attempt")?);
        let after: i32 = column(query.after, "the line")?;
        // Before the lines: those of an attempt that has ended are all there.
        let state = sqlx::query!(
            r#"SELECT ended_at IS NOT NULL AS "ended!", log_lines - (
                SELECT count(*) FROM temper.attempt_log AS line
                WHERE line.job_id = $1 AND line.attempt = $2
            ) AS "dropped!"
            FROM temper.attempt WHERE job_id = $1 AND number = $2"#,
            job,
            attempt,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| {
            let id = format!("{attempt} at job {job}");
            StoreError::not_found("attempt", &id)
        })?;
        let rows = sqlx::query!(
            "SELECT line, logged_at, level, target, message FROM temper.attempt_log
            WHERE job_id = $1 AND attempt = $2 AND line > $3 ORDER BY line LIMIT $4",
            job,
            attempt,
            after,
            i64::from(query.limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let lines = rows.into_iter().map(|row| {
            Ok(LogLine {
                number: stored(row.line, "line's number")?,
                at: row.logged_at,
                level: named(LogLevel::from_name, &row.level, "level")?,
                target: row.target,
                message: row.message,
            })
        });
        Ok(LogPage {
            lines: lines.collect::<Result<_, StoreError>>()?,
            dropped: stored(state.dropped, "count of lines")?,
            ended: state.ended,
        })
    }

    /// Number of a job's newest attempt.
    ///
    /// # Errors
    /// `NotFound` without such a job, `NoResult` when it has not been tried.
    pub async fn attempt_newest(&self, job: JobId) -> Result<u32, StoreError> {
        let row = sqlx::query!(
            "SELECT kind, state, attempts FROM temper.job WHERE id = $1",
            job.0
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| StoreError::not_found("job", &job))?;
        if row.attempts == 0 {
            return Err(StoreError::NoResult {
                job,
                kind: named(JobKind::from_name, &row.kind, "job kind")?,
                state: named(JobState::from_name, &row.state, "job state")?,
                what: "attempt yet",
            });
        }
        stored(row.attempts, "attempt number")
    }
}

/// Lines as columns, which is how one statement takes any number of them.
#[derive(Default)]
struct LineColumns {
    numbers: Vec<i32>,
    times: Vec<DateTime<Utc>>,
    levels: Vec<String>,
    targets: Vec<String>,
    messages: Vec<String>,
}

impl LineColumns {
    fn of(lines: &[LogLine]) -> Result<Self, StoreError> {
        let mut columns = Self::default();
        for line in lines {
            columns
                .numbers
                .push(column(line.number, "the line's number")?);
            columns.times.push(line.at);
            columns.levels.push(line.level.as_str().to_owned());
            columns.targets.push(kept(&line.target));
            columns.messages.push(kept(&line.message));
        }
        Ok(columns)
    }
}

/// As much of a text as is kept.
fn kept(whole: &str) -> String {
    let characters = whole.chars().take(MAX_LOG_MESSAGE);
    text(&characters.collect::<String>())
}
