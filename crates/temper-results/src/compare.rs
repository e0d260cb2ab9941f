//! Two schedules of a sweep, paired by everything else.

use std::collections::{HashMap, HashSet};

use temper_core::{
    curve::Figures,
    statistics::{Paired, compare},
};
use temper_store::CellCurve;

use crate::group::{Axes, Axis, Cell, Key, clean, expected, robust};

/// What is compared with what.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Name of the schedule that is compared with.
    pub baseline: &'a str,
    /// Name of the schedule that is compared.
    pub candidate: &'a str,
    /// A pair is a configuration, each side the mean over its seeds, instead of a seed.
    pub by_configuration: bool,
    /// What tells comparisons apart; not the schedule.
    pub axes: Axes,
}

/// A comparison of the pairs of a group.
#[derive(Debug, Clone)]
pub struct Comparison<'a> {
    pub key: Key<'a>,
    pub clean: Option<Paired>,
    pub robust: Option<Paired>,
    pub expected: Option<Paired>,
    /// Pairs with both results.
    pub count: usize,
    /// Pairs in all.
    pub expected_count: usize,
    /// Cells that have no partner.
    pub unpaired_count: usize,
    /// Cells without a result, which keep pairs from being compared.
    pub missing: Vec<&'a CellCurve>,
}

/// The cells of two schedules that have a key in common.
#[derive(Debug, Clone, Copy, Default)]
struct Sides<'a> {
    baseline: Option<Cell<'a>>,
    candidate: Option<Cell<'a>>,
}

/// What the two sides of a pair say.
type Pair = (Figures, Figures);

/// Compares, in the order in which groups first appear.
pub fn schedules<'a>(cells: &[Cell<'a>], question: &Question<'_>) -> Vec<Comparison<'a>> {
    let mut groups: Ordered<Key<'a>, Ordered<Key<'a>, Sides<'a>>> = Ordered::default();
    let pair_axes = Axes::without(&[Axis::Schedule]);
    for cell in cells {
        let (baseline, candidate) = (
            cell.curve.schedule == question.baseline,
            cell.curve.schedule == question.candidate,
        );
        if baseline || candidate {
            let group = groups.at(Key::of(cell.curve, &question.axes));
            let sides = group.at(Key::of(cell.curve, &pair_axes));
            let side = if baseline {
                &mut sides.baseline
            } else {
                &mut sides.candidate
            };
            *side = Some(*cell);
        }
    }
    let compared = |(key, pairs): (Key<'a>, Ordered<Key<'a>, Sides<'a>>)| {
        compared(key, pairs.0, question.by_configuration)
    };
    groups.0.into_iter().map(compared).collect()
}

fn compared<'a>(
    key: Key<'a>,
    pairs: Vec<(Key<'a>, Sides<'a>)>,
    by_configuration: bool,
) -> Comparison<'a> {
    let (mut unpaired_count, mut missing) = (0, Vec::new());
    let mut units: Ordered<Key<'a>, Vec<Option<Pair>>> = Ordered::default();
    // Cells that share both evaluations are one pair.
    let mut seen = HashSet::new();
    for (mut unit, sides) in pairs {
        let (Some(baseline), Some(candidate)) = (sides.baseline, sides.candidate) else {
            unpaired_count += 1;
            continue;
        };
        if !seen.insert((baseline.curve.job, candidate.curve.job)) {
            continue;
        }
        let lacking = [baseline, candidate].into_iter();
        let lacking = lacking.filter(|cell| cell.figures.is_none());
        missing.extend(lacking.map(|cell| cell.curve));
        if by_configuration {
            unit.seed = None;
        }
        units.at(unit).push(baseline.figures.zip(candidate.figures));
    }
    let expected_count = units.0.len();
    let pairs: Vec<Pair> = units
        .0
        .into_iter()
        .filter_map(|(_, seeds)| mean(seeds))
        .collect();
    let of = |value: fn(&Figures) -> f64| {
        let values = pairs.iter().map(|(one, other)| (value(one), value(other)));
        compare(&values.collect::<Vec<_>>())
    };
    Comparison {
        key,
        clean: of(clean),
        robust: of(robust),
        expected: of(expected),
        count: pairs.len(),
        expected_count,
        unpaired_count,
        missing,
    }
}

/// The mean of both sides over the seeds; none where a seed is missing.
fn mean(seeds: Vec<Option<Pair>>) -> Option<Pair> {
    let seeds: Vec<Pair> = seeds.into_iter().collect::<Option<_>>()?;
    let over = |value: &dyn Fn(&Pair) -> f64| {
        let values: Vec<f64> = seeds.iter().map(value).collect();
        temper_core::statistics::summarise(&values).map(|summary| summary.mean)
    };
    let side = |side: fn(&Pair) -> &Figures| {
        Some(Figures {
            clean: over(&|pair| side(pair).clean)?,
            robust: over(&|pair| side(pair).robust)?,
            expected: over(&|pair| side(pair).expected)?,
        })
    };
    side(|pair| &pair.0).zip(side(|pair| &pair.1))
}

/// Values by keys, in the order in which keys were first asked for.
struct Ordered<K, V>(Vec<(K, V)>, HashMap<K, usize>);

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self(Vec::new(), HashMap::new())
    }
}

impl<K: Clone + Eq + std::hash::Hash, V: Default> Ordered<K, V> {
    fn at(&mut self, key: K) -> &mut V {
        let values = &mut self.0;
        let place = *self.1.entry(key.clone()).or_insert_with(|| {
            values.push((key, V::default()));
            values.len() - 1
        });
        &mut values[place].1
    }
}

#[cfg(test)]
mod tests {
    use temper_core::{Epsilon, curve::Distribution};

    use super::*;
    use crate::{group::measure, testing::curves};

    fn ask(curves: &[CellCurve], by_configuration: bool) -> Vec<Comparison<'_>> {
        let cells = measure(curves, &Distribution::default()).unwrap();
        let question = Question {
            baseline: "fixed",
            candidate: "two-hinge",
            by_configuration,
            axes: Axes::of_settings(),
        };
        schedules(&cells, &question)
    }

    #[test]
    fn seeds_are_paired_whatever_their_order_and_others_left_out() {
        let curves = curves(&[
            ("fixed", 0, Some([4, 2, 0])),
            ("fixed", 1, Some([5, 2, 1])),
            ("linear", 0, Some([9, 9, 9])),
            ("two-hinge", 1, Some([8, 4, 1])),
            ("two-hinge", 0, Some([5, 4, 2])),
        ]);
        let all = ask(&curves, false);
        let [one] = all.as_slice() else {
            panic!("{all:?}");
        };
        assert_eq!(
            (one.count, one.expected_count, one.unpaired_count),
            (2, 2, 0)
        );
        let clean = one.clean.unwrap();
        // Differences 0.1 and 0.3.
        assert!((clean.difference.mean - 0.2).abs() < 1e-12);
        assert!((clean.test.unwrap().t - 2.0).abs() < 1e-9);
        let robust = one.robust.unwrap();
        assert_eq!((robust.wins, robust.ties, robust.losses), (1, 1, 0));
    }

    #[test]
    fn pairs_without_both_results_are_missing_and_cells_without_a_partner_counted() {
        let curves = curves(&[
            ("fixed", 0, Some([4, 2, 0])),
            ("fixed", 1, None),
            ("fixed", 2, Some([5, 2, 1])),
            ("two-hinge", 0, Some([8, 4, 1])),
            ("two-hinge", 1, Some([8, 4, 1])),
        ]);
        let all = ask(&curves, false);
        assert_eq!(
            (all[0].count, all[0].expected_count, all[0].unpaired_count),
            (1, 2, 1)
        );
        let missing: Vec<_> = all[0].missing.iter().map(|cell| cell.cell).collect();
        assert_eq!(missing, [1]);
        assert_eq!(all[0].clean.unwrap().test, None);
    }

    #[test]
    fn configuration_is_the_mean_over_its_seeds_and_left_out_while_one_is_missing() {
        let mut cells = curves(&[
            ("fixed", 0, Some([4, 2, 0])),
            ("fixed", 1, Some([6, 2, 0])),
            ("two-hinge", 0, Some([8, 4, 1])),
            ("two-hinge", 1, Some([9, 4, 1])),
            ("fixed", 0, Some([1, 1, 1])),
            ("fixed", 1, Some([1, 1, 1])),
            ("two-hinge", 0, Some([2, 2, 2])),
            ("two-hinge", 1, None),
        ]);
        for cell in &mut cells[4..] {
            cell.model = "resnet50".into();
        }
        let all = ask(&cells, true);
        assert_eq!((all[0].count, all[0].expected_count), (1, 2));
        let clean = all[0].clean.unwrap();
        assert!((clean.difference.mean - 0.35).abs() < 1e-12);
        assert!((clean.baseline - 0.5).abs() < 1e-12);
        assert_eq!(all[0].missing.len(), 1);
        // By seed, the pair that is there counts.
        assert_eq!(ask(&cells, false)[0].count, 3);
    }

    #[test]
    fn targets_are_compared_apart_and_before_there_is_a_pair_nothing_is_said() {
        let mut cells = curves(&[
            ("fixed", 0, Some([4, 2, 0])),
            ("two-hinge", 0, Some([8, 4, 1])),
            ("fixed", 0, None),
            ("two-hinge", 0, None),
        ]);
        for cell in &mut cells[2..] {
            cell.target = Epsilon::new(8, 255).unwrap();
        }
        let all = ask(&cells, false);
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].count, all[1].expected_count), (0, 1));
        assert_eq!((all[1].clean, all[1].missing.len()), (None, 2));
    }
}
