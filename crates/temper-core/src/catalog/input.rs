//! What the names of a sweep stood for when it was created.

use serde::{Deserialize, Serialize};

use super::{Commit, PinnedDataset, PinnedModel, Source};
use crate::Digest;

/// A catalog name of a sweep and the content that it stood for, for the record: catalogs change, and
/// a branch of the hub moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What the name is one of.
    pub kind: InputKind,
    /// The name.
    pub name: String,
    /// Hub repository, or path below a folder root.
    pub place: String,
    /// Commit of the repository, where it is known.
    pub commit: Option<Commit>,
    /// Identity of the content: a model's as [`PinnedModel::content`], a dataset's as
    /// [`PinnedDataset::digest`].
    pub digest: Digest,
}

/// What a catalog name is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// Of pretrained models.
    Model,
    /// Of datasets.
    Dataset,
}

impl From<&PinnedModel> for Input {
    fn from(model: &PinnedModel) -> Self {
        Self {
            kind: InputKind::Model,
            name: model.name.clone(),
            place: model.repository.clone(),
            commit: model.commit.clone(),
            digest: model.content(),
        }
    }
}

impl From<&PinnedDataset> for Input {
    fn from(dataset: &PinnedDataset) -> Self {
        let place = match &dataset.source {
            Source::Folder { path, .. } => path,
            Source::Idx { repository, .. } | Source::Parquet { repository, .. } => repository,
        };
        Self {
            kind: InputKind::Dataset,
            name: dataset.name.clone(),
            place: place.clone(),
            commit: dataset.source.commit(),
            digest: dataset.digest(),
        }
    }
}
