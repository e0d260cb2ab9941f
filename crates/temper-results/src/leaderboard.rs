//! Schedules ranked at each target, over all and by model and dataset.

use temper_core::{
    curve::Figures,
    statistics::{Summary, rank, summarise},
};

use crate::group::{Axes, Axis, Cell, Group, Key, gather, group};

/// A ranking of schedules.
#[derive(Debug, Clone)]
pub struct Board<'a> {
    /// Target, hyper-parameters and evaluation.
    pub key: Key<'a>,
    /// Best first; those without a rank last.
    pub entries: Vec<Entry<'a>>,
    /// By model and dataset.
    pub cells: Vec<BoardCell<'a>>,
}

/// A schedule's place over all pairs of model and dataset.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    pub schedule: &'a str,
    /// From 1; none while some model and dataset lacks a result.
    pub rank: Option<usize>,
    /// Over the pairs that are complete, each the mean over its seeds.
    pub value: Option<Summary>,
    /// Pairs of model and dataset on the board.
    pub expected_count: usize,
    /// Pairs in which it comes first.
    pub wins: usize,
    /// Mean of its ranks over the pairs in which it has one.
    pub mean_rank: Option<f64>,
}

/// The ranking of one model on one dataset.
#[derive(Debug, Clone)]
pub struct BoardCell<'a> {
    pub model: &'a str,
    pub dataset: &'a str,
    /// Best first; those without a rank last.
    pub entries: Vec<CellEntry<'a>>,
}

/// A schedule's place for one model and dataset.
#[derive(Debug, Clone)]
pub struct CellEntry<'a> {
    pub schedule: &'a str,
    /// From 1; none while a seed lacks a result.
    pub rank: Option<usize>,
    /// Over the seeds that have one.
    pub value: Option<Summary>,
    /// Seeds with a result.
    pub count: usize,
    /// Seeds in all.
    pub expected_count: usize,
}

/// Ranks, in the order in which boards first appear. Whatever has a name of its own is ranked, also
/// where another has the same trainings: `linear` is `two-hinge(0,1)`.
pub fn boards<'a>(cells: &[Cell<'a>], metric: fn(&Figures) -> f64) -> Vec<Board<'a>> {
    let boards = gather(cells, &Axes::of_settings());
    boards
        .into_iter()
        .map(|group| board(group, metric))
        .collect()
}

fn board<'a>(Group { key, cells }: Group<'a>, metric: fn(&Figures) -> f64) -> Board<'a> {
    let pairs = gather(&cells, &Axes::of(&[Axis::Model, Axis::Dataset]));
    let cells: Vec<BoardCell<'a>> = pairs.iter().map(|pair| board_cell(pair, metric)).collect();
    let mut schedules: Vec<&'a str> = Vec::new();
    for entry in pairs.iter().flat_map(|pair| &pair.cells) {
        if !schedules.contains(&entry.curve.schedule.as_str()) {
            schedules.push(&entry.curve.schedule);
        }
    }
    let entries = schedules
        .into_iter()
        .map(|schedule| entry(schedule, &cells));
    let mut entries: Vec<Entry<'a>> = entries.collect();
    let means: Vec<Option<f64>> = entries
        .iter()
        .map(|entry| entry.value.filter(|value| value.count == cells.len()))
        .map(|value| value.map(|value| value.mean))
        .collect();
    for (entry, rank) in entries.iter_mut().zip(rank(&means)) {
        entry.rank = rank;
    }
    entries.sort_by_key(|entry| entry.rank.unwrap_or(usize::MAX));
    Board {
        key,
        entries,
        cells,
    }
}

fn board_cell<'a>(pair: &Group<'a>, metric: fn(&Figures) -> f64) -> BoardCell<'a> {
    let schedules = group(&pair.cells, &Axes::of(&[Axis::Schedule]));
    let entries = schedules.iter().map(|seeds| CellEntry {
        schedule: seeds.key.schedule.unwrap_or_default(),
        rank: None,
        value: seeds.summary(metric),
        count: seeds.count(),
        expected_count: seeds.cells.len(),
    });
    let mut entries: Vec<CellEntry<'a>> = entries.collect();
    let means: Vec<Option<f64>> = entries.iter().map(complete).collect();
    for (entry, rank) in entries.iter_mut().zip(rank(&means)) {
        entry.rank = rank;
    }
    entries.sort_by_key(|entry| entry.rank.unwrap_or(usize::MAX));
    BoardCell {
        model: pair.key.model.unwrap_or_default(),
        dataset: pair.key.dataset.unwrap_or_default(),
        entries,
    }
}

/// The mean of a schedule whose seeds are all there.
fn complete(entry: &CellEntry<'_>) -> Option<f64> {
    let value = entry.value.filter(|_| entry.count == entry.expected_count);
    value.map(|value| value.mean)
}

fn entry<'a>(schedule: &'a str, cells: &[BoardCell<'a>]) -> Entry<'a> {
    let own = || {
        let entries = cells.iter().flat_map(|cell| &cell.entries);
        entries.filter(|entry| entry.schedule == schedule)
    };
    let values: Vec<f64> = own().filter_map(complete).collect();
    let ranks: Vec<usize> = own().filter_map(|entry| entry.rank).collect();
    let narrow = |rank: &usize| u32::try_from(*rank).map_or(f64::INFINITY, f64::from);
    let numbers: Vec<f64> = ranks.iter().map(narrow).collect();
    Entry {
        schedule,
        rank: None,
        value: summarise(&values),
        expected_count: cells.len(),
        wins: ranks.iter().filter(|rank| **rank == 1).count(),
        mean_rank: summarise(&numbers).map(|summary| summary.mean),
    }
}

#[cfg(test)]
mod tests {
    use temper_core::curve::Distribution;
    use temper_store::CellCurve;

    use super::*;
    use crate::{
        group::{clean, measure},
        testing::curves,
    };

    fn ranked(curves: &[CellCurve]) -> Vec<Board<'_>> {
        boards(&measure(curves, &Distribution::default()).unwrap(), clean)
    }

    fn places<'a>(board: &Board<'a>) -> Vec<(&'a str, Option<usize>)> {
        let entries = board.entries.iter();
        entries.map(|entry| (entry.schedule, entry.rank)).collect()
    }

    #[test]
    fn schedules_are_ranked_by_the_mean_over_pairs_of_model_and_dataset() {
        let mut cells = curves(&[
            ("fixed", 0, Some([2, 1, 0])),
            ("linear", 0, Some([6, 1, 0])),
            ("two-hinge", 0, Some([9, 1, 0])),
            ("fixed", 0, Some([8, 1, 0])),
            ("linear", 0, Some([6, 1, 0])),
            ("two-hinge", 0, Some([8, 1, 0])),
        ]);
        for cell in &mut cells[3..] {
            cell.dataset = "cub200".into();
        }
        let board = &ranked(&cells)[0];
        let expected = [
            ("two-hinge", Some(1)),
            ("linear", Some(2)),
            ("fixed", Some(3)),
        ];
        assert_eq!(places(board), expected);
        let first = &board.entries[0];
        assert_eq!((first.wins, first.mean_rank), (2, Some(1.0)));
        assert!((first.value.unwrap().mean - 0.85).abs() < 1e-12);
        // On the second dataset the first two are equal.
        let second = &board.cells[1];
        let ranks: Vec<_> = second.entries.iter().map(|entry| entry.rank).collect();
        assert_eq!(ranks, [Some(1), Some(1), Some(3)]);
        assert_eq!(board.entries[2].mean_rank, Some(2.0));
    }

    #[test]
    fn schedule_that_lacks_a_result_has_no_rank_and_comes_last() {
        let mut cells = curves(&[
            ("fixed", 0, Some([2, 1, 0])),
            ("linear", 0, Some([9, 1, 0])),
            ("linear", 1, None),
            ("two-hinge", 0, Some([9, 1, 0])),
            ("fixed", 0, Some([8, 1, 0])),
            ("linear", 0, Some([9, 1, 0])),
        ]);
        for cell in &mut cells[4..] {
            cell.dataset = "cub200".into();
        }
        // Linear lacks a seed on one dataset, two-hinge is not there on the other at all.
        let board = &ranked(&cells)[0];
        let expected = [("fixed", Some(1)), ("linear", None), ("two-hinge", None)];
        assert_eq!(places(board), expected);
        let linear = &board.entries[1];
        assert_eq!((linear.value.unwrap().count, linear.expected_count), (1, 2));
        let entry = board.cells[0]
            .entries
            .iter()
            .find(|entry| entry.schedule == "linear");
        let entry = entry.unwrap();
        assert_eq!(
            (entry.rank, entry.count, entry.expected_count),
            (None, 1, 2)
        );
    }

    #[test]
    fn names_that_share_their_evaluations_are_all_ranked() {
        let mut cells = curves(&[
            ("linear", 0, Some([6, 1, 0])),
            ("two-hinge(0,1)", 0, Some([6, 1, 0])),
            ("fixed", 0, Some([2, 1, 0])),
            ("fixed", 0, Some([2, 1, 0])),
        ]);
        cells[1].job = cells[0].job;
        // The same weights by another name.
        cells[3].job = cells[2].job;
        cells[3].model = "mobile".into();
        let board = &ranked(&cells)[0];
        assert_eq!(board.cells.len(), 2);
        let ranks: Vec<_> = board.cells[0]
            .entries
            .iter()
            .map(|entry| (entry.schedule, entry.rank, entry.count))
            .collect();
        let expected = [
            ("linear", Some(1), 1),
            ("two-hinge(0,1)", Some(1), 1),
            ("fixed", Some(3), 1),
        ];
        assert_eq!(ranks, expected);
        let names: Vec<_> = places(board).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["fixed", "linear", "two-hinge(0,1)"]);
    }
}
