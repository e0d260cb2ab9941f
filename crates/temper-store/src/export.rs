//! What is exported of a sweep, row by row as it comes from the database: an export of any length takes
//! the memory of a few rows.

mod jobs;
mod provenance;

use futures::{StreamExt as _, stream::BoxStream};
use temper_core::{Epsilon, curve::Point};
use uuid::Uuid;

pub use self::{
    jobs::{ExportedJob, JobFigures},
    provenance::{Provenance, Ran},
};
use crate::{
    JobId, Store, StoreError,
    value::{epsilon, stored},
};

/// Rows as they come.
pub type Exported<'a, T> = BoxStream<'a, Result<T, StoreError>>;

/// A cell of a sweep, by its place on the axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellAxes {
    /// Place in the sweep, from 0.
    pub cell: u32,
    /// Catalog name of the model.
    pub model: String,
    /// Catalog name of the dataset.
    pub dataset: String,
    /// Schedule, for instance `two-hinge`.
    pub schedule: String,
    /// Target strength.
    pub target: Epsilon,
    /// Index into the sweep's hyper-parameters.
    pub hyperparameters: u32,
    /// Seed.
    pub seed: u64,
}

/// An epoch of a cell's training; of a training that cells share, one a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportedEpoch {
    /// The cell.
    pub axes: CellAxes,
    /// The training.
    pub job: JobId,
    /// Which epoch, from 0.
    pub epoch: u32,
    /// Strength of the attack at the epoch's last step.
    pub epsilon: f64,
    /// Learning rate of the pretrained part then.
    pub learning_rate: f64,
    /// Mean training loss.
    pub train_loss: f64,
    /// Share of the validation split classified rightly; none for an empty split.
    pub validation_accuracy: Option<f64>,
    /// The same under attack; none where there is no attack.
    pub validation_robust_accuracy: Option<f64>,
    /// Training images a second.
    pub images_per_second: f64,
    /// Share of the time spent waiting for images.
    pub loading_share: f64,
}

/// A point of the curve of a cell's evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedPoint {
    /// The cell.
    pub axes: CellAxes,
    /// Index into the sweep's evaluations.
    pub evaluation: u32,
    /// The evaluation.
    pub job: JobId,
    /// What was counted.
    pub point: Point,
}

/// A cell's columns.
pub(crate) struct AxesColumns {
    pub(crate) cell: i32,
    pub(crate) model: String,
    pub(crate) dataset: String,
    pub(crate) schedule: String,
    pub(crate) target: (i32, i32),
    pub(crate) hyperparameters: i32,
    pub(crate) seed: i64,
}

impl AxesColumns {
    pub(crate) fn into_axes(self) -> Result<CellAxes, StoreError> {
        Ok(CellAxes {
            cell: stored(self.cell, "ordinal")?,
            model: self.model,
            dataset: self.dataset,
            schedule: self.schedule,
            target: epsilon(self.target.0, self.target.1, "target")?,
            hyperparameters: stored(self.hyperparameters, "hyper-parameters")?,
            seed: stored(self.seed, "seed")?,
        })
    }
}

impl Store {
    /// The epochs of a sweep's cells, in the order of the cells.
    #[must_use]
    pub fn epochs_export(&self, sweep: Uuid) -> Exported<'_, ExportedEpoch> {
        // By its own subquery each training is read by its key, in order: nothing is sorted as a whole.
        let rows = sqlx::query!(
            "SELECT cell.ordinal, cell.model, cell.dataset, cell.schedule, cell.target_num,
                cell.target_den, cell.hyperparameters, cell.seed, cell.train_job, metric.epoch,
                metric.epsilon, metric.learning_rate, metric.train_loss, metric.validation_accuracy,
                metric.validation_robust_accuracy, metric.images_per_second, metric.loading_share
            FROM temper.sweep_cell AS cell
            CROSS JOIN LATERAL (
                SELECT * FROM temper.epoch_metric WHERE epoch_metric.job_id = cell.train_job
                ORDER BY epoch_metric.epoch OFFSET 0
            ) AS metric
            WHERE cell.sweep_id = $1 ORDER BY cell.ordinal, metric.epoch",
            sweep,
        )
        .fetch(&self.pool);
        rows.map(|row| {
            let row = row?;
            let axes = AxesColumns {
                cell: row.ordinal,
                model: row.model,
                dataset: row.dataset,
                schedule: row.schedule,
                target: (row.target_num, row.target_den),
                hyperparameters: row.hyperparameters,
                seed: row.seed,
            };
            Ok(ExportedEpoch {
                axes: axes.into_axes()?,
                job: JobId(row.train_job),
                epoch: stored(row.epoch, "epoch")?,
                epsilon: row.epsilon,
                learning_rate: row.learning_rate,
                train_loss: row.train_loss,
                validation_accuracy: row.validation_accuracy,
                validation_robust_accuracy: row.validation_robust_accuracy,
                images_per_second: row.images_per_second,
                loading_share: row.loading_share,
            })
        })
        .boxed()
    }

    /// The points of the evaluations of a sweep's cells, in the order of the cells.
    #[must_use]
    pub fn points_export(&self, sweep: Uuid) -> Exported<'_, ExportedPoint> {
        let rows = sqlx::query!(
            "SELECT cell.ordinal, cell.model, cell.dataset, cell.schedule, cell.target_num,
                cell.target_den, cell.hyperparameters, cell.seed, evaluation.evaluation,
                evaluation.job_id, point.epsilon_num, point.epsilon_den, point.correct, point.samples
            FROM temper.sweep_cell AS cell
            JOIN temper.cell_evaluation AS evaluation
                ON evaluation.sweep_id = cell.sweep_id AND evaluation.cell = cell.ordinal
            CROSS JOIN LATERAL (
                SELECT * FROM temper.evaluation AS measured WHERE measured.job_id = evaluation.job_id
                ORDER BY measured.ordinal OFFSET 0
            ) AS point
            WHERE cell.sweep_id = $1
            ORDER BY cell.ordinal, evaluation.evaluation, point.ordinal",
            sweep,
        )
        .fetch(&self.pool);
        rows.map(|row| {
            let row = row?;
            let axes = AxesColumns {
                cell: row.ordinal,
                model: row.model,
                dataset: row.dataset,
                schedule: row.schedule,
                target: (row.target_num, row.target_den),
                hyperparameters: row.hyperparameters,
                seed: row.seed,
            };
            Ok(ExportedPoint {
                axes: axes.into_axes()?,
                evaluation: stored(row.evaluation, "evaluation")?,
                job: JobId(row.job_id),
                point: Point {
                    epsilon: epsilon(row.epsilon_num, row.epsilon_den, "epsilon")?,
                    correct: stored(row.correct, "count")?,
                    samples: stored(row.samples, "count")?,
                },
            })
        })
        .boxed()
    }
}
