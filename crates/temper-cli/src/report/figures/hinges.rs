//! Expected robustness by where the hinges are (the paper's Figs. 11 and 12).

use temper_proto::v1::{SensitivityGrid, SensitivityPoint};

use super::{Answers, Drawn, Looks, Picture};
use crate::{
    plot::{
        heat::{Cell, Heat},
        trimmed,
    },
    report::percent,
};

/// Fewer than these are a comparison, not a map: fixed and two-hinge alone are two.
const FEWEST: usize = 3;
/// Depth of the least value: white is where there is none.
const PALEST: f64 = 0.12;

pub(super) fn draw(answers: &Answers, looks: &Looks) -> anyhow::Result<Drawn> {
    let mut pictures = Vec::new();
    for grid in &answers.grids {
        let measured = grid.points.iter();
        let measured = measured.filter(|point| point.expected_robustness.is_some());
        if measured.count() < FEWEST {
            continue;
        }
        let title = looks.title(&grid.key.clone().unwrap_or_default());
        let name = format!("Expected robustness by the hinges: {title}");
        let svg = heat(title, grid)?.svg(&name)?;
        pictures.push(Picture { name, svg });
    }
    let reason = "no model and dataset has results for three places of the hinges";
    Ok(Drawn::of(pictures, reason))
}

fn heat(title: String, grid: &SensitivityGrid) -> anyhow::Result<Heat> {
    let columns = places(grid, |point| point.end);
    let rows = places(grid, |point| point.start);
    let values = grid.points.iter().filter_map(value);
    let least = values.clone().fold(f64::MAX, f64::min);
    let spread = (values.fold(f64::MIN, f64::max) - least).max(f64::EPSILON);
    let mut cells = Vec::new();
    for point in &grid.points {
        let Some(value) = value(point) else { continue };
        let lacking = if point.count < point.expected_count {
            "*"
        } else {
            ""
        };
        cells.push(Cell {
            column: index(&columns, point.end)?,
            row: index(&rows, point.start)?,
            depth: PALEST + (1.0 - PALEST) * (value - least) / spread,
            text: format!("{value:.1}{lacking}"),
        });
    }
    Ok(Heat {
        title,
        x: "T2, target reached (% of the run)",
        y: "T1, rise begins (% of the run)",
        columns: columns
            .into_iter()
            .map(|end| trimmed(percent(end)))
            .collect(),
        rows: rows
            .into_iter()
            .map(|start| trimmed(percent(start)))
            .collect(),
        cells,
    })
}

fn value(point: &SensitivityPoint) -> Option<f64> {
    point.expected_robustness.map(|value| percent(value.mean))
}

/// The distinct places on an axis, ascending.
fn places(grid: &SensitivityGrid, of: fn(&SensitivityPoint) -> f64) -> Vec<f64> {
    let mut places: Vec<_> = grid.points.iter().map(of).collect();
    places.sort_by(f64::total_cmp);
    places.dedup_by(|a, b| a.total_cmp(b).is_eq());
    places
}

fn index(places: &[f64], place: f64) -> anyhow::Result<u32> {
    let before = places.iter().filter(|other| **other < place);
    Ok(u32::try_from(before.count())?)
}
