//! Files of hub repositories below mirror folders, which are laid out as the hub's repositories:
//! `models/<owner>/<name>/…` and `datasets/<owner>/<name>/…`.

use std::path::{Path, PathBuf};

use temper_core::{Digest, catalog::File};

use crate::{DataError, digests::Digests, split};

/// The mirror folders of this process, searched in order.
#[derive(Debug)]
pub(crate) struct Mirrors(pub(crate) Vec<PathBuf>);

/// A repository within the mirrors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Repository<'a> {
    pub(crate) mirrors: &'a Mirrors,
    pub(crate) digests: &'a Digests,
    /// `models` or `datasets`.
    pub(crate) kind: &'static str,
    /// `owner/name`.
    pub(crate) name: &'a str,
}

impl Repository<'_> {
    /// The first copy of the file that has its digest.
    pub(crate) fn verified(self, file: &File) -> Result<PathBuf, DataError> {
        let expected = file
            .sha256
            .ok_or_else(|| DataError::Unpinned(self.relative(&file.path)))?;
        let mut first_error = None;
        for path in self.copies(&file.path)? {
            match self.verify(&path, expected) {
                Ok(()) => return Ok(path),
                // A damaged copy may hide a good one in the next mirror.
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| self.not_found(&file.path)))
    }

    /// The digest of the first copy of the file.
    pub(crate) fn digest(self, file: &str) -> Result<Digest, DataError> {
        let copy = self
            .copies(file)?
            .next()
            .ok_or_else(|| self.not_found(file))?;
        self.digests.of(&copy)
    }

    fn verify(self, path: &Path, expected: Digest) -> Result<(), DataError> {
        let found = self.digests.of(path)?;
        if found != expected {
            return Err(DataError::DigestMismatch {
                path: path.to_owned(),
                expected,
                found,
            });
        }
        Ok(())
    }

    fn copies(self, file: &str) -> Result<impl Iterator<Item = PathBuf>, DataError> {
        let relative = self.relative(file);
        split::check_relative(Path::new(file))?;
        split::check_relative(&relative)?;
        Ok(self
            .mirrors
            .0
            .iter()
            .map(move |root| root.join(&relative))
            .filter(|path| path.exists()))
    }

    fn relative(self, file: &str) -> PathBuf {
        Path::new(self.kind).join(self.name).join(file)
    }

    fn not_found(self, file: &str) -> DataError {
        DataError::NotFound {
            path: self.relative(file),
            roots: split::listed(&self.mirrors.0),
        }
    }
}
