//! Pretrained models: catalog entries, and what a job carries of them.

use serde::{Deserialize, Serialize};

use super::{Commit, content};
use crate::Digest;

/// A pretrained image classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Architecture that temper-torch builds, by its timm name; `torchscript` for a scripted module.
    pub architecture: String,
    /// Hub repository `owner/name`, looked up below every mirror root's `models/`, else on the hub.
    pub repository: String,
    /// Branch, tag or commit of the repository; `main` where nothing is said. A commit pins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The safetensors file (TorchScript: the `.pt` file) within the repository.
    pub file: String,
    /// SHA-256 of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// What precedes the architecture's tensor names in the file, for instance `visual.trunk.`;
    /// tensors without it belong to something else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Normalisation, part of the model: pixels stay in `[0, 1]`.
    pub normalisation: Normalisation,
    /// How images are prepared where the pretrained head itself is evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_transform: Option<EvalTransform>,
    /// Licence of the weights (SPDX identifier).
    pub licence: String,
    /// Parameters without the head, in millions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<f64>,
    /// Multiply-adds of a forward pass of one image at 224 pixels a side (TorchScript: at the
    /// entry's size), in billions: what most tables call FLOPs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flops: Option<f64>,
    /// Of a TorchScript module: what its code does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scripted: Option<Scripted>,
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

/// Antialiased resize of the short side, then a centre crop: timm's usual evaluation transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalTransform {
    /// Short side after the resize, in pixels.
    pub resize: u32,
    /// Side of the square centre crop, in pixels.
    pub crop: u32,
    /// How the resize interpolates.
    #[serde(default)]
    pub filter: Filter,
}

/// How a resize interpolates, always antialiased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Triangle filter.
    Bilinear,
    /// Cubic convolution with a = -0.5 (Keys 1981), as Pillow has it.
    #[default]
    Bicubic,
}

/// A TorchScript module that maps normalised images `f32[n, 3, s, s]` to features `f32[n, f]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    /// The one side s that it takes, in pixels.
    pub image_size: u32,
    /// Features f that it yields.
    pub features: u32,
}

/// A model whose content is known: what a job names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PinnedModel {
    /// Catalog name.
    pub name: String,
    /// Architecture, by its timm name.
    pub architecture: String,
    /// Hub repository.
    pub repository: String,
    /// Its commit, where that is known; there is a commit or a digest, or both.
    #[serde(default)]
    pub commit: Option<Commit>,
    /// File within the repository.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: Option<Digest>,
    /// What precedes the architecture's tensor names in the file.
    #[serde(default)]
    pub prefix: String,
    /// Normalisation.
    pub normalisation: Normalisation,
    /// Of a TorchScript module: what its code does not tell.
    #[serde(default)]
    pub scripted: Option<Scripted>,
}

impl Normalisation {
    /// What is wrong with it, by its field: it must make numbers of pixels.
    #[must_use]
    pub fn objections(&self) -> Vec<(&'static str, &'static str)> {
        let means = self.mean.iter().all(|mean| mean.is_finite());
        let deviations = self.std.iter().all(|std| std.is_finite() && *std > 0.0);
        let parts = [
            (means, ("mean", "must be finite numbers")),
            (deviations, ("std", "must be finite numbers above 0")),
        ];
        let wrong = parts.into_iter().filter(|(holds, _)| !holds);
        wrong.map(|(_, objection)| objection).collect()
    }
}

impl ModelEntry {
    /// The commit that the entry names, if its revision is one.
    #[must_use]
    pub fn commit(&self) -> Option<Commit> {
        self.revision.as_deref().and_then(|text| text.parse().ok())
    }

    /// The entry under `name` as a job carries it; none unless a commit or a digest pins it.
    #[must_use]
    pub fn pinned(&self, name: &str) -> Option<PinnedModel> {
        let commit = self.commit();
        (self.sha256.is_some() || commit.is_some()).then(|| PinnedModel {
            name: name.to_owned(),
            architecture: self.architecture.clone(),
            repository: self.repository.clone(),
            commit,
            file: self.file.clone(),
            sha256: self.sha256,
            prefix: self.prefix.clone(),
            normalisation: self.normalisation,
            scripted: self.scripted,
        })
    }
}

impl PinnedModel {
    /// Identity of the file's bytes: their digest where it is known, else one of commit and path.
    #[must_use]
    pub fn content(&self) -> Digest {
        content(
            &self.repository,
            self.commit.as_ref(),
            &self.file,
            self.sha256,
        )
    }
}
