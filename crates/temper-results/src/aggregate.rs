//! Cells that differ in nothing but their seed, summarised. The statistics are temper-core's.

use temper_core::{
    Epsilon,
    curve::{CurveError, Point, Summary, expected_robustness, summarise},
};
use temper_store::CellCurve;

/// What one curve says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Accuracy without a perturbation, in `[0, 1]`.
    pub clean: f64,
    /// Accuracy at the grid's end, in `[0, 1]`.
    pub robust: f64,
    /// Normalised area under the curve, in `[0, 1]`.
    pub expected: f64,
}

/// Cells that differ in nothing but their seed, and one of their evaluations.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The group's first cell: what all have in common.
    pub of: CellCurve,
    /// Cells in all.
    pub expected_count: usize,
    /// Cells with a result.
    pub count: usize,
    /// Summary of clean accuracies; none without a result.
    pub clean: Option<Summary>,
    /// Summary of accuracies at the grid's end.
    pub robust: Option<Summary>,
    /// Summary of expected robustness.
    pub expected: Option<Summary>,
    /// Summary of accuracies along the grid.
    pub points: Vec<(Epsilon, Summary)>,
}

/// What one curve says.
///
/// # Errors
/// When the points are no curve.
pub fn figures(points: &[Point]) -> Result<Figures, CurveError> {
    let expected = expected_robustness(points)?;
    let (first, last) = points.first().zip(points.last()).ok_or(CurveError::Empty)?;
    Ok(Figures {
        clean: first.accuracy(),
        robust: last.accuracy(),
        expected,
    })
}

/// Groups a sweep's curves, in the order in which their groups first appear.
///
/// # Errors
/// When the points of a cell are no curve.
pub fn group(curves: Vec<CellCurve>) -> Result<Vec<Group>, CurveError> {
    let mut groups: Vec<Vec<CellCurve>> = Vec::new();
    for curve in curves {
        match groups.iter_mut().find(|group| belongs(&curve, &group[0])) {
            Some(group) => group.push(curve),
            None => groups.push(vec![curve]),
        }
    }
    groups.into_iter().map(summarised).collect()
}

fn belongs(curve: &CellCurve, other: &CellCurve) -> bool {
    let axes = |curve: &CellCurve| (curve.target, curve.hyperparameters, curve.evaluation);
    axes(curve) == axes(other)
        && curve.model == other.model
        && curve.dataset == other.dataset
        && curve.schedule == other.schedule
}

fn summarised(cells: Vec<CellCurve>) -> Result<Group, CurveError> {
    let curves: Vec<&[Point]> = cells
        .iter()
        .filter_map(|cell| cell.points.as_deref())
        .collect();
    let figures = curves
        .iter()
        .map(|points| figures(points))
        .collect::<Result<Vec<_>, _>>()?;
    let summary =
        |value: fn(&Figures) -> f64| summarise(&figures.iter().map(value).collect::<Vec<_>>());
    // One evaluation of one group has one grid.
    let grid = curves.first().copied().unwrap_or_default();
    let points = grid.iter().enumerate().filter_map(|(i, point)| {
        let column: Vec<f64> = curves
            .iter()
            .filter_map(|c| c.get(i))
            .map(Point::accuracy)
            .collect();
        summarise(&column).map(|summary| (point.epsilon, summary))
    });
    Ok(Group {
        expected_count: cells.len(),
        count: curves.len(),
        clean: summary(|figures| figures.clean),
        robust: summary(|figures| figures.robust),
        expected: summary(|figures| figures.expected),
        points: points.collect(),
        of: cells.into_iter().next().ok_or(CurveError::Empty)?,
    })
}

#[cfg(test)]
mod tests {
    use temper_store::JobId;

    use super::*;

    fn cell(seed: u64, schedule: &str, correct: Option<[u32; 3]>) -> CellCurve {
        let points = correct.map(|correct| {
            (0..3)
                .zip(correct)
                .map(|(i, correct)| Point {
                    epsilon: Epsilon::new(i, 255).unwrap(),
                    correct,
                    samples: 10,
                })
                .collect()
        });
        CellCurve {
            cell: 0,
            model: "mobilenetv2".into(),
            dataset: "fashion-mnist".into(),
            schedule: schedule.into(),
            target: Epsilon::new(2, 255).unwrap(),
            seed,
            hyperparameters: 0,
            evaluation: 0,
            job: JobId(1),
            points,
        }
    }

    #[test]
    fn seeds_are_summarised_and_missing_cells_counted() {
        let groups = group(vec![
            cell(0, "fixed", Some([8, 4, 2])),
            cell(1, "fixed", Some([6, 4, 0])),
            cell(2, "fixed", None),
            cell(0, "linear", None),
        ])
        .unwrap();
        assert_eq!(groups.len(), 2);
        let fixed = &groups[0];
        assert_eq!((fixed.count, fixed.expected_count), (2, 3));
        assert!((fixed.clean.unwrap().mean - 0.7).abs() < 1e-12);
        assert!((fixed.robust.unwrap().mean - 0.1).abs() < 1e-12);
        // Areas 0.45 and 0.35.
        assert!((fixed.expected.unwrap().mean - 0.4).abs() < 1e-12);
        assert!((fixed.points[1].1.standard_deviation.unwrap()).abs() < 1e-12);
        assert_eq!(
            (groups[1].count, groups[1].clean, groups[1].points.len()),
            (0, None, 0)
        );
    }
}
