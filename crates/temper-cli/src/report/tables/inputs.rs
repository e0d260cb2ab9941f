//! What the names of models and datasets stood for.

use temper_proto::v1::{SweepInput, SweepInputKind};

use super::{Cell, Row, Table, columns};
use crate::report::Answers;

/// One table, or none where nothing was noted.
pub fn inputs(answers: &Answers) -> Vec<Table> {
    let inputs = &answers.sweep.inputs;
    if inputs.is_empty() {
        return Vec::new();
    }
    vec![Table {
        title: "Inputs".to_owned(),
        note: "What names stood for when the sweep was submitted.",
        columns: columns(&["kind", "name", "place", "commit", "digest"]),
        rows: inputs.iter().map(row).collect(),
        ..Table::default()
    }]
}

fn row(input: &SweepInput) -> Row {
    let kind = match input.kind() {
        SweepInputKind::Model => "model",
        SweepInputKind::Dataset => "dataset",
        SweepInputKind::Unspecified => "",
    };
    let texts = [
        kind,
        &input.name,
        &input.place,
        &input.commit,
        &input.digest,
    ];
    Row {
        first: false,
        cells: texts.map(Cell::from).into(),
    }
}
