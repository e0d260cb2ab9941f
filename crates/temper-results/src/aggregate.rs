//! Cells that differ in nothing but their seed, summarised. The statistics are temper-core's.

use std::collections::BTreeSet;

use temper_core::{
    Epsilon,
    curve::{CurveError, Distribution, ExpectationError, Figures, Point},
    report::MaskingFlag,
    statistics::{Summary, summarise},
};
use temper_store::CellCurve;

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
    /// Test images of each cell; 0 before there is a result.
    pub samples: u32,
    /// Samples audited, of all cells together.
    pub audit_samples: u32,
    /// Summary of the audits' gaps; none where nothing was audited.
    pub audit_gap: Option<Summary>,
    /// Signs of hidden gradients, of all cells together.
    pub flags: BTreeSet<MaskingFlag>,
    /// Cells with such a sign.
    pub flagged_count: usize,
}

/// Groups a sweep's curves, in the order in which their groups first appear.
///
/// # Errors
/// When the points of a cell are no curve.
pub fn group(curves: Vec<CellCurve>) -> Result<Vec<Group>, ExpectationError> {
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

fn summarised(cells: Vec<CellCurve>) -> Result<Group, ExpectationError> {
    let curves: Vec<&[Point]> = cells
        .iter()
        .filter_map(|cell| cell.points.as_deref())
        .collect();
    let figures = curves
        .iter()
        .map(|points| Figures::of(points, &Distribution::default()))
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
    let audits = || cells.iter().filter_map(|cell| cell.facts.audit);
    let gaps: Vec<f64> = audits().map(|audit| audit.gap).collect();
    let flagged = || cells.iter().filter(|cell| !cell.facts.flags.is_empty());
    Ok(Group {
        expected_count: cells.len(),
        count: curves.len(),
        clean: summary(|figures| figures.clean),
        robust: summary(|figures| figures.robust),
        expected: summary(|figures| figures.expected),
        points: points.collect(),
        samples: grid.first().map_or(0, |point| point.samples),
        audit_samples: audits().map(|audit| audit.samples).sum(),
        audit_gap: summarise(&gaps),
        flags: flagged()
            .flat_map(|cell| cell.facts.flags.clone())
            .collect(),
        flagged_count: flagged().count(),
        of: cells.into_iter().next().ok_or(CurveError::Empty)?,
    })
}

#[cfg(test)]
mod tests {
    use temper_core::{
        report::Audit,
        spec::{EvaluationSettings, Selection},
    };
    use temper_store::{CurveFacts, JobId};

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
            facts: CurveFacts {
                mode: EvaluationSettings::default().mode,
                attacks: EvaluationSettings::default().attacks,
                model: Selection::Last,
                seed: 0,
                audit: None,
                flags: Vec::new(),
                passes: None,
            },
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

    #[test]
    fn audits_are_summarised_and_flags_of_all_cells_gathered() {
        let mut cells: Vec<_> = (0..3)
            .map(|seed| cell(seed, "fixed", Some([8, 4, 2])))
            .collect();
        let audit = |gap| Some(Audit { samples: 5, gap });
        cells[0].facts.audit = audit(0.01);
        cells[1].facts.audit = audit(0.03);
        cells[0].facts.flags = vec![MaskingFlag::RisingCurve, MaskingFlag::Randomised];
        cells[2].facts.flags = vec![MaskingFlag::RisingCurve];
        let group = group(cells).unwrap().remove(0);
        assert!((group.audit_gap.unwrap().mean - 0.02).abs() < 1e-12);
        assert_eq!((group.audit_samples, group.samples), (10, 10));
        let flags = [MaskingFlag::Randomised, MaskingFlag::RisingCurve];
        assert_eq!(group.flags, BTreeSet::from(flags));
        assert_eq!(group.flagged_count, 2);
    }
}
