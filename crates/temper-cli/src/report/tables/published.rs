//! What the paper published, beside what was measured here.

use temper_proto::v1::{Estimate, PublishedComparison, PublishedSummary};

use super::{Cell, Row, Table, columns};
use crate::report::{Answers, mean, percent};

const ROWS: &str = "In percent. Published: Tables 1 and 2 of Ngnawé et al., ICLR 2026; never \
    measured here. † printed so in the paper, although no falling curve has these three scalars.";
const MEANS: &str =
    "In percent, over all models and datasets of the paper, rows marked † included.";

/// The rows that the sweep has too, and the paper's means; nothing where there are no such rows.
pub fn published(answers: &Answers) -> Vec<Table> {
    let published = &answers.published;
    if published.comparisons.is_empty() {
        return Vec::new();
    }
    let heads = [
        "model",
        "dataset",
        "schedule",
        "target",
        ">clean",
        ">robust",
        ">expected",
        ">n",
        ">published clean",
        ">published robust",
        ">published expected",
    ];
    let beside = Table {
        title: "Measured here beside published".to_owned(),
        note: ROWS,
        columns: columns(&heads),
        rows: published.comparisons.iter().filter_map(row).collect(),
        ..Table::default()
    };
    let heads = [
        "schedule",
        "target",
        ">clean",
        ">robust",
        ">expected",
        ">rows",
        ">of them †",
    ];
    let means = Table {
        title: "Published means by schedule and target".to_owned(),
        note: MEANS,
        columns: columns(&heads),
        rows: published.summaries.iter().map(summary).collect(),
        ..Table::default()
    };
    vec![beside, means]
}

fn row(comparison: &PublishedComparison) -> Option<Row> {
    let row = comparison.published.as_ref()?;
    let mark = if row.anomalous { " †" } else { "" };
    let own = [
        comparison.clean_accuracy,
        comparison.robust_accuracy,
        comparison.expected_robustness,
    ];
    let published = [
        row.clean_accuracy,
        row.robust_accuracy,
        row.expected_robustness,
    ];
    let names = [&row.model, &row.dataset, &row.schedule, &row.target_epsilon];
    let mut cells: Vec<Cell> = names.map(|name| Cell::from(name.as_str())).into();
    cells.extend(own.map(|value| Cell {
        text: mean(value),
        missing: value.is_none(),
        best: false,
    }));
    cells.push(format!("{}/{}", comparison.count, comparison.expected_count).into());
    cells.extend(published.map(|value| format!("{:.2}{mark}", percent(value)).into()));
    Some(Row {
        first: false,
        cells,
    })
}

fn summary(summary: &PublishedSummary) -> Row {
    let key = summary.key.clone().unwrap_or_default();
    let precise = |value: Option<Estimate>| {
        value.map_or_else(
            || "–".to_owned(),
            |value| format!("{:.2}", percent(value.mean)),
        )
    };
    let texts = [
        key.schedule,
        key.target_epsilon,
        precise(summary.clean_accuracy),
        precise(summary.robust_accuracy),
        precise(summary.expected_robustness),
        summary.count.to_string(),
        summary.anomalous_count.to_string(),
    ];
    Row {
        first: false,
        cells: texts.map(Cell::from).into(),
    }
}
