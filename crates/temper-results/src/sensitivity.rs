//! Schedules with two hinges by where their hinges are.

use std::collections::BTreeMap;

use temper_core::{
    Fraction,
    schedule::{Ramp, Schedule},
};
use temper_store::CellCurve;

use crate::group::{Axes, Cell, Group, Key, gather};

/// Where a strength starts to rise, and where it reaches the target, as shares of the run.
pub type Hinges = (Fraction, Fraction);

/// The points of a group, ascending.
#[derive(Debug, Clone)]
pub struct Grid<'a> {
    pub key: Key<'a>,
    pub points: Vec<Point<'a>>,
}

/// What is measured with hinges at one place.
#[derive(Debug, Clone)]
pub struct Point<'a> {
    pub hinges: Hinges,
    /// The schedules that are so, in the order of the sweep.
    pub schedules: Vec<&'a str>,
    pub cells: Group<'a>,
}

/// Where the hinges of a cell's schedule are; none of a schedule that does not rise in a line between
/// two places.
pub fn hinges(curve: &CellCurve) -> Option<Hinges> {
    let schedule: Schedule = curve.schedule.parse().ok()?;
    match schedule.ramp(curve.target, curve.epochs) {
        Ramp::Hinged { start, end, .. } => Some((start, end)),
        _ => None,
    }
}

/// The grids, in the order in which their groups first appear.
pub fn grids<'a>(cells: &[Cell<'a>], axes: &Axes) -> Vec<Grid<'a>> {
    let hinged: Vec<Cell<'a>> = cells
        .iter()
        .filter(|cell| hinges(cell.curve).is_some())
        .copied()
        .collect();
    gather(&hinged, axes).into_iter().map(grid).collect()
}

fn grid<'a>(Group { key, cells }: Group<'a>) -> Grid<'a> {
    let mut places: BTreeMap<Hinges, Vec<Cell<'a>>> = BTreeMap::new();
    for cell in cells {
        if let Some(hinges) = hinges(cell.curve) {
            places.entry(hinges).or_default().push(cell);
        }
    }
    let points = places.into_iter().map(|(hinges, cells)| {
        // By the names of all cells, also of those that share another's evaluation.
        let mut schedules: Vec<&'a str> = Vec::new();
        for cell in &cells {
            if !schedules.contains(&cell.curve.schedule.as_str()) {
                schedules.push(&cell.curve.schedule);
            }
        }
        let key = key.clone();
        Point {
            hinges,
            schedules,
            cells: Group { key, cells }.distinct(),
        }
    });
    Grid {
        points: points.collect(),
        key,
    }
}

#[cfg(test)]
mod tests {
    use temper_core::curve::Distribution;

    use super::*;
    use crate::{
        group::{Axis, clean, measure},
        testing::curves,
    };

    #[test]
    fn schedules_stand_where_their_hinges_are_and_others_nowhere() {
        let curves = curves(&[
            ("two-hinge", 0, Some([9, 4, 2])),
            ("two-hinge", 1, Some([7, 4, 2])),
            // Two of the 8 epochs are a quarter.
            ("two-hinge(2ep,3/4)", 0, Some([5, 4, 2])),
            ("fixed", 0, Some([2, 1, 0])),
            ("linear", 0, None),
            ("step(1/2)", 0, Some([1, 1, 1])),
            ("warm-up(1/4)", 0, Some([6, 4, 2])),
            ("standard", 0, Some([9, 0, 0])),
            ("uniform", 0, Some([9, 0, 0])),
            ("cosine", 0, Some([9, 0, 0])),
            ("auto", 0, Some([9, 0, 0])),
        ]);
        let cells = measure(&curves, &Distribution::default()).unwrap();
        let grids = grids(&cells, &Axes::without(&[Axis::Schedule, Axis::Seed]));
        let [grid] = grids.as_slice() else {
            panic!("{grids:?}");
        };
        let shown: Vec<_> = grid
            .points
            .iter()
            .map(|point| {
                let (start, end) = (point.hinges.0.to_string(), point.hinges.1.to_string());
                (start, end, point.schedules.join(" "), point.cells.count())
            })
            .collect();
        let expected = [
            ("0", "0", "fixed", 1),
            ("0", "1/4", "warm-up(1/4)", 1),
            ("0", "1", "linear", 0),
            ("1/4", "3/4", "two-hinge two-hinge(2ep,3/4)", 3),
            ("1/2", "1/2", "step(1/2)", 1),
        ];
        let expected: Vec<_> = expected
            .map(|(start, end, names, n)| (start.to_owned(), end.to_owned(), names.to_owned(), n))
            .to_vec();
        assert_eq!(shown, expected);
        assert!((grid.points[3].cells.summary(clean).unwrap().mean - 0.7).abs() < 1e-12);
        assert_eq!(grid.points[2].cells.missing().len(), 1);
    }

    #[test]
    fn schedules_that_share_an_evaluation_are_both_named_and_it_counts_once() {
        let mut curves = curves(&[
            ("linear", 0, Some([6, 4, 2])),
            ("two-hinge(0,1)", 0, Some([6, 4, 2])),
        ]);
        curves[1].job = curves[0].job;
        let cells = measure(&curves, &Distribution::default()).unwrap();
        let grids = grids(&cells, &Axes::without(&[Axis::Schedule, Axis::Seed]));
        let [point] = grids[0].points.as_slice() else {
            panic!("{grids:?}");
        };
        assert_eq!(point.schedules, ["linear", "two-hinge(0,1)"]);
        assert_eq!((point.cells.count(), point.cells.cells.len()), (1, 1));
    }
}
