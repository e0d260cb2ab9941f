//! The tables, each by its subject.

mod comparison;
mod costs;
mod inputs;
mod published;
mod results;
mod transfer;

use serde::Serialize;

pub use comparison::comparisons;
pub use costs::costs;
pub use inputs::inputs;
pub use published::published;
pub use results::results;
pub use transfer::transfer;

/// A table.
#[derive(Debug, Default, Serialize)]
pub struct Table {
    pub title: String,
    /// What its marks mean.
    pub note: &'static str,
    /// Names over several columns; none where there are no such.
    pub spans: Vec<Span>,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
}

/// A name over several columns.
#[derive(Debug, Serialize)]
pub struct Span {
    pub text: String,
    pub columns: usize,
}

/// A column's name.
#[derive(Debug, Serialize)]
pub struct Column {
    pub text: &'static str,
    /// Set to the right.
    pub number: bool,
}

/// A row.
#[derive(Debug, Default, Serialize)]
pub struct Row {
    /// Whether it begins a group of rows.
    pub first: bool,
    pub cells: Vec<Cell>,
}

/// A cell.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    pub text: String,
    /// The best of what it is compared with.
    pub best: bool,
    /// There should be a value.
    pub missing: bool,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Columns by their names; one that starts with `>` is of numbers.
fn columns(names: &[&'static str]) -> Vec<Column> {
    let columns = names.iter().map(|name| Column {
        text: name.trim_start_matches('>'),
        number: name.starts_with('>'),
    });
    columns.collect()
}
