//! Measurements of a sweep in groups that have some axes in common.

use std::collections::{BTreeSet, HashMap, HashSet};

use temper_core::{
    Epsilon,
    curve::{Distribution, ExpectationError, Figures},
    statistics::{Summary, summarise},
};
use temper_store::{CellCurve, JobId};

/// What measurements are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Axis {
    /// The model.
    Model,
    /// The dataset.
    Dataset,
    /// The schedule.
    Schedule,
    /// The target strength.
    Target,
    /// The entry of hyper-parameters.
    Hyperparameters,
    /// The entry of evaluations.
    Evaluation,
    /// The seed.
    Seed,
}

impl Axis {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Model,
        Self::Dataset,
        Self::Schedule,
        Self::Target,
        Self::Hyperparameters,
        Self::Evaluation,
        Self::Seed,
    ];
}

/// Axes that groups are told apart by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Axes(BTreeSet<Axis>);

impl Axes {
    /// These.
    pub fn of(axes: &[Axis]) -> Self {
        Self(axes.iter().copied().collect())
    }

    /// All but these.
    pub fn without(axes: &[Axis]) -> Self {
        let kept = Axis::ALL.into_iter().filter(|axis| !axes.contains(axis));
        Self(kept.collect())
    }

    /// What a comparison, a board and a correlation are of, unless another thing is asked for.
    pub fn of_settings() -> Self {
        Self::of(&[Axis::Target, Axis::Hyperparameters, Axis::Evaluation])
    }

    pub fn iter(&self) -> impl Iterator<Item = Axis> {
        self.0.iter().copied()
    }

    pub fn contains(&self, axis: Axis) -> bool {
        self.0.contains(&axis)
    }
}

/// What a group has in common: its value on each axis that it is grouped by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Key<'a> {
    pub model: Option<&'a str>,
    pub dataset: Option<&'a str>,
    pub schedule: Option<&'a str>,
    pub target: Option<Epsilon>,
    pub hyperparameters: Option<u32>,
    pub evaluation: Option<u32>,
    pub seed: Option<u64>,
}

impl<'a> Key<'a> {
    pub fn of(curve: &'a CellCurve, axes: &Axes) -> Self {
        Self {
            model: axes.contains(Axis::Model).then_some(&curve.model),
            dataset: axes.contains(Axis::Dataset).then_some(&curve.dataset),
            schedule: axes.contains(Axis::Schedule).then_some(&curve.schedule),
            target: axes.contains(Axis::Target).then_some(curve.target),
            hyperparameters: axes
                .contains(Axis::Hyperparameters)
                .then_some(curve.hyperparameters),
            evaluation: axes.contains(Axis::Evaluation).then_some(curve.evaluation),
            seed: axes.contains(Axis::Seed).then_some(curve.seed),
        }
    }
}

/// One evaluation of one cell, and what its curve says.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    pub curve: &'a CellCurve,
    /// None before there is a result.
    pub figures: Option<Figures>,
}

/// A curve that has no mean over the distribution.
#[derive(Debug, thiserror::Error)]
#[error("jobs/{job}: {error}")]
pub struct Uncovered {
    pub job: JobId,
    pub error: ExpectationError,
}

/// What curves say, expected robustness over this distribution.
///
/// # Errors
/// For each parameter of the distribution, the first curve that it does not fit.
pub fn measure<'a>(
    curves: &'a [CellCurve],
    over: &Distribution,
) -> Result<Vec<Cell<'a>>, Vec<Uncovered>> {
    let mut refused: Vec<Uncovered> = Vec::new();
    let mut cells = Vec::with_capacity(curves.len());
    for curve in curves {
        let points = curve.points.as_deref();
        match points.map(|points| Figures::of(points, over)).transpose() {
            Ok(figures) => cells.push(Cell { curve, figures }),
            Err(error) => {
                let job = curve.job;
                if refused.iter().all(|one| one.error.field() != error.field()) {
                    refused.push(Uncovered { job, error });
                }
            }
        }
    }
    if refused.is_empty() {
        Ok(cells)
    } else {
        Err(refused)
    }
}

/// Cells with a key in common.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    pub key: Key<'a>,
    pub cells: Vec<Cell<'a>>,
}

/// Groups cells, in the order in which their groups first appear, each evaluation once in a group.
pub fn group<'a>(cells: &[Cell<'a>], axes: &Axes) -> Vec<Group<'a>> {
    let groups = gather(cells, axes).into_iter();
    groups.map(Group::distinct).collect()
}

/// The same with every cell, for whoever goes on to tell apart what is in a group: cells that share
/// an evaluation may bear names of their own for one schedule, or one model.
pub fn gather<'a>(cells: &[Cell<'a>], axes: &Axes) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut places: HashMap<Key<'a>, usize> = HashMap::new();
    for cell in cells {
        let key = Key::of(cell.curve, axes);
        let place = *places.entry(key.clone()).or_insert_with(|| {
            let cells = Vec::new();
            groups.push(Group { key, cells });
            groups.len() - 1
        });
        groups[place].cells.push(*cell);
    }
    groups
}

impl<'a> Group<'a> {
    /// Where several cells share an evaluation, the first of them alone: it is one measurement, and
    /// would count as several that happen to agree.
    pub fn distinct(mut self) -> Self {
        let mut seen: HashSet<JobId> = HashSet::with_capacity(self.cells.len());
        self.cells.retain(|cell| seen.insert(cell.curve.job));
        self
    }

    /// Cells with a result.
    pub fn count(&self) -> usize {
        self.cells
            .iter()
            .filter(|cell| cell.figures.is_some())
            .count()
    }

    /// Cells without one.
    pub fn missing(&self) -> Vec<&'a CellCurve> {
        let missing = self.cells.iter().filter(|cell| cell.figures.is_none());
        missing.map(|cell| cell.curve).collect()
    }

    /// Summary of what the curves say; none without a curve.
    pub fn summary(&self, value: fn(&Figures) -> f64) -> Option<Summary> {
        let figures = self.cells.iter().filter_map(|cell| cell.figures.as_ref());
        summarise(&figures.map(value).collect::<Vec<_>>())
    }
}

/// Accuracy without a perturbation.
pub fn clean(figures: &Figures) -> f64 {
    figures.clean
}

/// Accuracy at the grid's end.
pub fn robust(figures: &Figures) -> f64 {
    figures.robust
}

/// Mean accuracy over the distribution.
pub fn expected(figures: &Figures) -> f64 {
    figures.expected
}

#[cfg(test)]
mod tests {
    use temper_core::Epsilon;

    use super::*;
    use crate::testing::{cell, curves};

    fn usual(curves: &[CellCurve]) -> Vec<Cell<'_>> {
        measure(curves, &Distribution::default()).unwrap()
    }

    #[test]
    fn groups_are_told_apart_by_their_axes_alone() {
        let curves = curves(&[
            ("fixed", 0, Some([8, 4, 2])),
            ("fixed", 1, Some([6, 4, 0])),
            ("linear", 0, None),
            ("linear", 1, Some([9, 9, 9])),
        ]);
        let cells = usual(&curves);
        let by_schedule = group(&cells, &Axes::of(&[Axis::Schedule]));
        let shown: Vec<_> = by_schedule
            .iter()
            .map(|group| {
                (
                    group.key.schedule,
                    group.key.seed,
                    group.count(),
                    group.cells.len(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [(Some("fixed"), None, 2, 2), (Some("linear"), None, 1, 2)]
        );
        assert_eq!(by_schedule[1].missing()[0].seed, 0);
        let by_seed = group(&cells, &Axes::of(&[Axis::Seed]));
        assert_eq!(by_seed.len(), 2);
        assert_eq!(group(&cells, &Axes::without(&[])).len(), 4);
        assert_eq!(group(&cells, &Axes::default()).len(), 1);
    }

    #[test]
    fn evaluation_that_cells_share_counts_once_in_a_group() {
        let mut cells = curves(&[
            ("standard", 0, Some([8, 4, 2])),
            ("standard", 0, Some([8, 4, 2])),
            ("standard", 1, Some([6, 4, 2])),
        ]);
        cells[1].target = Epsilon::new(8, 255).unwrap();
        cells[1].job = cells[0].job;
        let cells = usual(&cells);
        let together = group(&cells, &Axes::of(&[Axis::Schedule]));
        assert_eq!(together[0].summary(clean).unwrap().count, 2);
        let apart = group(&cells, &Axes::of(&[Axis::Target]));
        assert_eq!(apart.iter().map(Group::count).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn each_bound_that_a_grid_does_not_reach_is_told_once_with_its_job() {
        let far = Epsilon::new(3, 255).unwrap();
        let over = Distribution::uniform(far, Some(far)).unwrap();
        let cells = [
            cell("fixed", 0, Some([8, 4, 2])),
            cell("fixed", 1, None),
            cell("fixed", 2, Some([8, 4, 2])),
        ];
        let refused = measure(&cells, &over).unwrap_err();
        let [one] = refused.as_slice() else {
            panic!("{refused:?}");
        };
        assert_eq!(one.error.field().unwrap(), "uniform.from");
        let text = one.to_string();
        assert!(
            text.starts_with(&format!("jobs/{}: 1/85 is beyond", cells[0].job)),
            "{text}"
        );
    }
}
