//! Results by where the hinges are.

use temper_core::Violations;
use temper_proto::{parse_distribution, v1};
use tonic::Status;

use super::{
    Results, encode,
    request::{self, Asked, Wanted},
    uncovered,
};
use crate::{
    group::{Axes, Axis, clean, expected, measure, robust},
    sensitivity::{self, Grid, Point},
};

pub async fn grids(
    results: &Results,
    request: &v1::SensitivityRequest,
) -> Result<v1::SensitivityResponse, Status> {
    let mut violations = Violations::default();
    let usual = Axes::without(&[Axis::Schedule, Axis::Seed]);
    let forbidden = &[Axis::Schedule];
    let axes = request::axes(&request.group_by, usual, forbidden, &mut violations);
    let over = request.distribution.as_ref();
    let over = parse_distribution(over, "distribution", &mut violations);
    let wanted = Wanted {
        field: "sweep",
        sweep: &request.sweep,
        cells: request.cells.as_ref(),
        evaluations: &request.evaluations,
    };
    let asked = Asked::read(results, &wanted, violations).await?;
    let curves = asked.curves(results).await?;
    let cells = measure(&curves, &over).map_err(uncovered)?;
    let grids = sensitivity::grids(&cells, &axes);
    Ok(v1::SensitivityResponse {
        grids: grids.iter().map(grid).collect(),
    })
}

fn grid(grid: &Grid<'_>) -> v1::SensitivityGrid {
    v1::SensitivityGrid {
        key: Some(encode::key(&grid.key)),
        points: grid.points.iter().map(point).collect(),
    }
}

fn point(point: &Point<'_>) -> v1::SensitivityPoint {
    let cells = &point.cells;
    v1::SensitivityPoint {
        start: point.hinges.0.value(),
        end: point.hinges.1.value(),
        schedules: point.schedules.iter().map(ToString::to_string).collect(),
        clean_accuracy: cells.summary(clean).map(encode::estimate),
        robust_accuracy: cells.summary(robust).map(encode::estimate),
        expected_robustness: cells.summary(expected).map(encode::estimate),
        count: encode::count(cells.count()),
        expected_count: encode::count(cells.cells.len()),
        missing: encode::missing(&cells.missing()),
    }
}
