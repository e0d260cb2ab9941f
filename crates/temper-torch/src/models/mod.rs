//! Image classifiers by their timm names, with timm's parameter names. Pixels stay in `[0, 1]`:
//! normalisation is part of the model, so that a perturbation is measured in pixels.
//!
//! One file a family, built from `layers`; [`Plan`] knows the members, [`Source`] is where their
//! values come from, and [`scripted`] runs modules whose structure is in a file.

pub mod convnext;
mod efficientnet_lite;
pub mod inverted;
mod layers;
mod mobilenetv2;
mod network;
mod plan;
pub mod resnet;
pub mod scripted;
mod source;
pub mod swin;
pub mod vit;

use serde::{Deserialize, Serialize};
use tch::Tensor;
use temper_core::{
    catalog::{Normalisation, Scripted},
    spec::TrainSpec,
};

use self::plan::drop_rates;
pub use self::{
    layers::{Draws, Mode, Padding},
    network::{Head, Network},
    plan::{ARCHITECTURES, Plan},
    source::{Parameter, Source, Unused},
};

/// What is built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// The timm name; of a scripted module whatever it is called.
    pub name: String,
    /// Classes of the head.
    pub classes: u32,
    /// Normalisation of the input.
    pub normalisation: Normalisation,
    /// What precedes every name in the pretrained file (`visual.trunk.` in `open_clip`'s). Files
    /// written here have no prefix.
    #[serde(default)]
    pub prefix: String,
    /// Side of the images in pixels.
    #[serde(default = "usual_size")]
    pub image_size: u32,
    /// Rate of stochastic depth at the last block, in `[0, 1)`; it grows along the blocks. In
    /// training mode only.
    #[serde(default)]
    pub drop_path: f64,
    /// Probability of dropout before the head, in `[0, 1)`. In training mode only.
    #[serde(default)]
    pub dropout: f64,
    /// Given where the structure is that of a scripted module.
    #[serde(default)]
    pub scripted: Option<Scripted>,
}

impl Architecture {
    /// What a training job builds.
    #[must_use]
    pub fn of(spec: &TrainSpec) -> Self {
        Self {
            prefix: spec.model.prefix.clone(),
            image_size: spec.data.image_size,
            drop_path: spec.training.drop_path,
            dropout: spec.training.dropout,
            scripted: spec.model.scripted,
            ..Self::new(
                &spec.model.architecture,
                spec.dataset.classes,
                spec.model.normalisation,
            )
        }
    }

    /// An architecture at the usual size, whose files have no prefix and which drops nothing.
    #[must_use]
    pub fn new(name: &str, classes: u32, normalisation: Normalisation) -> Self {
        Self {
            name: name.to_owned(),
            classes,
            normalisation,
            prefix: String::new(),
            image_size: usual_size(),
            drop_path: 0.0,
            dropout: 0.0,
            scripted: None,
        }
    }
}

/// The part of a model before its head.
trait Backbone {
    /// Features `f32[n, f]` of normalised images `f32[n, 3, s, s]`.
    fn features(&self, x: &Tensor, mode: Mode) -> Tensor;
}

/// What all architectures here were pretrained at.
fn usual_size() -> u32 {
    224
}
