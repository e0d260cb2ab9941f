//! Lists of lines.

use std::path::{Path, PathBuf};

use super::listing::Lister;
use crate::{DataError, Place};

/// The lines of a list, and where it lies.
pub(super) struct Lines {
    path: PathBuf,
    text: String,
}

impl Lines {
    /// Reads a list, which becomes part of the manifest.
    pub(super) fn open(lister: &mut Lister<'_>, relative: &str) -> Result<Self, DataError> {
        let (path, bytes) = lister.list(relative)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| DataError::damaged(&path, "it is not text in UTF-8"))?;
        Ok(Self { path, text })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The lines that are not empty, without space at either end, and where they are.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, &str)> {
        let lines = self.text.lines().zip(1..);
        let placed = lines.map(|(line, number)| {
            let place = Place::Line(self.path.clone(), number);
            (place, line.trim())
        });
        placed.filter(|(_, line)| !line.is_empty())
    }

    /// The lines as a word and the rest after the first space.
    pub(super) fn pairs(&self) -> impl Iterator<Item = Result<(Place, &str, &str), DataError>> {
        self.iter().map(|(place, line)| {
            let (first, rest) = line.split_once(char::is_whitespace).ok_or_else(|| {
                let reason = format!("{place} is not two words: `{line}`");
                DataError::damaged(&self.path, reason)
            })?;
            Ok((place, first, rest.trim_start()))
        })
    }
}

/// A whole number.
pub(super) fn integer(lines: &Lines, place: &Place, text: &str) -> Result<i128, DataError> {
    text.parse().map_err(|_| {
        let reason = format!("{place} has `{text}` where a whole number must be");
        DataError::damaged(lines.path(), reason)
    })
}
