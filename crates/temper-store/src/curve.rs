use temper_core::{Epsilon, curve::Point, spec::{CurveMode, Pgd}};
use uuid::Uuid;

use crate::{JobId, Store, StoreError};

/// What one evaluation measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The evaluation.
    pub job: JobId,
    /// How accuracy is counted.
    pub mode: CurveMode,
    /// The attack.
    pub attack: Pgd,
    /// The points, ascending from epsilon 0.
    pub points: Vec<Point>,
}

/// One evaluation of one cell of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct CellCurve {
    /// Place of the cell in the sweep, from 0.
    pub cell: u32,
    /// Catalog name of the model.
    pub model: String,
    /// Catalog name of the dataset.
    pub dataset: String,
    /// Schedule, for instance `two-hinge`.
    pub schedule: String,
    /// Target strength.
    pub target: Epsilon,
    /// Seed.
    pub seed: u64,
    /// Index into the sweep's hyper-parameters.
    pub hyperparameters: u32,
    /// Index into the sweep's evaluations.
    pub evaluation: u32,
    /// The evaluation's job.
    pub job: JobId,
    /// What it measured, ascending from epsilon 0; none before it has succeeded.
    pub points: Option<Vec<Point>>,
}

impl Store {
    /// The curve of one evaluation.
    ///
    /// # Errors
    /// `NotFound` without such a job, `NoResult` while it has none or when it is a training.
    pub async fn curve_get(&self, job: JobId) -> Result<Curve, StoreError> {
        todo!()
    }

    /// Every evaluation of every cell of a sweep, in the order of its cells.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn sweep_curves(&self, sweep: Uuid) -> Result<Vec<CellCurve>, StoreError> {
        todo!()
    }
}
