//! Two schedules of a sweep.

use temper_core::{Violations, rules::CellMatch, schedule::Schedule, spec::SweepSpec};
use temper_proto::{parse_distribution, v1};
use temper_service::status::bad_field;
use tonic::Status;

use super::{
    Results, encode,
    request::{self, Asked, Wanted},
    uncovered,
};
use crate::{
    compare::{Comparison, Question, schedules as compare},
    group::{Axes, Axis, measure},
};

pub async fn schedules(
    results: &Results,
    request: &v1::CompareSchedulesRequest,
) -> Result<v1::CompareSchedulesResponse, Status> {
    let mut violations = Violations::default();
    let by_configuration = pair_by(request.pair_by, &mut violations);
    let forbidden: &[Axis] = if by_configuration {
        &[Axis::Schedule, Axis::Seed]
    } else {
        &[Axis::Schedule]
    };
    let usual = Axes::of_settings();
    let axes = request::axes(&request.group_by, usual, forbidden, &mut violations);
    let over = request.distribution.as_ref();
    let over = parse_distribution(over, "distribution", &mut violations);
    let baseline = violations.take("baseline", request.baseline.parse::<Schedule>());
    let candidate = violations.take("candidate", request.candidate.parse::<Schedule>());
    violations.require(
        baseline.is_none() || baseline != candidate,
        "candidate",
        || "is the baseline itself".to_owned(),
    );
    let wanted = Wanted {
        field: "sweep",
        sweep: &request.sweep,
        cells: request.cells.as_ref(),
        evaluations: &request.evaluations,
    };
    let mut asked = Asked::read(results, &wanted, violations).await?;
    let (baseline, candidate) = baseline
        .zip(candidate)
        .ok_or_else(|| bad_field("baseline", "must be given"))?;
    let sides = [("baseline", baseline), ("candidate", candidate)];
    check(&sides, &asked.spec, &asked.filter.cells)?;
    asked.filter.cells.schedules = vec![baseline, candidate];
    let curves = asked.curves(results).await?;
    let cells = measure(&curves, &over).map_err(uncovered)?;
    let question = Question {
        baseline: &baseline.to_string(),
        candidate: &candidate.to_string(),
        by_configuration,
        axes,
    };
    Ok(v1::CompareSchedulesResponse {
        comparisons: compare(&cells, &question).iter().map(comparison).collect(),
    })
}

pub fn comparison(compared: &Comparison<'_>) -> v1::ScheduleComparison {
    v1::ScheduleComparison {
        key: Some(encode::key(&compared.key)),
        clean_accuracy: compared.clean.map(encode::paired),
        robust_accuracy: compared.robust.map(encode::paired),
        expected_robustness: compared.expected.map(encode::paired),
        count: encode::count(compared.count),
        expected_count: encode::count(compared.expected_count),
        unpaired_count: encode::count(compared.unpaired_count),
        missing: encode::missing(&compared.missing),
    }
}

fn pair_by(number: i32, violations: &mut Violations) -> bool {
    match v1::PairBy::try_from(number) {
        Ok(v1::PairBy::Unspecified | v1::PairBy::Seed) => false,
        Ok(v1::PairBy::Configuration) => true,
        Err(error) => {
            violations.add("pair_by", error.to_string());
            false
        }
    }
}

/// Both must be on the sweep's axis, and among the cells that are asked for.
fn check(sides: &[(&str, Schedule)], spec: &SweepSpec, cells: &CellMatch) -> Result<(), Status> {
    let mut violations = Violations::default();
    for (field, schedule) in sides {
        violations.require(spec.schedules.contains(schedule), field, || {
            let known: Vec<_> = spec
                .schedules
                .iter()
                .take(10)
                .map(ToString::to_string)
                .collect();
            format!("the sweep has no `{schedule}`, but {}", known.join(", "))
        });
        let is_among = cells.schedules.is_empty() || cells.schedules.contains(schedule);
        violations.require(is_among, field, || {
            format!("`{schedule}` is not among cells.schedules")
        });
    }
    request::refuse(violations)
}
