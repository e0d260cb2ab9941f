//! Curves: what evaluations measured, by job and by sweep.

mod cells;

use sqlx::types::Json;
use temper_core::{
    attack::Attack,
    curve::Point,
    report::{Audit, MaskingFlag},
    spec::{CurveMode, JobSpec, Selection},
};

pub use cells::{CellCurve, CurveFilter, CurvePage, CurvePlace, CurvesQuery};

use crate::{
    JobId, Store, StoreError,
    artifact::no_result,
    value::{PointColumns, named, stored},
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
