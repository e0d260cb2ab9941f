//! Groups of cells, summarised. The statistics are temper-core's.

use std::collections::BTreeSet;

use temper_core::{
    Epsilon,
    curve::Point,
    report::MaskingFlag,
    statistics::{Summary, summarise},
};
use temper_store::CurveFacts;

use crate::group::Group;

/// What is said of a group beyond its three scalars.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Summary of accuracies at the strengths that every curve of the group has.
    pub points: Vec<(Epsilon, Summary)>,
    /// Test images of each cell; 0 before there is a result, and where they differ.
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

/// Summarises a group; without its points where they are not wanted.
pub fn aggregate(group: &Group<'_>, with_points: bool) -> Aggregate {
    let curves: Vec<&[Point]> = group
        .cells
        .iter()
        .filter_map(|cell| cell.curve.points.as_deref())
        .collect();
    let facts = || group.cells.iter().map(|cell| &cell.curve.facts);
    let audits = || facts().filter_map(|facts| facts.audit);
    let gaps: Vec<f64> = audits().map(|audit| audit.gap).collect();
    let samples = curves.iter().filter_map(|curve| curve.first());
    Aggregate {
        points: if with_points {
            summaries(&curves)
        } else {
            Vec::new()
        },
        samples: common(samples.map(|point| point.samples)).unwrap_or_default(),
        // What workers say is checked job by job, not in sum.
        audit_samples: audits().fold(0, |sum, audit| audit.samples.saturating_add(sum)),
        audit_gap: summarise(&gaps),
        flags: facts().flat_map(|facts| facts.flags.clone()).collect(),
        flagged_count: facts().filter(|facts| !facts.flags.is_empty()).count(),
    }
}

/// What all of a group say of how they are measured; none where that differs.
pub fn common_fact<T: PartialEq>(group: &Group<'_>, fact: fn(&CurveFacts) -> T) -> Option<T> {
    common(group.cells.iter().map(|cell| fact(&cell.curve.facts)))
}

fn common<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// A mean at a strength that some curves lack would be over others than its neighbours.
fn summaries(curves: &[&[Point]]) -> Vec<(Epsilon, Summary)> {
    let Some((first, others)) = curves.split_first() else {
        return Vec::new();
    };
    let at = |curve: &[Point], epsilon: Epsilon, i: usize| {
        // Most often all curves have one grid.
        let same = curve.get(i).filter(|point| point.epsilon == epsilon);
        let found = same.or_else(|| curve.iter().find(|point| point.epsilon == epsilon));
        found.map(Point::accuracy)
    };
    let summary = |(i, point): (usize, &Point)| {
        let others = others.iter().map(|curve| at(curve, point.epsilon, i));
        let column: Option<Vec<f64>> = [Some(point.accuracy())].into_iter().chain(others).collect();
        summarise(&column?).map(|summary| (point.epsilon, summary))
    };
    first.iter().enumerate().filter_map(summary).collect()
}

#[cfg(test)]
mod tests {
    use temper_core::{curve::Distribution, report::Audit, spec::CurveMode};
    use temper_store::CellCurve;

    use super::*;
    use crate::{
        group::{Axes, Axis, clean, expected, group, measure, robust},
        testing::{cell, curves},
    };

    fn groups(curves: &[CellCurve]) -> Vec<Group<'_>> {
        let cells = measure(curves, &Distribution::default()).unwrap();
        group(&cells, &Axes::without(&[Axis::Seed]))
    }

    #[test]
    fn seeds_are_summarised_and_missing_cells_counted() {
        let curves = curves(&[
            ("fixed", 0, Some([8, 4, 2])),
            ("fixed", 1, Some([6, 4, 0])),
            ("fixed", 2, None),
            ("linear", 0, None),
        ]);
        let groups = groups(&curves);
        assert_eq!(groups.len(), 2);
        let fixed = &groups[0];
        assert_eq!((fixed.count(), fixed.cells.len()), (2, 3));
        assert!((fixed.summary(clean).unwrap().mean - 0.7).abs() < 1e-12);
        assert!((fixed.summary(robust).unwrap().mean - 0.1).abs() < 1e-12);
        // Areas 0.45 and 0.35.
        assert!((fixed.summary(expected).unwrap().mean - 0.4).abs() < 1e-12);
        let points = aggregate(fixed, true).points;
        assert_eq!(points.len(), 3);
        assert!(points[1].1.standard_deviation.unwrap().abs() < 1e-12);
        assert!(aggregate(fixed, false).points.is_empty());
        let linear = &groups[1];
        assert_eq!((linear.count(), linear.summary(clean)), (0, None));
        assert_eq!(aggregate(linear, true).points, []);
    }

    #[test]
    fn points_are_those_that_every_curve_has() {
        let mut curves = curves(&[("fixed", 0, Some([8, 4, 2])), ("fixed", 1, Some([6, 4, 0]))]);
        // The second has no strength of one level.
        curves[1].points.as_mut().unwrap().remove(1);
        let points = aggregate(&groups(&curves)[0], true).points;
        let shown: Vec<_> = points
            .iter()
            .map(|(epsilon, _)| epsilon.to_string())
            .collect();
        assert_eq!(shown, ["0", "2/255"]);
        assert!(points.iter().all(|(_, summary)| summary.count == 2));
    }

    #[test]
    fn audits_are_summarised_and_flags_of_all_cells_gathered() {
        let mut cells: Vec<_> = (0..3)
            .map(|seed| cell("fixed", seed, Some([8, 4, 2])))
            .collect();
        let audit = |gap| Some(Audit { samples: 5, gap });
        cells[0].facts.audit = audit(0.01);
        cells[1].facts.audit = audit(0.03);
        cells[0].facts.flags = vec![MaskingFlag::RisingCurve, MaskingFlag::Randomised];
        cells[2].facts.flags = vec![MaskingFlag::RisingCurve];
        let group = aggregate(&groups(&cells)[0], true);
        assert!((group.audit_gap.unwrap().mean - 0.02).abs() < 1e-12);
        assert_eq!((group.audit_samples, group.samples), (10, 10));
        let flags = [MaskingFlag::Randomised, MaskingFlag::RisingCurve];
        assert_eq!(group.flags, BTreeSet::from(flags));
        assert_eq!(group.flagged_count, 2);
        for cell in &mut cells {
            let samples = u32::MAX / 2;
            cell.facts.audit = Some(Audit { samples, gap: 0.0 });
        }
        let group = aggregate(&groups(&cells)[0], true);
        assert_eq!(group.audit_samples, u32::MAX);
    }

    #[test]
    fn what_differs_within_a_group_is_not_told_of_all() {
        let mut cells = curves(&[("fixed", 0, None), ("fixed", 1, None)]);
        let mode = |cells: &[CellCurve]| common_fact(&groups(cells)[0], |facts| facts.mode);
        assert_eq!(mode(&cells), Some(cells[0].facts.mode));
        cells[1].facts.mode = CurveMode::Exact;
        assert_eq!(mode(&cells), None);
    }
}
