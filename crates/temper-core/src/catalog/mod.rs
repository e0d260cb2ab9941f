//! The names that a sweep may use, and what they stand for: weights and datasets with what pins
//! their content, a digest or a hub commit. An entry without is known but cannot be used until it
//! is pinned, because a key would say nothing about the bytes.

mod commit;
mod dataset;
mod input;
mod model;
mod pin;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::{
    commit::{Commit, ParseCommitError},
    dataset::{Counts, DatasetEntry, Draw, File, Layout, Original, PinnedDataset, Source},
    input::{Input, InputKind},
    model::{EvalTransform, Filter, ModelEntry, Normalisation, PinnedModel, Scripted},
    pin::{DEFAULT_REVISION, PinError, Snapshot},
};
use crate::{Digest, FieldViolation, key};

/// Catalog names to entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Pretrained models by name.
    #[serde(default)]
    pub models: BTreeMap<String, ModelEntry>,
    /// Datasets by name.
    #[serde(default)]
    pub datasets: BTreeMap<String, DatasetEntry>,
}

/// A catalog name that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The catalog has no such entry.
    #[error("unknown {kind} `{name}`: the catalog has {known}")]
    Unknown {
        /// `model` or `dataset`.
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Neither a digest nor a commit says what the entry's files hold.
    #[error(
        "{kind} `{name}` is not pinned: run `temper catalog pin {name}` where its files are, or \
         where the hub can be reached, and give its output to the coordinator as TEMPER_CATALOG"
    )]
    Unpinned {
        /// `model` or `dataset`.
        kind: &'static str,
        /// The name asked for.
        name: String,
    },
}

/// A catalog file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Not TOML, or not of the catalog's shape.
    #[error("not a catalog: {0}")]
    Malformed(String),
    /// An entry that cannot be right.
    #[error("{}: {}", .0.field, .0.description)]
    Entry(FieldViolation),
}

const BUILT_IN_MODELS: &str = include_str!("../../../../catalog/models.toml");
const BUILT_IN_DATASETS: &str = include_str!("../../../../catalog/datasets.toml");

impl Catalog {
    /// The catalog that is part of this release: `catalog/*.toml`.
    ///
    /// # Errors
    /// Never in a released build: a test reads it.
    pub fn built_in() -> Result<Self, CatalogError> {
        let mut catalog = Self::parse(BUILT_IN_MODELS)?;
        catalog.overlay(Self::parse(BUILT_IN_DATASETS)?);
        Ok(catalog)
    }

    /// Reads a catalog file.
    ///
    /// # Errors
    /// When it is not TOML of the catalog's shape, a path in it could leave its root, or an entry
    /// contradicts itself.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        let catalog: Self =
            toml::from_str(text).map_err(|error| CatalogError::Malformed(error.to_string()))?;
        let refuse = |field: String, description: String| {
            Err(CatalogError::Entry(FieldViolation { field, description }))
        };
        for (field, path) in catalog.paths() {
            if !is_relative_and_plain(path) {
                return refuse(
                    field,
                    format!("`{path}` must be a relative path without `..`"),
                );
            }
        }
        for (name, entry) in &catalog.datasets {
            if let Some(description) = contradiction(entry) {
                return refuse(format!("datasets.{name}"), description);
            }
        }
        for (name, entry) in &catalog.models {
            if (entry.architecture == TORCHSCRIPT) != entry.scripted.is_some() {
                let description = format!(
                    "the architecture `{TORCHSCRIPT}` and the table `scripted` go together"
                );
                return refuse(format!("models.{name}"), description);
            }
            if let Some((part, description)) = entry.normalisation.objections().first() {
                let field = format!("models.{name}.normalisation.{part}");
                return refuse(field, (*description).to_owned());
            }
        }
        Ok(catalog)
    }

    /// Takes over every entry of `other`; of two with one name the other's wins.
    pub fn overlay(&mut self, other: Self) {
        self.models.extend(other.models);
        self.datasets.extend(other.datasets);
    }

    /// The model of that name, its content known.
    ///
    /// # Errors
    /// When there is none, or it is not pinned.
    pub fn model(&self, name: &str) -> Result<PinnedModel, LookupError> {
        let entry = self.models.get(name);
        let entry = entry.ok_or_else(|| unknown("model", name, self.models.keys()))?;
        entry.pinned(name).ok_or_else(|| unpinned("model", name))
    }

    /// The dataset of that name, its content known.
    ///
    /// # Errors
    /// When there is none, or it is not pinned.
    pub fn dataset(&self, name: &str) -> Result<PinnedDataset, LookupError> {
        let entry = self.datasets.get(name);
        let entry = entry.ok_or_else(|| unknown("dataset", name, self.datasets.keys()))?;
        entry.pinned(name).ok_or_else(|| unpinned("dataset", name))
    }

    fn paths(&self) -> Vec<(String, &str)> {
        let mut paths = Vec::new();
        for (name, entry) in &self.models {
            let field = |part: &str| format!("models.{name}.{part}");
            paths.push((field("repository"), entry.repository.as_str()));
            paths.push((field("file"), entry.file.as_str()));
        }
        for (name, entry) in &self.datasets {
            let field = format!("datasets.{name}.source");
            if let Source::Folder { path, list, .. } = &entry.source {
                let both = [Some(path), list.as_ref()].into_iter().flatten();
                paths.extend(both.map(|path| (field.clone(), path.as_str())));
            }
            if let Some((repository, _)) = entry.source.repository() {
                paths.push((field.clone(), repository));
            }
            let files = entry.source.files();
            paths.extend(files.map(|file| (field.clone(), file.path.as_str())));
            if let Some(original) = &entry.original {
                paths.push((format!("datasets.{name}.original"), &original.path));
            }
        }
        paths
    }
}

/// The architecture of models that come as a scripted module.
pub const TORCHSCRIPT: &str = "torchscript";

/// Identity of a file's bytes: their digest where it is known, else one of commit and path.
///
/// Without either it names the place alone; callers make sure that one is there.
fn content(
    repository: &str,
    commit: Option<&Commit>,
    path: &str,
    sha256: Option<Digest>,
) -> Digest {
    sha256.unwrap_or_else(|| key::digest_of(&(repository, commit, path)))
}

fn contradiction(entry: &DatasetEntry) -> Option<String> {
    let Counts {
        train,
        validation,
        test,
        all,
    } = entry.counts;
    let split = [train, validation, test].iter().any(Option::is_some);
    if all.is_some() && split {
        return Some("`counts.all` is for datasets without official splits".to_owned());
    }
    if all.is_some() && entry.draw.test.is_none() {
        return Some("`counts.all` needs `draw.test`: how many become the test split".to_owned());
    }
    if let Some(file) = entry
        .source
        .files()
        .find(|file| file.path.matches('*').count() > 1)
    {
        return Some(format!("`{}` has more than one `*`", file.path));
    }
    if let Source::Folder { layout, list, .. } = &entry.source
        && (*layout == Layout::List) != list.is_some()
    {
        return Some("the layout `list` and the path `list` go together".to_owned());
    }
    None
}

fn unknown<'a>(
    kind: &'static str,
    name: &str,
    known: impl Iterator<Item = &'a String>,
) -> LookupError {
    let known = known.map(String::as_str).collect::<Vec<_>>().join(", ");
    LookupError::Unknown {
        kind,
        name: name.to_owned(),
        known,
    }
}

fn unpinned(kind: &'static str, name: &str) -> LookupError {
    LookupError::Unpinned {
        kind,
        name: name.to_owned(),
    }
}

fn is_relative_and_plain(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', '\0'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn built_in_catalog_reads_and_its_bundled_entries_are_pinned() {
        let catalog = Catalog::built_in().unwrap();
        for name in ["mobilenetv2", "efficientnet-lite0"] {
            assert_eq!(catalog.model(name).unwrap().name, name);
        }
        assert_eq!(catalog.dataset("fashion-mnist").unwrap().classes, 10);
        assert!(matches!(
            catalog.dataset("cifar10"),
            Err(LookupError::Unpinned { .. })
        ));
        let unknown = catalog.model("resnet9000").unwrap_err().to_string();
        assert!(unknown.contains("mobilenetv2"), "{unknown}");
    }

    #[test]
    fn paths_that_could_leave_their_root_are_refused() {
        for path in ["../secret", "/etc", "a//b", "a/./b", ""] {
            let text = format!(
                "[datasets.mine]\nclasses = 2\nlicence = \"none\"\n\
                 source = {{ format = \"folder\", path = \"{path}\" }}"
            );
            assert!(
                matches!(Catalog::parse(&text), Err(CatalogError::Entry(_))),
                "{path}"
            );
        }
    }

    #[test]
    fn entries_that_contradict_themselves_are_refused_by_name() {
        let folder = "source = { format = \"folder\", path = \"mine\" }";
        let cases = [
            ("counts = { all = 10, train = 5 }", folder),
            ("counts = { all = 10 }", folder),
            (
                "",
                "source = { format = \"folder\", path = \"mine\", layout = \"list\" }",
            ),
            (
                "",
                "source = { format = \"parquet\", repository = \"a/b\", image_column = \"i\", \
                 label_column = \"l\", train = [{ path = \"*/*.parquet\" }] }",
            ),
        ];
        for (counts, source) in cases {
            let text =
                format!("[datasets.mine]\nclasses = 2\nlicence = \"none\"\n{counts}\n{source}");
            let error = Catalog::parse(&text).unwrap_err();
            assert!(error.to_string().contains("datasets.mine"), "{error}");
        }
    }

    #[test]
    fn models_whose_normalisation_makes_no_numbers_are_refused_by_field() {
        let catalog = |mean: &str, std: &str| {
            let text = format!(
                "[models.mine]\narchitecture = \"resnet50\"\nrepository = \"a/b\"\n\
                 file = \"m.safetensors\"\nlicence = \"none\"\n\
                 normalisation = {{ mean = [0.5, {mean}, 0.5], std = [0.5, {std}, 0.5] }}"
            );
            Catalog::parse(&text).map(drop)
        };
        assert_eq!(catalog("-0.5", "0.1"), Ok(()));
        for (mean, std, field) in [
            ("nan", "0.1", "mean"),
            ("inf", "0.1", "mean"),
            ("0.5", "0.0", "std"),
            ("0.5", "-0.1", "std"),
            ("0.5", "nan", "std"),
            ("0.5", "inf", "std"),
        ] {
            let error = catalog(mean, std).unwrap_err().to_string();
            let named = format!("models.mine.normalisation.{field}: ");
            assert!(error.starts_with(&named), "{error}");
        }
    }

    #[test]
    fn overlay_wins_over_the_built_in_entry() {
        let mut catalog = Catalog::built_in().unwrap();
        let mut pinned = catalog.clone();
        let source = &mut pinned.datasets.get_mut("cifar10").unwrap().source;
        source
            .files_mut()
            .for_each(|file| file.sha256 = Some(Digest::of(b"bytes")));
        catalog.overlay(pinned);
        assert!(catalog.dataset("cifar10").is_ok());
    }

    #[test]
    fn a_commit_pins_as_a_digest_does_and_a_branch_does_not() {
        let mut entry = Catalog::built_in().unwrap().models["mobilenetv2"].clone();
        let by_digest = entry.pinned("m").unwrap().content();
        entry.sha256 = None;
        entry.revision = Some("main".to_owned());
        assert_eq!(entry.pinned("m"), None);
        entry.revision = Some(COMMIT.to_owned());
        let by_commit = entry.pinned("m").unwrap();
        assert_ne!(by_commit.content(), by_digest);
        entry.file = "other.safetensors".to_owned();
        assert_ne!(entry.pinned("m").unwrap().content(), by_commit.content());
    }

    #[test]
    fn a_pattern_is_not_pinned_by_a_commit() {
        let mut entry = Catalog::built_in().unwrap().datasets["cifar10"].clone();
        entry.source.set_commit(&COMMIT.parse().unwrap());
        let pinned = entry.pinned("cifar10").unwrap();
        for file in entry.source.files_mut() {
            file.path = file.path.replace("00000-of-00001", "*");
            assert!(
                file.fits("plain_text/train-1.parquet") || file.fits("plain_text/test-1.parquet")
            );
        }
        assert_eq!(entry.pinned("cifar10"), None);
        entry
            .source
            .set_commit(&COMMIT.replace('0', "f").parse().unwrap());
        for file in entry.source.files_mut() {
            file.path = file.path.replace('*', "00000-of-00001");
        }
        assert_ne!(entry.pinned("cifar10").unwrap().digest(), pinned.digest());
    }
}
