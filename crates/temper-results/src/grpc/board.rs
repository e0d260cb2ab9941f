//! Rankings.

use temper_core::{Violations, curve::Figures};
use temper_proto::{parse_distribution, v1};
use tonic::Status;

use super::{
    Results, encode,
    request::{Asked, Wanted},
    uncovered,
};
use crate::{
    group::{clean, expected, measure, robust},
    leaderboard::{Board, BoardCell, CellEntry, Entry, boards},
};

pub async fn leaderboard(
    results: &Results,
    request: &v1::LeaderboardRequest,
) -> Result<v1::LeaderboardResponse, Status> {
    let mut violations = Violations::default();
    let metric = metric(request.metric, &mut violations);
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
    Ok(v1::LeaderboardResponse {
        boards: boards(&cells, metric).iter().map(board).collect(),
    })
}

fn metric(number: i32, violations: &mut Violations) -> fn(&Figures) -> f64 {
    use v1::CurveMetric;
    match CurveMetric::try_from(number) {
        Ok(CurveMetric::CleanAccuracy) => clean,
        Ok(CurveMetric::RobustAccuracy) => robust,
        Ok(CurveMetric::Unspecified | CurveMetric::ExpectedRobustness) => expected,
        Err(error) => {
            violations.add("metric", error.to_string());
            expected
        }
    }
}

fn board(board: &Board<'_>) -> v1::Board {
    v1::Board {
        key: Some(encode::key(&board.key)),
        entries: board.entries.iter().map(entry).collect(),
        cells: board.cells.iter().map(cell).collect(),
    }
}

fn entry(entry: &Entry<'_>) -> v1::BoardEntry {
    v1::BoardEntry {
        rank: encode::count(entry.rank.unwrap_or_default()),
        schedule: entry.schedule.to_owned(),
        value: entry.value.map(encode::estimate),
        count: encode::count(entry.value.map_or(0, |value| value.count)),
        expected_count: encode::count(entry.expected_count),
        wins: encode::count(entry.wins),
        mean_rank: entry.mean_rank,
    }
}

fn cell(cell: &BoardCell<'_>) -> v1::BoardCell {
    v1::BoardCell {
        model: cell.model.to_owned(),
        dataset: cell.dataset.to_owned(),
        entries: cell.entries.iter().map(cell_entry).collect(),
    }
}

fn cell_entry(entry: &CellEntry<'_>) -> v1::BoardCellEntry {
    v1::BoardCellEntry {
        rank: encode::count(entry.rank.unwrap_or_default()),
        schedule: entry.schedule.to_owned(),
        value: entry.value.map(encode::estimate),
        count: encode::count(entry.count),
        expected_count: encode::count(entry.expected_count),
    }
}
