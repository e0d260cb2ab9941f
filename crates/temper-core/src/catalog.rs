//! The names that a sweep may use, and what they stand for: weights and datasets with their
//! digests. An entry without digests is known but cannot be used until it is pinned, because a
//! key without digests would say nothing about the bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

/// A pretrained image classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Architecture that temper-torch builds, by its timm name.
    pub architecture: String,
    /// Hub repository `owner/name`, looked up below every mirror root's `models/`.
    pub repository: String,
    /// The safetensors file within the repository.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: Option<Digest>,
    /// Normalisation, part of the model: pixels stay in `[0, 1]`.
    pub normalisation: Normalisation,
    /// How images are prepared where the pretrained head itself is evaluated.
    pub eval_transform: Option<EvalTransform>,
    /// Licence of the weights (SPDX identifier).
    pub licence: String,
}

/// Per-channel `(pixel - mean) / std`, on pixels in `[0, 1]`, channels red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Means.
    pub mean: [f64; 3],
    /// Standard deviations, above 0.
    pub std: [f64; 3],
}

/// Bicubic resize of the short side, then a centre crop: timm's usual evaluation transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalTransform {
    /// Short side after the resize, in pixels.
    pub resize: u32,
    /// Side of the square centre crop, in pixels.
    pub crop: u32,
}

/// A labelled image dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetEntry {
    /// Number of classes; labels are `0..classes`.
    pub classes: u32,
    /// Licence or terms of the images.
    pub licence: String,
    /// Where the images are and how to read them.
    pub source: Source,
}

/// Where a dataset's images are and how to read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// The IDX format of MNIST and its kin, gzipped: an image file and a label file a split.
    Idx {
        /// Hub repository `owner/name`, looked up below every mirror root's `datasets/`.
        repository: String,
        /// Images of the training split, `u8[n, h, w]`.
        train_images: File,
        /// Labels of the training split, `u8[n]`.
        train_labels: File,
        /// Images of the test split.
        test_images: File,
        /// Labels of the test split.
        test_labels: File,
    },
    /// Parquet shards as on the hub: a struct column with the encoded image, an integer label.
    Parquet {
        /// Hub repository `owner/name`.
        repository: String,
        /// Shards of the training split, in order.
        train: Vec<File>,
        /// Shards of the test split, in order.
        test: Vec<File>,
        /// Name of the struct column whose `bytes` field holds the encoded image.
        image_column: String,
        /// Name of the label column.
        label_column: String,
    },
    /// `train/<class>/<image>` and `test/<class>/<image>` below a folder; classes are numbered in
    /// the byte order of their names.
    Folder {
        /// Path relative to one of the worker's configured roots.
        path: String,
        /// SHA-256 over the sorted list of the files' digests and relative paths.
        manifest: Option<Digest>,
    },
}

/// A file of a repository and the digest of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Path within the repository.
    pub path: String,
    /// SHA-256 of the bytes.
    pub sha256: Option<Digest>,
}

/// A model with a digest: what a job names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PinnedModel {
    /// Catalog name.
    pub name: String,
    /// Architecture, by its timm name.
    pub architecture: String,
    /// Hub repository.
    pub repository: String,
    /// File within the repository.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Normalisation.
    pub normalisation: Normalisation,
}

/// A dataset with digests throughout: what a job names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedDataset {
    /// Catalog name.
    pub name: String,
    /// Number of classes.
    pub classes: u32,
    /// Where and how; every digest in it is present.
    pub source: Source,
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
    /// The entry has no digest.
    #[error(
        "{kind} `{name}` is not pinned to a digest: run `temper-worker pin` where its files are \
         and give its output to the coordinator as TEMPER_CATALOG"
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
    /// A path that could leave its root.
    #[error("{}: {}", .0.field, .0.description)]
    Path(FieldViolation),
}

const BUILT_IN_MODELS: &str = include_str!("../../../catalog/models.toml");
const BUILT_IN_DATASETS: &str = include_str!("../../../catalog/datasets.toml");

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
    /// When it is not TOML of the catalog's shape, or a path in it could leave its root.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        let catalog: Self =
            toml::from_str(text).map_err(|error| CatalogError::Malformed(error.to_string()))?;
        for (field, path) in catalog.paths() {
            if !is_relative_and_plain(path) {
                let description = format!("`{path}` must be a relative path without `..`");
                return Err(CatalogError::Path(FieldViolation { field, description }));
            }
        }
        Ok(catalog)
    }

    /// Takes over every entry of `other`; of two with one name the other's wins.
    pub fn overlay(&mut self, other: Self) {
        self.models.extend(other.models);
        self.datasets.extend(other.datasets);
    }

    /// The model of that name, with its digest.
    ///
    /// # Errors
    /// When there is none, or it is not pinned.
    pub fn model(&self, name: &str) -> Result<PinnedModel, LookupError> {
        let entry = self
            .models
            .get(name)
            .ok_or_else(|| unknown("model", name, self.models.keys()))?;
        let sha256 = entry.sha256.ok_or_else(|| unpinned("model", name))?;
        Ok(PinnedModel {
            name: name.to_owned(),
            architecture: entry.architecture.clone(),
            repository: entry.repository.clone(),
            file: entry.file.clone(),
            sha256,
            normalisation: entry.normalisation,
        })
    }

    /// The dataset of that name, with its digests.
    ///
    /// # Errors
    /// When there is none, or it is not pinned.
    pub fn dataset(&self, name: &str) -> Result<PinnedDataset, LookupError> {
        let entry = self
            .datasets
            .get(name)
            .ok_or_else(|| unknown("dataset", name, self.datasets.keys()))?;
        if !entry.source.is_pinned() {
            return Err(unpinned("dataset", name));
        }
        let (name, classes, source) = (name.to_owned(), entry.classes, entry.source.clone());
        Ok(PinnedDataset {
            name,
            classes,
            source,
        })
    }

    fn paths(&self) -> Vec<(String, &str)> {
        let mut paths = Vec::new();
        for (name, entry) in &self.models {
            paths.push((
                format!("models.{name}.repository"),
                entry.repository.as_str(),
            ));
            paths.push((format!("models.{name}.file"), entry.file.as_str()));
        }
        for (name, entry) in &self.datasets {
            let field = format!("datasets.{name}.source");
            match &entry.source {
                Source::Folder { path, .. } => paths.push((field, path)),
                Source::Idx { repository, .. } | Source::Parquet { repository, .. } => {
                    paths.push((field.clone(), repository));
                    paths.extend(
                        entry
                            .source
                            .files()
                            .map(|file| (field.clone(), file.path.as_str())),
                    );
                }
            }
        }
        paths
    }
}

impl Source {
    /// The files of a hub repository, in a fixed order; none for a folder.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        let files: Vec<&File> = match self {
            Self::Idx {
                train_images,
                train_labels,
                test_images,
                test_labels,
                ..
            } => {
                vec![train_images, train_labels, test_images, test_labels]
            }
            Self::Parquet { train, test, .. } => train.iter().chain(test).collect(),
            Self::Folder { .. } => Vec::new(),
        };
        files.into_iter()
    }

    /// The same files, to be changed.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut File> {
        let files: Vec<&mut File> = match self {
            Self::Idx {
                train_images,
                train_labels,
                test_images,
                test_labels,
                ..
            } => {
                vec![train_images, train_labels, test_images, test_labels]
            }
            Self::Parquet { train, test, .. } => train.iter_mut().chain(test).collect(),
            Self::Folder { .. } => Vec::new(),
        };
        files.into_iter()
    }

    fn is_pinned(&self) -> bool {
        match self {
            Self::Folder { manifest, .. } => manifest.is_some(),
            Self::Idx { .. } | Self::Parquet { .. } => {
                self.files().all(|file| file.sha256.is_some())
            }
        }
    }
}

impl PinnedDataset {
    /// The dataset's digest: of all that determines its samples, and of nothing else (neither its
    /// name nor where it lies).
    #[must_use]
    pub fn digest(&self) -> Digest {
        key::dataset_digest(self)
    }
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
                matches!(Catalog::parse(&text), Err(CatalogError::Path(_))),
                "{path}"
            );
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
}
