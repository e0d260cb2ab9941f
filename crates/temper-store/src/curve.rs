//! Curves: what evaluations measured, by job and by sweep.

use sqlx::types::Json;
use temper_core::{
    Epsilon,
    attack::Attack,
    curve::Point,
    report::{Audit, MaskingFlag},
    spec::{CurveMode, JobSpec, Selection},
};
use uuid::Uuid;

use crate::{
    JobId, Store, StoreError,
    artifact::no_result,
    value::{PointColumns, epsilon, named, stored},
};

/// What one evaluation measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The evaluation.
    pub job: JobId,
    /// How it was measured.
    pub facts: CurveFacts,
    /// The points, ascending from epsilon 0.
    pub points: Vec<Point>,
}

/// How a curve is measured, and what the measurement says of itself once there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct CurveFacts {
    /// How accuracy is counted.
    pub mode: CurveMode,
    /// The attacks, one after another.
    pub attacks: Vec<Attack>,
    /// Which of the training's models is measured.
    pub model: Selection,
    /// Seed of the start noise and of the audit's draw.
    pub seed: u64,
    /// How far bisection was from exact, where that was audited.
    pub audit: Option<Audit>,
    /// Signs that the model hides its gradients.
    pub flags: Vec<MaskingFlag>,
    /// Passes of one image through the network; none when not known.
    pub passes: Option<u64>,
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
    /// How it is measured.
    pub facts: CurveFacts,
    /// What it measured, ascending from epsilon 0; none before it has succeeded.
    pub points: Option<Vec<Point>>,
}

impl Store {
    /// The curve of one evaluation.
    ///
    /// # Errors
    /// `NotFound` without such a job, `NoResult` while it has none or when it is a training.
    pub async fn curve_get(&self, job: JobId) -> Result<Curve, StoreError> {
        let row = sqlx::query!(
            r#"SELECT temper.job_spec(job) AS "spec!: Json<JobSpec>",
                array_agg(point.epsilon_num ORDER BY point.ordinal) AS "numerators!",
                array_agg(point.epsilon_den ORDER BY point.ordinal) AS "denominators!",
                array_agg(point.correct ORDER BY point.ordinal) AS "correct!",
                array_agg(point.samples ORDER BY point.ordinal) AS "samples!",
                summary.audit_samples, summary.audit_gap, summary.masking_flags, summary.passes
            FROM temper.job JOIN temper.evaluation AS point ON point.job_id = job.id
            JOIN temper.job_summary AS summary ON summary.job_id = job.id
            WHERE job.id = $1 GROUP BY job.id, summary.job_id"#,
            job.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else {
            return Err(no_result(self, job, "curve").await);
        };
        let JobSpec::Evaluate(spec) = row.spec.0 else {
            return Err(StoreError::corrupt("curve", "its job is a training"));
        };
        let columns = PointColumns {
            numerators: row.numerators,
            denominators: row.denominators,
            correct: row.correct,
            samples: row.samples,
        };
        let summary = Summary {
            audit_samples: row.audit_samples,
            audit_gap: row.audit_gap,
            masking_flags: Some(row.masking_flags),
            passes: row.passes,
        };
        let facts = CurveFacts {
            mode: spec.mode,
            attacks: spec.attacks,
            model: spec.model,
            seed: spec.seed,
            audit: summary.audit()?,
            flags: summary.flags()?,
            passes: summary.passes()?,
        };
        Ok(Curve {
            job,
            facts,
            points: columns.into_points()?,
        })
    }

    /// Every evaluation of every cell of a sweep, in the order of its cells.
    ///
    /// # Errors
    /// `NotFound` without such a sweep.
    pub async fn sweep_curves(&self, sweep: Uuid) -> Result<Vec<CellCurve>, StoreError> {
        self.sweep_exists(sweep).await?;
        let records = sqlx::query_as!(
            CellRecord,
            r#"SELECT cell.ordinal, cell.model, cell.dataset, cell.schedule, cell.target_num,
                cell.target_den, cell.seed, cell.hyperparameters, evaluation.evaluation,
                evaluation.job_id, points.numerators, points.denominators, points.correct,
                points.samples,
                measured.spec -> 'mode' AS "mode!: Json<CurveMode>",
                measured.spec -> 'attacks' AS "attacks!: Json<Vec<Attack>>",
                measured.spec -> 'model' AS "selection!: Json<Selection>",
                measured.spec -> 'seed' AS "measuring_seed!: Json<u64>",
                summary.audit_samples AS "audit_samples?", summary.audit_gap AS "audit_gap?",
                summary.masking_flags AS "masking_flags?", summary.passes AS "passes?"
            FROM temper.sweep_cell AS cell
            JOIN temper.cell_evaluation AS evaluation
                ON evaluation.sweep_id = cell.sweep_id AND evaluation.cell = cell.ordinal
            JOIN temper.job ON job.id = evaluation.job_id
            LEFT JOIN temper.job_template AS template ON template.id = job.template_id
            CROSS JOIN LATERAL (SELECT coalesce(template.content, '{}') || job.spec AS spec) AS measured
            LEFT JOIN temper.job_summary AS summary ON summary.job_id = job.id
            CROSS JOIN LATERAL (
                SELECT array_agg(point.epsilon_num ORDER BY point.ordinal) AS numerators,
                    array_agg(point.epsilon_den ORDER BY point.ordinal) AS denominators,
                    array_agg(point.correct ORDER BY point.ordinal) AS correct,
                    array_agg(point.samples ORDER BY point.ordinal) AS samples
                FROM temper.evaluation AS point WHERE point.job_id = evaluation.job_id
            ) AS points
            WHERE cell.sweep_id = $1 ORDER BY cell.ordinal, evaluation.evaluation"#,
            sweep,
        )
        .fetch_all(&self.pool)
        .await?;
        records.into_iter().map(CellRecord::into_curve).collect()
    }
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

/// What a summary row, if there is one, says of a measurement.
struct Summary {
    audit_samples: Option<i32>,
    audit_gap: Option<f64>,
    masking_flags: Option<Vec<String>>,
    passes: Option<i64>,
}

impl Summary {
    fn audit(&self) -> Result<Option<Audit>, StoreError> {
        let Some((samples, gap)) = self.audit_samples.zip(self.audit_gap) else {
            return Ok(None);
        };
        let samples = stored(samples, "count")?;
        Ok(Some(Audit { samples, gap }))
    }

    fn flags(&self) -> Result<Vec<MaskingFlag>, StoreError> {
        let from_name = |name: &str| {
            MaskingFlag::ALL
                .into_iter()
                .find(|flag| flag.as_str() == name)
        };
        let names = self.masking_flags.iter().flatten();
        names
            .map(|name| named(from_name, name, "masking flag"))
            .collect()
    }

    fn passes(&self) -> Result<Option<u64>, StoreError> {
        self.passes
            .map(|passes| stored(passes, "count of passes"))
            .transpose()
    }
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
            facts,
            points: points.transpose()?,
        })
    }
}
