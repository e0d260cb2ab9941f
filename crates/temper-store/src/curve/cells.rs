//! The evaluations of a sweep's cells.

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use temper_core::{
    Epsilon,
    attack::Attack,
    curve::Point,
    job::JobState,
    rules::CellMatch,
    spec::{CurveMode, Selection},
};
use uuid::Uuid;

use super::{CurveFacts, Summary};
use crate::{
    JobId, Store, StoreError,
    value::{PointColumns, column, epsilon, named, stored},
};

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
    /// Where it stands.
    pub state: JobState,
    /// The training's job.
    pub train_job: JobId,
    /// Epochs that the training has.
    pub epochs: u32,
    /// How it is measured.
    pub facts: CurveFacts,
    /// What it measured, ascending from epsilon 0; none before it has succeeded.
    pub points: Option<Vec<Point>>,
}

/// Which evaluations of a sweep's cells are wanted: those to which all applies that is said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CurveFilter {
    /// The cells.
    pub cells: CellMatch,
    /// Indices into the sweep's evaluations; none named: all.
    pub evaluations: Vec<u32>,
    /// Only such as have a result.
    pub measured_only: bool,
}

/// A place in the list of a sweep's evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CurvePlace {
    /// Place of the cell in the sweep.
    pub cell: u32,
    /// Index into the sweep's evaluations.
    pub evaluation: u32,
}

/// Which page of a sweep's evaluations is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct CurvesQuery<'a> {
    /// The sweep.
    pub sweep: Uuid,
    /// Only these.
    pub filter: &'a CurveFilter,
    /// Only those behind this place ([`CurvePage::next`] of the page before).
    pub after: Option<CurvePlace>,
    /// At most so many.
    pub limit: u32,
}

/// A page of a sweep's evaluations.
#[derive(Debug, Clone, PartialEq)]
pub struct CurvePage {
    /// The evaluations, in the order of the sweep's cells.
    pub curves: Vec<CellCurve>,
    /// What the next page comes after; none on the last.
    pub next: Option<CurvePlace>,
}

impl Store {
    /// The evaluations of a sweep's cells that the filter lets through, in the order of the cells.
    /// What the filter names must be on the sweep's axes; what is not there lets nothing through.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn sweep_curves(
        &self,
        sweep: Uuid,
        filter: &CurveFilter,
    ) -> Result<Vec<CellCurve>, StoreError> {
        self.sweep_exists(sweep).await?;
        cells_read(self, sweep, filter, (None, None)).await
    }

    /// A page of a sweep's evaluations.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn curve_list(&self, query: CurvesQuery<'_>) -> Result<CurvePage, StoreError> {
        self.sweep_exists(query.sweep).await?;
        // One more than asked for tells whether another page follows.
        let limit = i64::from(query.limit) + 1;
        let range = (query.after, Some(limit));
        let mut curves = cells_read(self, query.sweep, query.filter, range).await?;
        let more = curves.len() > query.limit as usize;
        curves.truncate(query.limit as usize);
        let last = curves.last().filter(|_| more);
        let next = last.map(|last| CurvePlace {
            cell: last.cell,
            evaluation: last.evaluation,
        });
        Ok(CurvePage { curves, next })
    }
}

/// A filter as the columns of a statement.
struct FilterColumns {
    schedules: Vec<String>,
    target_nums: Vec<i32>,
    target_dens: Vec<i32>,
    seeds: Vec<i64>,
    hyperparameters: Vec<i32>,
    evaluations: Vec<i32>,
}

impl FilterColumns {
    fn of(filter: &CurveFilter) -> Result<Self, StoreError> {
        let cells = &filter.cells;
        let targets = || cells.target_epsilons.iter();
        let nums = targets().map(|target| column(target.numerator(), "the target"));
        let dens = targets().map(|target| column(target.denominator(), "the target"));
        let seeds = cells.seeds.iter().map(|seed| column(*seed, "the seed"));
        let settings = cells.hyperparameters.iter();
        let settings = settings.map(|index| column(*index, "the index"));
        let evaluations = filter.evaluations.iter();
        let evaluations = evaluations.map(|index| column(*index, "the index"));
        Ok(Self {
            schedules: cells.schedules.iter().map(ToString::to_string).collect(),
            target_nums: nums.collect::<Result<_, _>>()?,
            target_dens: dens.collect::<Result<_, _>>()?,
            seeds: seeds.collect::<Result<_, _>>()?,
            hyperparameters: settings.collect::<Result<_, _>>()?,
            evaluations: evaluations.collect::<Result<_, _>>()?,
        })
    }
}

/// Evaluations behind a place, at most so many.
async fn cells_read(
    store: &Store,
    sweep: Uuid,
    filter: &CurveFilter,
    (after, limit): (Option<CurvePlace>, Option<i64>),
) -> Result<Vec<CellCurve>, StoreError> {
    let columns = FilterColumns::of(filter)?;
    let after_cell: Option<i32> = after
        .map(|after| column(after.cell, "the page's start"))
        .transpose()?;
    let after_evaluation: Option<i32> = after
        .map(|after| column(after.evaluation, "the page's start"))
        .transpose()?;
    let records = sqlx::query_file_as!(
        CellRecord,
        "src/curve/cells.sql",
        sweep,
        &filter.cells.models,
        &filter.cells.datasets,
        &columns.schedules,
        &columns.target_nums,
        &columns.target_dens,
        &columns.seeds,
        &columns.hyperparameters,
        &columns.evaluations,
        filter.measured_only,
        after_cell,
        after_evaluation,
        limit,
    )
    .fetch_all(&store.pool)
    .await?;
    records.into_iter().map(CellRecord::into_curve).collect()
}

struct CellRecord {
    ordinal: i32,
    model: String,
    dataset: String,
    schedule: String,
    target_num: i32,
    target_den: i32,
    seed: i64,
    hyperparameters: i32,
    evaluation: i32,
    job_id: i64,
    state: String,
    train_job: i64,
    epochs: i32,
    numerators: Option<Vec<i32>>,
    denominators: Option<Vec<i32>>,
    correct: Option<Vec<i32>>,
    samples: Option<Vec<i32>>,
    mode: Json<CurveMode>,
    attacks: Json<Vec<Attack>>,
    selection: Json<Selection>,
    measuring_seed: Json<u64>,
    audit_samples: Option<i32>,
    audit_gap: Option<f64>,
    masking_flags: Option<Vec<String>>,
    passes: Option<i64>,
}

impl CellRecord {
    fn into_curve(self) -> Result<CellCurve, StoreError> {
        let points = self.numerators.map(|numerators| {
            PointColumns {
                numerators,
                denominators: self.denominators.unwrap_or_default(),
                correct: self.correct.unwrap_or_default(),
                samples: self.samples.unwrap_or_default(),
            }
            .into_points()
        });
        let summary = Summary {
            audit_samples: self.audit_samples,
            audit_gap: self.audit_gap,
            masking_flags: self.masking_flags,
            passes: self.passes,
        };
        let facts = CurveFacts {
            mode: self.mode.0,
            attacks: self.attacks.0,
            model: self.selection.0,
            seed: self.measuring_seed.0,
            audit: summary.audit()?,
            flags: summary.flags()?,
            passes: summary.passes()?,
        };
        Ok(CellCurve {
            cell: stored(self.ordinal, "ordinal")?,
            model: self.model,
            dataset: self.dataset,
            schedule: self.schedule,
            target: epsilon(self.target_num, self.target_den, "target")?,
            seed: stored(self.seed, "seed")?,
            hyperparameters: stored(self.hyperparameters, "hyper-parameters")?,
            evaluation: stored(self.evaluation, "evaluation")?,
            job: JobId(self.job_id),
            state: named(JobState::from_name, &self.state, "job state")?,
            train_job: JobId(self.train_job),
            epochs: stored(self.epochs, "epochs")?,
            facts,
            points: points.transpose()?,
        })
    }
}
