//! What requests have in common: a sweep, some of its cells, and what tells groups apart.

use temper_core::{Violations, spec::SweepSpec};
use temper_proto::{SweepName, parse_cell_match, v1};
use temper_service::status;
use temper_store::{CellCurve, CurveFilter};
use tonic::Status;
use uuid::Uuid;

use super::{Results, refused};
use crate::group::{Axes, Axis};

/// Some of a sweep's cells, as they are asked for.
pub struct Asked {
    pub sweep: Uuid,
    pub spec: SweepSpec,
    pub filter: CurveFilter,
}

/// The parts of a request that say which cells are wanted.
pub struct Wanted<'a> {
    /// Name of the field that holds the sweep.
    pub field: &'static str,
    pub sweep: &'a str,
    pub cells: Option<&'a v1::CellMatch>,
    pub evaluations: &'a [u32],
}

impl Asked {
    /// Reads which cells are wanted, and refuses them with `violations`, what else is wrong with the
    /// request. What is not on the sweep's axes is refused too.
    pub async fn read(
        results: &Results,
        wanted: &Wanted<'_>,
        mut violations: Violations,
    ) -> Result<Self, Status> {
        let sweep = violations.take(wanted.field, wanted.sweep.parse::<SweepName>());
        let cells = parse_cell_match(wanted.cells, "cells", &mut violations);
        let sweep = violations.into_result(sweep);
        let sweep = sweep.map_err(|violations| status::bad_request(&violations))?;
        let Some(SweepName(sweep)) = sweep else {
            return Err(status::bad_field(wanted.field, "must be given"));
        };
        let request = results.store.sweep_request(sweep).await.map_err(refused)?;
        let mut violations = Violations::default();
        cells.check("cells", &request.spec, &mut violations);
        check_evaluations(wanted.evaluations, &request.spec, &mut violations);
        refuse(violations)?;
        let filter = CurveFilter {
            cells,
            evaluations: wanted.evaluations.to_vec(),
            measured_only: false,
        };
        Ok(Self {
            sweep,
            spec: request.spec,
            filter,
        })
    }

    /// The cells; that there are none is refused: values may be on the axes, and all that has them be
    /// left out by the sweep's rules.
    pub async fn curves(&self, results: &Results) -> Result<Vec<CellCurve>, Status> {
        let curves = results.store.sweep_curves(self.sweep, &self.filter).await;
        let curves = curves.map_err(refused)?;
        if curves.is_empty() {
            return Err(status::bad_field("cells", "no cell of the sweep matches"));
        }
        Ok(curves)
    }
}

fn check_evaluations(asked: &[u32], spec: &SweepSpec, violations: &mut Violations) {
    let count = spec.evaluations.len();
    for (i, index) in asked.iter().enumerate() {
        let known = usize::try_from(*index).is_ok_and(|index| index < count);
        violations.require(known, &format!("evaluations[{i}]"), || {
            format!("the sweep has no evaluation {index}: it has {count}, numbered from 0")
        });
    }
}

/// The axes asked for, or the usual ones for none.
pub fn axes(
    group_by: &[i32],
    usual: Axes,
    forbidden: &[Axis],
    violations: &mut Violations,
) -> Axes {
    if group_by.is_empty() {
        return usual;
    }
    let mut chosen = Vec::new();
    for (i, number) in group_by.iter().enumerate() {
        let field = format!("group_by[{i}]");
        match v1::CurveAxis::try_from(*number).ok().and_then(axis) {
            None => violations.add(field, format!("{number} is no axis")),
            Some(axis) if forbidden.contains(&axis) => {
                let name = encoded(axis).as_str_name();
                violations.add(
                    field,
                    format!("results of this kind are not told apart by {name}"),
                );
            }
            Some(axis) if chosen.contains(&axis) => {
                violations.add(field, "is named twice");
            }
            Some(axis) => chosen.push(axis),
        }
    }
    Axes::of(&chosen)
}

/// The axis of a message; none for one that is not said.
fn axis(axis: v1::CurveAxis) -> Option<Axis> {
    Some(match axis {
        v1::CurveAxis::Unspecified => return None,
        v1::CurveAxis::Model => Axis::Model,
        v1::CurveAxis::Dataset => Axis::Dataset,
        v1::CurveAxis::Schedule => Axis::Schedule,
        v1::CurveAxis::TargetEpsilon => Axis::Target,
        v1::CurveAxis::Hyperparameters => Axis::Hyperparameters,
        v1::CurveAxis::Evaluation => Axis::Evaluation,
        v1::CurveAxis::Seed => Axis::Seed,
    })
}

/// An axis as a message.
pub fn encoded(axis: Axis) -> v1::CurveAxis {
    match axis {
        Axis::Model => v1::CurveAxis::Model,
        Axis::Dataset => v1::CurveAxis::Dataset,
        Axis::Schedule => v1::CurveAxis::Schedule,
        Axis::Target => v1::CurveAxis::TargetEpsilon,
        Axis::Hyperparameters => v1::CurveAxis::Hyperparameters,
        Axis::Evaluation => v1::CurveAxis::Evaluation,
        Axis::Seed => v1::CurveAxis::Seed,
    }
}

/// Refuses a request with which something is wrong.
pub fn refuse(violations: Violations) -> Result<(), Status> {
    let result = violations.into_result(());
    result.map_err(|violations| status::bad_request(&violations))
}
