//! What a user submits, parsed: the axes of a sweep, its settings, and what a job is made of.

use serde::{Deserialize, Serialize};

use crate::{
    Epsilon, Fraction,
    catalog::{PinnedDataset, PinnedModel},
    schedule::{Ramp, Schedule},
};

/// Raised whenever a change of Temper changes the numbers that a job yields, so that old results
/// are never mixed with new ones. Part of every key; a worker says which ones it can produce.
pub const RESULT_VERSION: u32 = 1;

/// A sweep: the product of its axes, trained and evaluated alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepSpec {
    /// Catalog names of models.
    pub models: Vec<String>,
    /// Catalog names of datasets.
    pub datasets: Vec<String>,
    /// Epsilon schedules.
    pub schedules: Vec<Schedule>,
    /// Strengths that the schedules ramp up to, and that curves reach.
    pub target_epsilons: Vec<Epsilon>,
    /// Seeds of everything random in a run, below 2^53 (they are JSON numbers).
    pub seeds: Vec<u64>,
    /// Optimiser settings, an axis of their own.
    pub hyperparameters: Vec<Hyperparameters>,
    /// How each cell trains.
    pub training: TrainingSettings,
    /// Which images it sees, and at which size.
    pub data: DataSettings,
    /// What is measured each epoch.
    pub validation: ValidationSettings,
    /// What is measured of each trained model.
    pub evaluations: Vec<EvaluationSettings>,
}

/// `AdamW` (Loshchilov and Hutter 2019) under a cosine learning rate with linear warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Peak learning rate of the pretrained part, above 0.
    pub learning_rate: f64,
    /// Peak learning rate of the fresh head, above 0.
    pub head_learning_rate: f64,
    /// Decoupled weight decay; none on biases and norms.
    pub weight_decay: f64,
    /// Samples an optimiser step.
    pub batch_size: u32,
    /// Share of the steps over which the learning rate rises from 0.
    pub warmup: Fraction,
}

/// How a cell trains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingSettings {
    /// Passes over the training split.
    pub epochs: u32,
    /// The attack that crafts training batches; its strength comes from the schedule.
    pub attack: Pgd,
    /// Samples a forward pass; gradients accumulate to the batch size, which it divides.
    pub micro_batch_size: u32,
    /// Number format of the computation.
    pub precision: Precision,
    /// Flip images horizontally with probability 1/2.
    pub horizontal_flip: bool,
}

/// Number format of a computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Single precision throughout.
    Fp32,
}

/// Projected gradient descent, untargeted, `l_inf`, on the cross-entropy (Madry et al. 2018).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pgd {
    /// Gradient steps, at least 1.
    pub steps: u32,
    /// Step size as a multiple of epsilon, above 0.
    pub relative_step_size: f64,
    /// Start from a uniform draw in the epsilon box instead of the image itself.
    pub random_start: bool,
}

/// Which images, and at which size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSettings {
    /// Side of the square that images are resized to, in pixels.
    pub image_size: u32,
    /// Training images, drawn stratified from the official training split; 0: all that are left.
    pub train_samples: u32,
    /// Validation images, drawn stratified from the official training split before the others.
    pub validation_samples: u32,
    /// Seed of all draws of subsets.
    pub split_seed: u64,
}

/// What is measured each epoch on the validation split: clean accuracy on all of it, and accuracy
/// under an attack at the target strength on its first samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationSettings {
    /// The attack.
    pub attack: Pgd,
    /// Samples under attack, the same ones every epoch; 0: none.
    pub robust_samples: u32,
}

/// A measurement of each trained model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSettings {
    /// The attack.
    pub attack: Pgd,
    /// Where the epsilon grid ends; the cell's target when absent.
    pub grid_end: Option<Epsilon>,
    /// The grid's step, above 0.
    pub grid_step: Epsilon,
    /// Test images, drawn stratified from the official test split; 0: all.
    pub samples: u32,
    /// Seed of the attack's start noise.
    pub seed: u64,
}

/// How accuracy along a grid is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CurveMode {
    /// In ascending order; a sample once broken stays broken, since a perturbation that fits a
    /// smaller box fits the larger one too.
    Monotone,
}

/// A training job: all that determines the trained weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainSpec {
    /// Pretrained weights.
    pub model: PinnedModel,
    /// Images.
    pub dataset: PinnedDataset,
    /// Strength over the run.
    pub ramp: Ramp,
    /// Optimiser.
    pub hyperparameters: Hyperparameters,
    /// Training.
    pub training: TrainingSettings,
    /// Splits and size.
    pub data: DataSettings,
    /// Measurements each epoch.
    pub validation: ValidationSettings,
    /// Seed of the run.
    pub seed: u64,
}

/// An evaluation job: a measurement of what a training job yields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluateSpec {
    /// How the model was trained: tells its architecture, normalisation and images.
    pub train: TrainSpec,
    /// The attack.
    pub attack: Pgd,
    /// Strengths, ascending from 0.
    pub grid: Vec<Epsilon>,
    /// How accuracy is counted along the grid.
    pub mode: CurveMode,
    /// Test images; 0: all.
    pub samples: u32,
    /// Seed of the attack's start noise.
    pub seed: u64,
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum JobSpec {
    /// Fine-tunes.
    Train(TrainSpec),
    /// Measures.
    Evaluate(EvaluateSpec),
}

impl Default for Hyperparameters {
    /// Choices of this project where the paper is silent: batch 64, 1e-4 for the
    /// backbone and 1e-3 for the head, decay 1e-2, 10% warm-up.
    fn default() -> Self {
        Self {
            learning_rate: 1e-4,
            head_learning_rate: 1e-3,
            weight_decay: 1e-2,
            batch_size: 64,
            warmup: Fraction::new(1, 10).unwrap_or(Fraction::ZERO),
        }
    }
}

impl Pgd {
    /// `steps` steps of `2.5 / steps` epsilon from a random start (Madry et al. 2018).
    #[must_use]
    pub fn with_steps(steps: u32) -> Self {
        let relative_step_size = 2.5 / f64::from(steps.max(1));
        Self {
            steps,
            relative_step_size,
            random_start: true,
        }
    }
}

impl Default for ValidationSettings {
    fn default() -> Self {
        Self {
            attack: Pgd::with_steps(10),
            robust_samples: 512,
        }
    }
}
