use std::{collections::HashSet, future, ops::Range};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use temper_core::{
    Digest,
    job::{JobKind, JobState},
};
use uuid::Uuid;

use super::{AxesColumns, CellAxes, Exported};
use crate::{
    JobId, Store, StoreError,
    value::{digest, named, stored},
};

/// A job of a sweep with its summary; a job that several cells share comes once, with the first.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportedJob {
    /// The first cell that it is of.
    pub axes: CellAxes,
    /// Index into the sweep's evaluations; none of a training.
    pub evaluation: Option<u32>,
    /// The job.
    pub job: JobId,
    /// The cell's training.
    pub train_job: JobId,
    /// Content-addressed key.
    pub key: Digest,
    /// What it is.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// Why it failed or was cancelled; else empty.
    pub message: String,
    /// Result version that it yields.
    pub result_version: u32,
    /// Number format that it computes in.
    pub precision: String,
    /// Epochs in all; 0 of an evaluation.
    pub epochs: u32,
    /// Epochs done.
    pub epochs_done: u32,
    /// Attempts made.
    pub attempts: u32,
    /// Worker of the last attempt.
    pub worker: Option<String>,
    /// Device of the last attempt.
    pub device: Option<String>,
    /// When a sweep first asked for it.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What it yielded, of a job that has succeeded.
    pub summary: Option<JobFigures>,
}

/// The row that Complete writes.
#[derive(Debug, Clone, PartialEq)]
pub struct JobFigures {
    /// Training loss of the last epoch.
    pub train_loss: Option<f64>,
    /// Validation accuracy of the last epoch.
    pub validation_accuracy: Option<f64>,
    /// The same under attack.
    pub validation_robust_accuracy: Option<f64>,
    /// The best epoch, from 0.
    pub best_epoch: Option<u32>,
    /// Samples a forward pass at the end.
    pub micro_batch_size: Option<u32>,
    /// Accuracy without a perturbation.
    pub clean_accuracy: Option<f64>,
    /// Accuracy at the grid's end.
    pub robust_accuracy: Option<f64>,
    /// Normalised area under the curve.
    pub expected_robustness: Option<f64>,
    /// The most memory of the device that was used, in bytes.
    pub peak_memory_bytes: Option<i64>,
    /// Device-seconds of all attempts.
    pub device_seconds: f64,
}

impl Store {
    /// The jobs of a sweep, in the order of its cells, a training before its evaluations.
    #[must_use]
    pub fn jobs_export(&self, sweep: Uuid) -> Exported<'_, ExportedJob> {
        // Which jobs came is kept: nothing in the database leads from a job to its first cell. It is a few
        // bytes a job, of at most a million.
        let mut seen = HashSet::new();
        let of_cells = self.by_cells(sweep, move |cells| self.jobs_read(sweep, cells));
        let first = of_cells.try_filter(move |job| future::ready(seen.insert(job.job)));
        first.boxed()
    }

    async fn jobs_read(
        &self,
        sweep: Uuid,
        cells: Range<i32>,
    ) -> Result<Vec<ExportedJob>, StoreError> {
        let rows = sqlx::query_as!(
            JobRecord,
            r#"WITH wish AS (
                SELECT train_job AS job_id, ordinal AS cell, NULL::int AS evaluation
                FROM temper.sweep_cell WHERE sweep_id = $1 AND ordinal >= $2 AND ordinal < $3
                UNION ALL
                SELECT job_id, cell, evaluation
                FROM temper.cell_evaluation WHERE sweep_id = $1 AND cell >= $2 AND cell < $3
            )
            SELECT cell.ordinal, cell.model, cell.dataset, cell.schedule, cell.target_num,
                cell.target_den, cell.hyperparameters, cell.seed, cell.train_job,
                wish.evaluation AS "evaluation?", job.id, job.key, job.kind, job.state, job.message,
                job.result_version, job.precision, job.epochs, job.epochs_done, job.attempts,
                job.created_at, job.finished_at, last.worker AS "worker?", last.device AS "device?",
                summary.train_loss AS "train_loss?",
                summary.validation_accuracy AS "validation_accuracy?",
                summary.validation_robust_accuracy AS "validation_robust_accuracy?",
                summary.best_epoch AS "best_epoch?", summary.micro_batch_size AS "micro_batch_size?",
                summary.clean_accuracy AS "clean_accuracy?",
                summary.robust_accuracy AS "robust_accuracy?",
                summary.expected_robustness AS "expected_robustness?",
                summary.peak_memory_bytes AS "peak_memory_bytes?",
                summary.device_seconds AS "device_seconds?"
            FROM wish
            JOIN temper.sweep_cell AS cell ON cell.sweep_id = $1 AND cell.ordinal = wish.cell
            JOIN temper.job ON job.id = wish.job_id
            LEFT JOIN temper.attempt AS last ON last.job_id = job.id AND last.number = job.attempts
            LEFT JOIN temper.job_summary AS summary ON summary.job_id = job.id
            ORDER BY wish.cell, wish.evaluation NULLS FIRST"#,
            sweep,
            cells.start,
            cells.end,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(JobRecord::into_job).collect()
    }
}

struct JobRecord {
    ordinal: i32,
    model: String,
    dataset: String,
    schedule: String,
    target_num: i32,
    target_den: i32,
    hyperparameters: i32,
    seed: i64,
    train_job: i64,
    evaluation: Option<i32>,
    id: i64,
    key: Vec<u8>,
    kind: String,
    state: String,
    message: String,
    result_version: i32,
    precision: String,
    epochs: i32,
    epochs_done: i32,
    attempts: i32,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    worker: Option<String>,
    device: Option<String>,
    train_loss: Option<f64>,
    validation_accuracy: Option<f64>,
    validation_robust_accuracy: Option<f64>,
    best_epoch: Option<i32>,
    micro_batch_size: Option<i32>,
    clean_accuracy: Option<f64>,
    robust_accuracy: Option<f64>,
    expected_robustness: Option<f64>,
    peak_memory_bytes: Option<i64>,
    device_seconds: Option<f64>,
}

impl JobRecord {
    fn into_job(self) -> Result<ExportedJob, StoreError> {
        let summary = self.figures()?;
        let axes = AxesColumns {
            cell: self.ordinal,
            model: self.model,
            dataset: self.dataset,
            schedule: self.schedule,
            target: (self.target_num, self.target_den),
            hyperparameters: self.hyperparameters,
            seed: self.seed,
        };
        Ok(ExportedJob {
            axes: axes.into_axes()?,
            evaluation: count(self.evaluation)?,
            job: JobId(self.id),
            train_job: JobId(self.train_job),
            key: digest(&self.key, "key")?,
            kind: named(JobKind::from_name, &self.kind, "job kind")?,
            state: named(JobState::from_name, &self.state, "job state")?,
            message: self.message,
            result_version: stored(self.result_version, "result version")?,
            precision: self.precision,
            epochs: stored(self.epochs, "epochs")?,
            epochs_done: stored(self.epochs_done, "epochs")?,
            attempts: stored(self.attempts, "attempts")?,
            worker: self.worker,
            device: self.device,
            created_at: self.created_at,
            finished_at: self.finished_at,
            summary,
        })
    }

    /// What Complete wrote, of which device-seconds are always there.
    fn figures(&self) -> Result<Option<JobFigures>, StoreError> {
        let Some(device_seconds) = self.device_seconds else {
            return Ok(None);
        };
        Ok(Some(JobFigures {
            train_loss: self.train_loss,
            validation_accuracy: self.validation_accuracy,
            validation_robust_accuracy: self.validation_robust_accuracy,
            best_epoch: count(self.best_epoch)?,
            micro_batch_size: count(self.micro_batch_size)?,
            clean_accuracy: self.clean_accuracy,
            robust_accuracy: self.robust_accuracy,
            expected_robustness: self.expected_robustness,
            peak_memory_bytes: self.peak_memory_bytes,
            device_seconds,
        }))
    }
}

fn count(value: Option<i32>) -> Result<Option<u32>, StoreError> {
    value.map(|value| stored(value, "count")).transpose()
}
