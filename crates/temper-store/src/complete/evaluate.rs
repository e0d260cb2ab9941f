//! What evaluations measured.

use std::collections::{BTreeSet, HashMap};

use sqlx::types::Json;
use temper_core::{
    Epsilon,
    catalog::PinnedDataset,
    curve::{Point, expected_robustness},
    job::{JobEvent, JobKind, JobState},
    report::{Audit, MaskingFlag},
    spec::{CurveMode, JobSpec},
};

use super::{Measured, require_kind};
use crate::{
    LeaseRef, StoreError,
    attempt::memory_column,
    coalesce::Write,
    lease::Held,
    store::Tx,
    value::{PointColumns, column},
};

/// A measurement that a worker has finished.
#[derive(Debug)]
pub(crate) struct CompletedEvaluation {
    lease: LeaseRef,
    measured: Measured,
}

impl CompletedEvaluation {
    pub(super) fn new(lease: LeaseRef, measured: &Measured) -> Self {
        let measured = measured.clone();
        Self { lease, measured }
    }
}

impl Write for CompletedEvaluation {
    fn lease(&self) -> &LeaseRef {
        &self.lease
    }

    async fn store(tx: &mut Tx, completed: &[(Held, Self)]) -> Result<(), StoreError> {
        for (held, _) in completed {
            require_kind(held, JobKind::Evaluate)?;
        }
        let jobs: Vec<i64> = completed.iter().map(|(held, _)| held.job.0).collect();
        let specs = specs(tx, &jobs).await?;
        let (mut rows, mut points) = (Rows::default(), Points::default());
        for (held, Self { measured, .. }) in completed {
            require_measurement(held, specs.get(&held.job.0), measured)?;
            rows.push(held, measured)?;
            points.push(held, &measured.points)?;
        }
        sqlx::query_file!(
            "src/complete/evaluate.sql",
            &rows.jobs,
            &rows.fences,
            &rows.peaks as _,
            &rows.clean as _,
            &rows.robust as _,
            &rows.expected,
            &rows.audit_samples as _,
            &rows.audit_gaps as _,
            &rows.flags,
            &rows.passes as _,
            &points.jobs,
            &points.ordinals,
            &points.columns.numerators,
            &points.columns.denominators,
            &points.columns.correct,
            &points.columns.samples,
            JobState::Leased.after(JobEvent::Completed)?.as_str(),
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    fn repeated(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn specs(tx: &mut Tx, jobs: &[i64]) -> Result<HashMap<i64, JobSpec>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT id, temper.job_spec(job) AS "spec!: Json<JobSpec>"
        FROM temper.job WHERE id = ANY($1)"#,
        jobs,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.spec.0)).collect())
}

/// Measurements as columns.
#[derive(Default)]
struct Rows {
    jobs: Vec<i64>,
    fences: Vec<i64>,
    peaks: Vec<Option<i64>>,
    clean: Vec<Option<f64>>,
    robust: Vec<Option<f64>>,
    expected: Vec<f64>,
    audit_samples: Vec<Option<i32>>,
    audit_gaps: Vec<Option<f64>>,
    /// Joined by commas: an array of arrays would have to be a rectangle.
    flags: Vec<String>,
    passes: Vec<Option<i64>>,
}

impl Rows {
    fn push(&mut self, held: &Held, measured: &Measured) -> Result<(), StoreError> {
        let job = held.job;
        let expected = expected_robustness(&measured.points);
        let expected = expected.map_err(|source| StoreError::Curve { job, source })?;
        let audit = measured.audit;
        let audit_samples = audit.map(|audit| column(audit.samples, "the count"));
        let passes = measured.passes.filter(|passes| *passes > 0);
        let passes = passes.map(|passes| column(passes, "the count of passes"));
        let flags: BTreeSet<MaskingFlag> = measured.flags.iter().copied().collect();
        let flags: Vec<&str> = flags.iter().map(|flag| flag.as_str()).collect();
        self.jobs.push(job.0);
        self.fences.push(held.fence);
        self.peaks.push(memory_column(measured.peak_memory_bytes)?);
        self.clean
            .push(measured.points.first().map(Point::accuracy));
        self.robust
            .push(measured.points.last().map(Point::accuracy));
        self.expected.push(expected);
        self.audit_samples.push(audit_samples.transpose()?);
        self.audit_gaps.push(audit.map(|audit| audit.gap));
        self.flags.push(flags.join(","));
        self.passes.push(passes.transpose()?);
        Ok(())
    }
}

/// Points of measurements as columns.
#[derive(Default)]
struct Points {
    jobs: Vec<i64>,
    ordinals: Vec<i32>,
    columns: PointColumns,
}

impl Points {
    fn push(&mut self, held: &Held, points: &[Point]) -> Result<(), StoreError> {
        for (ordinal, point) in (0..).zip(points) {
            self.jobs.push(held.job.0);
            self.ordinals.push(ordinal);
            self.columns.push(point)?;
        }
        Ok(())
    }
}

/// The points must be on the job's grid and of its samples, and an audit must be one of its mode.
fn require_measurement(
    held: &Held,
    spec: Option<&JobSpec>,
    measured: &Measured,
) -> Result<(), StoreError> {
    let Some(JobSpec::Evaluate(spec)) = spec else {
        return Err(StoreError::corrupt("job spec", "its kind is not the job's"));
    };
    let points = &measured.points;
    let most = most_samples(spec.samples, &spec.train.dataset);
    let objection = grid_objection(&spec.grid, points)
        .or_else(|| samples_objection(most, points))
        .or_else(|| audit_objection(spec.mode, measured.audit?, points));
    match objection {
        None => Ok(()),
        Some(reason) => Err(StoreError::Mismatch {
            job: held.job,
            reason,
        }),
    }
}

fn grid_objection(grid: &[Epsilon], points: &[Point]) -> Option<String> {
    let measured: Vec<Epsilon> = points.iter().map(|point| point.epsilon).collect();
    let list = |grid: &[Epsilon]| {
        grid.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    (measured != grid).then(|| {
        format!(
            "its grid is {}; measured was {}",
            list(grid),
            list(&measured)
        )
    })
}

/// The images that a job measures: so many as are asked for, all for 0. None where nobody knows how many
/// those are; a worker has checked the counts that there are before it measured.
fn most_samples(asked: u32, dataset: &PinnedDataset) -> Option<u32> {
    let all = match dataset.counts.all {
        Some(_) => dataset.draw.test,
        None => dataset.counts.test,
    };
    Some(asked).filter(|asked| *asked > 0).or(all)
}

fn samples_objection(most: Option<u32>, points: &[Point]) -> Option<String> {
    let mut samples = points.iter().map(|point| point.samples);
    let first = samples.next()?;
    if let Some(other) = samples.find(|samples| *samples != first) {
        return Some(format!(
            "all strengths are measured on the same samples; these were on {first} and on {other}"
        ));
    }
    let most = most.filter(|most| first > *most)?;
    Some(format!("it measures {most} samples; measured were {first}"))
}

fn audit_objection(mode: CurveMode, audit: Audit, points: &[Point]) -> Option<String> {
    let samples = points.first().map_or(0, |point| point.samples);
    if !matches!(mode, CurveMode::Bisect { .. }) {
        Some(format!("its mode {} has nothing to audit", mode.as_str()))
    } else if audit.samples == 0 || audit.samples > samples {
        Some(format!(
            "{} of {samples} samples cannot have been audited",
            audit.samples
        ))
    } else if !(-1.0..=1.0).contains(&audit.gap) {
        Some(format!("the audit's gap {} is outside [-1, 1]", audit.gap))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use temper_core::catalog::{Catalog, Counts};

    use super::*;

    fn objection(asked: u32, dataset: &PinnedDataset, samples: [u32; 2]) -> Option<String> {
        let points = [0, 1].map(|place| Point {
            epsilon: Epsilon::new(place, 255).unwrap(),
            correct: 1,
            samples: samples[place as usize],
        });
        samples_objection(most_samples(asked, dataset), &points)
    }

    #[test]
    fn samples_are_as_many_at_every_strength_and_not_more_than_there_are() {
        let catalog = Catalog::built_in().unwrap();
        let mut dataset = catalog.dataset("fashion-mnist").unwrap();
        for (asked, measured) in [(200, [200; 2]), (0, [10_000; 2])] {
            assert_eq!(objection(asked, &dataset, measured), None);
        }
        for (asked, measured) in [(200, [200, 199]), (200, [201; 2]), (0, [10_001; 2])] {
            let said = objection(asked, &dataset, measured).unwrap();
            assert!(said.contains("samples"), "{said}");
        }
        // Of a pool, what is drawn is its test split.
        dataset.counts = Counts {
            all: Some(30_000),
            ..Counts::default()
        };
        dataset.draw.test = Some(15_000);
        assert_eq!(objection(0, &dataset, [15_000; 2]), None);
        assert!(objection(0, &dataset, [15_001; 2]).is_some());
        // Of a split whose size is not said, any number may be right.
        dataset.counts = Counts::default();
        assert_eq!(objection(0, &dataset, [15_001; 2]), None);
    }
}
