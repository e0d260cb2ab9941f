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
    /// Mean training cross-entropy over the epoch's samples, as trained on.
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
