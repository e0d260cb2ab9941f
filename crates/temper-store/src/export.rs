//! What is exported of a sweep, some cells at a time: an export of any length takes the memory of a few
//! rows, and keeps no statement open while its client takes them.

mod jobs;
mod provenance;

use std::ops::Range;

use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use temper_core::{Epsilon, curve::Point};
use uuid::Uuid;

pub use self::{
    jobs::{ExportedJob, JobFigures},
    provenance::{Provenance, Ran},
};
use crate::{
    CellCurve, CurveFilter, CurvesQuery, JobId, Store, StoreError,
    value::{epsilon, stored},
};

/// Cells whose rows are read at once.
const CELLS: i32 = 200;

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
        self.by_cells(sweep, move |cells| self.epochs_read(sweep, cells))
    }

    async fn epochs_read(
        &self,
        sweep: Uuid,
        cells: Range<i32>,
    ) -> Result<Vec<ExportedEpoch>, StoreError> {
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
            WHERE cell.sweep_id = $1 AND cell.ordinal >= $2 AND cell.ordinal < $3 ORDER BY cell.ordinal, metric.epoch",
            sweep,
            cells.start,
            cells.end,
        )
        .fetch_all(&self.pool)
        .await?;
        let rows = rows.into_iter().map(|row| {
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
        });
        rows.collect()
    }

    /// The points of the evaluations of a sweep's cells, in the order of the cells.
    #[must_use]
    pub fn points_export(&self, sweep: Uuid) -> Exported<'_, ExportedPoint> {
        self.by_cells(sweep, move |cells| self.points_read(sweep, cells))
    }

    async fn points_read(
        &self,
        sweep: Uuid,
        cells: Range<i32>,
    ) -> Result<Vec<ExportedPoint>, StoreError> {
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
            WHERE cell.sweep_id = $1 AND cell.ordinal >= $2 AND cell.ordinal < $3
            ORDER BY cell.ordinal, evaluation.evaluation, point.ordinal",
            sweep,
            cells.start,
            cells.end,
        )
        .fetch_all(&self.pool)
        .await?;
        let rows = rows.into_iter().map(|row| {
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
        });
        rows.collect()
    }

    /// The evaluations of a sweep's cells, measured or not, in the order of the cells.
    #[must_use]
    pub fn curves_export(&self, sweep: Uuid) -> Exported<'_, CellCurve> {
        let pages = stream::try_unfold(Some(None), move |after| async move {
            let Some(after) = after else {
                return Ok::<_, StoreError>(None);
            };
            let query = CurvesQuery {
                sweep,
                filter: &CurveFilter::default(),
                after,
                limit: CELLS.unsigned_abs(),
            };
            let page = self.curve_list(query).await?;
            Ok(Some((rows(page.curves), page.next.map(Some))))
        });
        pages.try_flatten().boxed()
    }

    /// The rows of all cells of a sweep, by what reads those of some.
    fn by_cells<'a, T, F>(
        &'a self,
        sweep: Uuid,
        read: impl Fn(Range<i32>) -> F + Copy + Send + 'a,
    ) -> Exported<'a, T>
    where
        T: Send + 'a,
        F: Future<Output = Result<Vec<T>, StoreError>> + Send + 'a,
    {
        let count = async move {
            let query = sqlx::query_scalar!(
                r#"SELECT coalesce(max(ordinal) + 1, 0) AS "cells!"
                FROM temper.sweep_cell WHERE sweep_id = $1"#,
                sweep,
            );
            Ok::<_, StoreError>(query.fetch_one(&self.pool).await?)
        };
        let pages = move |count| {
            let starts = stream::iter((0..count).step_by(CELLS.unsigned_abs() as usize));
            let pages = starts.then(move |start| read(start..start.saturating_add(CELLS)));
            pages.map_ok(rows).try_flatten()
        };
        stream::once(count).map_ok(pages).try_flatten().boxed()
    }
}

fn rows<T>(rows: Vec<T>) -> impl futures::Stream<Item = Result<T, StoreError>> {
    stream::iter(rows.into_iter().map(Ok))
}
