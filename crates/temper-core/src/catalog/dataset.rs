//! Datasets: catalog entries, how they are stored and split, and what a job carries of them.

use serde::{Deserialize, Serialize};

use super::{Commit, content};
use crate::{Digest, key};

/// A labelled image dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetEntry {
    /// Number of classes; labels are `0..classes`.
    pub classes: u32,
    /// Licence or terms of the images.
    pub licence: String,
    /// Whether its terms allow research only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub research_only: bool,
    /// What was and was not checked of this entry, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Images that each official split must hold.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub counts: Counts,
    /// What a job draws when its sweep does not say.
    #[serde(default, skip_serializing_if = "Draw::is_empty")]
    pub draw: Draw,
    /// The archives of the dataset's authors, unpacked below a folder root: preferred where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Original>,
    /// Where the images are and how to read them.
    pub source: Source,
}

/// Images that each official split must hold; what is absent is not checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Of the training split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<u32>,
    /// Of the official validation split; present only where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<u32>,
    /// Of the test split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<u32>,
    /// Of a dataset without official splits, in all: `draw.test` of them become its test split, by
    /// a stratified draw that is the same for every sweep, and the rest its training split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<u32>,
}

/// Images that a job draws of each split, stratified, when its sweep does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draw {
    /// Of the training split, after validation was drawn; absent: all that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<u32>,
    /// Of the official validation split, or of the training split where there is none; absent: the
    /// whole official one, or 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<u32>,
    /// Of the test split; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<u32>,
}

/// A dataset as its authors ship it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Original {
    /// How the folder is laid out.
    pub layout: Layout,
    /// Path relative to one of the worker's configured roots.
    pub path: String,
}

/// Where a dataset's images are and how to read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// The IDX format of MNIST and its kin, gzipped: an image file and a label file a split.
    Idx {
        /// Hub repository `owner/name`, looked up below every mirror root's `datasets/`, else on
        /// the hub.
        repository: String,
        /// Branch, tag or commit of the repository; `main` where nothing is said. A commit pins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<String>,
        /// Images of the training split, `u8[n, h, w]`.
        train_images: File,
        /// Labels of the training split, `u8[n]`.
        train_labels: File,
        /// Images of the test split.
        test_images: File,
        /// Labels of the test split.
        test_labels: File,
    },
    /// Parquet shards as on the hub: a column with the encoded image, one with the label. A path
    /// may have one `*`, which stands for all files that fit, in the order of their names, and is
    /// resolved when the entry is pinned.
    Parquet {
        /// Hub repository `owner/name`.
        repository: String,
        /// Branch, tag or commit of the repository; `main` where nothing is said. A commit pins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<String>,
        /// Shards of the training split, in order.
        train: Vec<File>,
        /// Shards of the official validation split, in order; none where there is no such split.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        validation: Vec<File>,
        /// Shards of the test split, in order.
        #[serde(default)]
        test: Vec<File>,
        /// Name of the column with the encoded image: a struct with the field `bytes`, or bytes.
        image_column: String,
        /// Name of the label column: integers from 0, or class names.
        label_column: String,
    },
    /// Image files below a folder.
    Folder {
        /// Path relative to one of the worker's configured roots.
        path: String,
        /// How the folder is laid out.
        #[serde(default, skip_serializing_if = "Layout::is_default")]
        layout: Layout,
        /// Of the layout `list`: the list's path within the folder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        list: Option<String>,
        /// SHA-256 over the sorted list of the files' digests and relative paths.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest: Option<Digest>,
    },
}

/// How a folder of images is laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// `train/<class>/<image>`, `test/<class>/<image>` and, where there is one,
    /// `validation/<class>/<image>`; classes are numbered in the byte order of their names.
    #[default]
    ClassFolders,
    /// A CSV file with the columns path, label and split (`train`, `validation`, `test`).
    List,
    /// CUB-200-2011 as unpacked: `images.txt`, `image_class_labels.txt`, `train_test_split.txt`.
    Cub200,
    /// Stanford Dogs: `Images/` and `train_list.mat`, `test_list.mat`.
    StanfordDogs,
    /// `256_ObjectCategories/<number>.<class>/<image>`, without splits.
    Caltech256,
    /// Stanford Cars: `cars_train/`, `cars_test/`, `devkit/cars_train_annos.mat`,
    /// `cars_test_annos_withlabels.mat`.
    StanfordCars,
    /// FGVC-Aircraft, variants: `data/images/` and `data/images_variant_{train,val,test}.txt`.
    FgvcAircraft,
}

/// A file of a repository and the digest of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Path within the repository.
    pub path: String,
    /// SHA-256 of the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// A dataset whose content is known throughout: what a job names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedDataset {
    /// Catalog name.
    pub name: String,
    /// Number of classes.
    pub classes: u32,
    /// Images that each official split must hold.
    #[serde(default)]
    pub counts: Counts,
    /// What a job draws when its sweep does not say.
    #[serde(default)]
    pub draw: Draw,
    /// Where and how; pinned.
    pub source: Source,
}

impl DatasetEntry {
    /// The entry under `name` as a job carries it; none unless its content is known.
    #[must_use]
    pub fn pinned(&self, name: &str) -> Option<PinnedDataset> {
        self.source.is_pinned().then(|| PinnedDataset {
            name: name.to_owned(),
            classes: self.classes,
            counts: self.counts,
            draw: self.draw,
            source: self.source.clone(),
        })
    }
}

impl Source {
    /// The hub repository and its revision; none for a folder.
    #[must_use]
    pub fn repository(&self) -> Option<(&str, Option<&str>)> {
        match self {
            Self::Idx {
                repository,
                revision,
                ..
            }
            | Self::Parquet {
                repository,
                revision,
                ..
            } => Some((repository, revision.as_deref())),
            Self::Folder { .. } => None,
        }
    }

    /// The commit that the source names, if its revision is one.
    #[must_use]
    pub fn commit(&self) -> Option<Commit> {
        self.repository()?.1?.parse().ok()
    }

    /// Names the commit.
    pub fn set_commit(&mut self, commit: &Commit) {
        if let Self::Idx { revision, .. } | Self::Parquet { revision, .. } = self {
            *revision = Some(commit.to_string());
        }
    }

    /// The files of a hub repository, in a fixed order; none for a folder.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        let files: Vec<&File> = match self {
            Self::Idx {
                train_images,
                train_labels,
                test_images,
                test_labels,
                ..
            } => vec![train_images, train_labels, test_images, test_labels],
            Self::Parquet {
                train,
                validation,
                test,
                ..
            } => train.iter().chain(validation).chain(test).collect(),
            Self::Folder { .. } => Vec::new(),
        };
        files.into_iter()
    }

    /// The lists of files that a source has, each of which may hold patterns; none for a folder.
    pub fn file_lists_mut(&mut self) -> impl Iterator<Item = &mut Vec<File>> {
        let lists = match self {
            Self::Parquet {
                train,
                validation,
                test,
                ..
            } => vec![train, validation, test],
            Self::Idx { .. } | Self::Folder { .. } => Vec::new(),
        };
        lists.into_iter()
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
            } => vec![train_images, train_labels, test_images, test_labels],
            Self::Parquet {
                train,
                validation,
                test,
                ..
            } => train.iter_mut().chain(validation).chain(test).collect(),
            Self::Folder { .. } => Vec::new(),
        };
        files.into_iter()
    }

    /// Identities of the files' bytes, in order; none where one is not known.
    pub(crate) fn contents(&self) -> Option<Vec<Digest>> {
        let Some((repository, _)) = self.repository() else {
            let Self::Folder { manifest, .. } = self else {
                return None;
            };
            return Some(vec![(*manifest)?]);
        };
        let commit = self.commit();
        let identity = |file: &File| {
            let known = file.sha256.is_some() || (commit.is_some() && !file.is_pattern());
            known.then(|| content(repository, commit.as_ref(), &file.path, file.sha256))
        };
        self.files().map(identity).collect()
    }

    fn is_pinned(&self) -> bool {
        self.contents().is_some()
    }
}

impl File {
    /// Whether the path stands for all files that fit.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.path.contains('*')
    }

    /// Whether the path, which may have one `*`, fits `path`.
    #[must_use]
    pub fn fits(&self, path: &str) -> bool {
        match self.path.split_once('*') {
            None => self.path == path,
            Some((start, end)) => {
                path.len() >= start.len() + end.len()
                    && path.starts_with(start)
                    && path.ends_with(end)
            }
        }
    }
}

impl Layout {
    /// The name in catalogs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClassFolders => "class-folders",
            Self::List => "list",
            Self::Cub200 => "cub200",
            Self::StanfordDogs => "stanford-dogs",
            Self::Caltech256 => "caltech256",
            Self::StanfordCars => "stanford-cars",
            Self::FgvcAircraft => "fgvc-aircraft",
        }
    }

    /// Every layout.
    pub const ALL: [Self; 7] = [
        Self::ClassFolders,
        Self::List,
        Self::Cub200,
        Self::StanfordDogs,
        Self::Caltech256,
        Self::StanfordCars,
        Self::FgvcAircraft,
    ];

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the form that serde calls"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Counts {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Draw {
    fn is_empty(&self) -> bool {
        *self == Self::default()
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

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn is_false(value: &bool) -> bool {
    !value
}
