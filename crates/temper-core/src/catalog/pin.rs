//! Pinning: from what an entry names to what was found there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Catalog, Commit, DatasetEntry, File, ModelEntry, Source};
use crate::Digest;

/// The branch that an entry means when it names none.
pub const DEFAULT_REVISION: &str = "main";

/// What a hub repository, or a copy of it, was found to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit, where it is known.
    pub commit: Option<Commit>,
    /// Files by path, with their SHA-256 where it is known.
    pub files: BTreeMap<String, Option<Digest>>,
}

/// Files that an entry names and the repository lacks, or that nothing pins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// There is no such file, or none that fits the pattern.
    #[error("`{repository}` has no file `{path}`: see that the entry names one")]
    Absent {
        /// The repository.
        repository: String,
        /// Path or pattern.
        path: String,
    },
    /// Neither commit nor digest is known.
    #[error("neither a commit nor a digest of `{path}` of `{repository}` is known")]
    Unknown {
        /// The repository.
        repository: String,
        /// Path.
        path: String,
    },
}

impl ModelEntry {
    /// The revision to look up.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(DEFAULT_REVISION)
    }

    /// The entry with what `snapshot` holds in place of what it lacked.
    ///
    /// # Errors
    /// When the file is not there, or nothing pins it.
    pub fn pinned_to(&self, snapshot: &Snapshot) -> Result<Self, PinError> {
        let digest = snapshot.digest(&self.repository, &self.file)?;
        let commit = snapshot.commit.as_ref().map(ToString::to_string);
        Ok(Self {
            sha256: self.sha256.or(digest),
            revision: commit.or_else(|| self.revision.clone()),
            ..self.clone()
        })
    }
}

impl DatasetEntry {
    /// The entry with what `snapshot` holds of its hub repository in place of what it lacked:
    /// digests, the commit, and files for patterns, in the order of their names.
    ///
    /// # Errors
    /// When a file is not there, or nothing pins it.
    pub fn pinned_to(&self, snapshot: &Snapshot) -> Result<Self, PinError> {
        let mut pinned = self.clone();
        let Some((repository, _)) = self.source.repository() else {
            return Ok(pinned);
        };
        for list in pinned.source.file_lists_mut() {
            *list = snapshot.expand(repository, list)?;
        }
        for file in pinned.source.files_mut() {
            let digest = snapshot.digest(repository, &file.path)?;
            file.sha256 = file.sha256.or(digest);
        }
        if let Some(commit) = &snapshot.commit {
            pinned.source.set_commit(commit);
        }
        // The entry means the hub's form from here on.
        pinned.original = None;
        Ok(pinned)
    }
}

impl Snapshot {
    fn digest(&self, repository: &str, path: &str) -> Result<Option<Digest>, PinError> {
        let (repository, path) = (repository.to_owned(), path.to_owned());
        match self.files.get(&path) {
            None => Err(PinError::Absent { repository, path }),
            Some(None) if self.commit.is_none() => Err(PinError::Unknown { repository, path }),
            Some(digest) => Ok(*digest),
        }
    }

    /// The files of a list, patterns replaced by what fits them.
    fn expand(&self, repository: &str, list: &[File]) -> Result<Vec<File>, PinError> {
        let mut files = Vec::new();
        for file in list {
            if !file.is_pattern() {
                files.push(file.clone());
                continue;
            }
            let before = files.len();
            let fitting = self.files.iter().filter(|(path, _)| file.fits(path));
            files.extend(fitting.map(|(path, sha256)| File {
                path: path.clone(),
                sha256: *sha256,
            }));
            if files.len() == before {
                return Err(PinError::Absent {
                    repository: repository.to_owned(),
                    path: file.path.clone(),
                });
            }
        }
        Ok(files)
    }
}

impl Catalog {
    /// The names among `models` and `datasets` whose entries must be pinned before use, each once:
    /// a name is looked up once, however often it is written.
    #[must_use]
    pub fn unpinned<'a>(
        &self,
        models: &'a [String],
        datasets: &'a [String],
    ) -> (Vec<&'a str>, Vec<&'a str>) {
        let model = |name: &str| {
            let entry = self.models.get(name);
            entry.is_some_and(|entry| entry.pinned("").is_none())
        };
        let dataset = |name: &str| {
            let entry = self.datasets.get(name);
            entry.is_some_and(|entry| entry.pinned("").is_none())
        };
        let among = |names: &'a [String], is_unpinned: &dyn Fn(&str) -> bool| {
            let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
            let unpinned = names.into_iter().filter(|name| is_unpinned(name));
            unpinned.collect()
        };
        (among(models, &model), among(datasets, &dataset))
    }
}

impl Source {
    /// The revision to look up.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.repository()
            .and_then(|(_, revision)| revision)
            .unwrap_or(DEFAULT_REVISION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

    fn snapshot(commit: bool, files: &[(&str, Option<&[u8]>)]) -> Snapshot {
        let file =
            |(path, bytes): &(&str, Option<&[u8]>)| ((*path).to_owned(), bytes.map(Digest::of));
        Snapshot {
            commit: commit.then(|| COMMIT.parse().unwrap()),
            files: files.iter().map(file).collect(),
        }
    }

    #[test]
    fn a_pattern_becomes_its_files_in_the_order_of_their_names() {
        let entry = Catalog::built_in().unwrap().datasets["cub200"].clone();
        let found = snapshot(
            true,
            &[
                ("data/train-00001-of-00002.parquet", Some(b"b")),
                ("data/train-00000-of-00002.parquet", Some(b"a")),
                ("data/test-00000-of-00001.parquet", None),
                ("README.md", None),
            ],
        );
        let pinned = entry.pinned_to(&found).unwrap();
        let paths: Vec<_> = pinned
            .source
            .files()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "data/train-00000-of-00002.parquet",
                "data/train-00001-of-00002.parquet",
                "data/test-00000-of-00001.parquet"
            ]
        );
        assert_eq!(pinned.source.commit().unwrap().to_string(), COMMIT);
        assert!(pinned.pinned("cub200").is_some() && entry.pinned("cub200").is_none());
    }

    #[test]
    fn what_is_absent_or_unknown_is_named() {
        let catalog = Catalog::built_in().unwrap();
        let (model, dataset) = (&catalog.models["resnet50"], &catalog.datasets["cub200"]);
        let empty = snapshot(true, &[]);
        for error in [
            model.pinned_to(&empty).unwrap_err(),
            dataset.pinned_to(&empty).unwrap_err(),
        ] {
            assert!(matches!(error, PinError::Absent { .. }), "{error}");
        }
        let unknown = snapshot(false, &[("model.safetensors", None)]);
        let error = model.pinned_to(&unknown).unwrap_err();
        assert!(matches!(error, PinError::Unknown { .. }), "{error}");
        let known = snapshot(false, &[("model.safetensors", Some(b"weights"))]);
        assert!(
            model
                .pinned_to(&known)
                .unwrap()
                .pinned("resnet50")
                .is_some()
        );
    }

    #[test]
    fn only_entries_without_content_are_unpinned() {
        let catalog = Catalog::built_in().unwrap();
        let names = |list: &[&str]| {
            list.iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let models = names(&["mobilenetv2", "swin-base", "no-such", "swin-base"]);
        let datasets = names(&["fashion-mnist", "cub200"]);
        assert_eq!(
            catalog.unpinned(&models, &datasets),
            (vec!["swin-base"], vec!["cub200"])
        );
    }
}
