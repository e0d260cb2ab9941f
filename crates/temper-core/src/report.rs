//! What a worker reports of a job.

use serde::{Deserialize, Serialize};

/// One epoch of a training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Which epoch, from 0.
    pub epoch: u32,
    /// Strength of the attack at the epoch's last step, in pixel units of `[0, 1]`.
    pub epsilon: f64,
    /// Learning rate of the pretrained part at the epoch's last step.
    pub learning_rate: f64,
    /// Mean training loss over the epoch's samples, as trained on: of TRADES the whole of it.
    pub train_loss: f64,
    /// Share of the validation split classified rightly, in `[0, 1]`; none for an empty split.
    pub validation_accuracy: Option<f64>,
    /// The same under attack at the target strength, on the first samples of the split; none where
    /// no attack is asked for or the target is 0.
    pub validation_robust_accuracy: Option<f64>,
    /// Training images a second, validation not counted.
    pub images_per_second: f64,
    /// Share of the training time that was spent waiting for images to be loaded, in `[0, 1]`.
    pub loading_share: f64,
}

/// How far a curve by bisection is from an exact one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Samples measured both ways.
    pub samples: u32,
    /// Expected robustness by bisection less that by exact measurement on these samples, in
    /// `[-1, 1]`.
    pub gap: f64,
}

/// A sign that a model hides its gradients, so that an attack on it may be too weak (Carlini et al.
/// 2019), as `AutoAttack` warns of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskingFlag {
    /// Gradients of some samples are zero everywhere.
    ZeroGradients,
    /// Outputs look like probabilities, not logits.
    Probabilities,
    /// Two passes of the same images differ.
    Randomised,
    /// Accuracy is larger under a larger strength.
    RisingCurve,
    /// A later attack breaks many samples that an earlier one does not.
    WeakFirstAttack,
}

impl MaskingFlag {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ZeroGradients,
        Self::Probabilities,
        Self::Randomised,
        Self::RisingCurve,
        Self::WeakFirstAttack,
    ];

    /// As it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ZeroGradients => "zero-gradients",
            Self::Probabilities => "probabilities",
            Self::Randomised => "randomised",
            Self::RisingCurve => "rising-curve",
            Self::WeakFirstAttack => "weak-first-attack",
        }
    }
}

/// How much a line of a log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// The finest steps.
    Trace,
    /// Steps, for who looks for a mistake.
    Debug,
    /// What happens, for everybody.
    Info,
    /// What went wrong and was overcome.
    Warn,
    /// What went wrong.
    Error,
}

impl LogLevel {
    /// All of them, the least first.
    pub const ALL: [Self; 5] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
    ];

    /// As it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The level of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}
