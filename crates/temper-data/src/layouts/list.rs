//! A list of one's own: a CSV file (RFC 4180, in UTF-8) with a header and the columns `path`
//! (relative to the dataset's folder), `label` and `split` in any order; other columns are passed
//! over. Labels are all whole numbers from 0, or class names, which are numbered in their byte
//! order. Splits are `train`, `validation` (or `val`) and `test`. Samples are in the list's order.

use std::collections::BTreeSet;

use super::{
    listing::{Lister, Listing},
    root::Root,
};
use crate::{DataError, Place, split::Part};

/// A line of the list.
struct Row {
    path: String,
    label: String,
    part: Part,
    place: Place,
}

/// Reads the list.
pub(super) fn read(root: &Root, list: Option<&str>, classes: u32) -> Result<Listing, DataError> {
    let list = list.ok_or_else(|| {
        let reason = "an entry of the layout `list` names its list: `list = \"…\"`";
        DataError::layout(root.folder(), reason)
    })?;
    let mut lister = Lister::new(root, classes);
    let (path, bytes) = lister.list(list)?;
    let rows = rows(&path, &bytes)?;
    let numbers: Option<Vec<i128>> = rows.iter().map(|row| row.label.parse().ok()).collect();
    let labels = match numbers {
        Some(numbers) => numbers,
        None => numbered(&path, &rows, classes)?,
    };
    for (row, label) in rows.iter().zip(labels) {
        lister.add(row.part, &row.path, label, &row.place)?;
    }
    Ok(lister.finish())
}

/// Numbers of class names.
fn numbered(path: &std::path::Path, rows: &[Row], classes: u32) -> Result<Vec<i128>, DataError> {
    let names: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    if u32::try_from(names.len()) != Ok(classes) {
        let shown: Vec<&str> = names.iter().copied().take(5).collect();
        let reason = format!(
            "its labels are {} different names (`{}`, …), not {classes}",
            names.len(),
            shown.join("`, `")
        );
        return Err(DataError::layout(path, reason));
    }
    let names: Vec<&str> = names.into_iter().collect();
    let number = |row: &Row| names.partition_point(|name| *name < row.label.as_str()) as i128;
    Ok(rows.iter().map(number).collect())
}

fn rows(path: &std::path::Path, bytes: &[u8]) -> Result<Vec<Row>, DataError> {
    let fault = || DataError::undecodable(path, "it is no CSV file in UTF-8");
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let header = reader.headers().map_err(fault())?.clone();
    let column = |name: &str| {
        let found = header.iter().position(|column| column == name);
        found.ok_or_else(|| {
            let found = header.iter().collect::<Vec<_>>().join("`, `");
            DataError::layout(path, format!("it has no column `{name}`, but `{found}`"))
        })
    };
    let (image, label, split) = (column("path")?, column("label")?, column("split")?);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(fault())?;
        let line = record.position().map_or(0, csv::Position::line);
        let place = Place::Line(path.to_owned(), line);
        let part = match &record[split] {
            "train" => Part::Train,
            "validation" | "val" => Part::Validation,
            "test" => Part::Test,
            other => {
                let reason = format!("{place} has the split `{other}`, which is none");
                return Err(DataError::layout(path, reason));
            }
        };
        rows.push(Row {
            path: record[image].to_owned(),
            label: record[label].to_owned(),
            part,
            place,
        });
    }
    Ok(rows)
}
