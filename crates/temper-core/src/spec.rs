//! What a user submits, parsed: the axes of a sweep, its settings, and what a job is made of.

use serde::{Deserialize, Serialize};

use crate::{
    Epsilon, Fraction,
    attack::{Attack, Pgd},
    catalog::{PinnedDataset, PinnedModel},
    rules::{CellMatch, Override},
    schedule::{Ramp, Schedule},
};

/// Raised whenever a change of Temper changes the numbers that a job yields, so that old results
/// are never mixed with new ones. Part of every key; a worker says which ones it can produce.
pub const RESULT_VERSION: u32 = 4;

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
    pub data: DataRequest,
    /// What is measured each epoch.
    pub validation: ValidationSettings,
    /// What is measured of each trained model.
    pub evaluations: Vec<EvaluationSettings>,
    /// Cells that are left out.
    // Absent where there are none, so that specs from before there were rules keep their digests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<CellMatch>,
    /// Cells that take other settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
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
    /// What is minimised.
    pub objective: Objective,
    /// The attack that crafts training batches; its strength comes from the schedule.
    pub attack: Attack,
    /// How many of its steps are taken while the strength is below the target.
    pub attack_steps: AttackSteps,
    /// Samples a forward pass; gradients accumulate to the batch size, which it divides.
    pub micro_batch_size: u32,
    /// Number format of the computation.
    pub precision: Precision,
    /// Length that the gradient of all parameters together is shortened to where it is longer,
    /// above 0; none: as it comes.
    pub gradient_clipping: Option<f64>,
    /// Share of the label's probability that is spread over all classes in the training loss, in
    /// `[0, 1)`; crafting never smooths.
    pub label_smoothing: f64,
    /// How training images are varied.
    pub augmentation: Augmentation,
    /// Stochastic depth (Huang et al. 2016): probability with which the last residual branch is
    /// left out for a sample, falling linearly to 0 at the first; in `[0, 1)`.
    pub drop_path: f64,
    /// Probability with which a feature before the head is set to 0; in `[0, 1)`.
    pub dropout: f64,
}

/// How training images are varied, each by its own random numbers; validation and test never.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Flip images horizontally with probability 1/2.
    pub horizontal_flip: bool,
    /// Change of brightness, contrast and saturation.
    pub color_jitter: ColorJitter,
    /// Rotate by an angle uniform in plus or minus so many degrees, in `[0, 180]`.
    pub rotation_degrees: f64,
}

/// torchvision's `ColorJitter`: each factor is uniform in `[max(0, 1 - v), 1 + v]`, 0 leaves the
/// image alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ColorJitter {
    /// Of the factor that scales pixels.
    pub brightness: f64,
    /// Of the blend with the image's mean grey.
    pub contrast: f64,
    /// Of the blend with the grey image.
    pub saturation: f64,
}

/// Number format of a computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Single precision throughout.
    Fp32,
    /// Matrix products and convolutions in bfloat16; weights, norms, losses and the state of
    /// attacks in single precision. Plain half precision is not offered: a third of its
    /// cross-entropy gradients are zero.
    Bf16,
}

impl Precision {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fp32, Self::Bf16];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        }
    }
}

/// What training minimises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Objective {
    /// The cross-entropy of the adversarial batch alone (Madry et al. 2018).
    Adversarial,
    /// TRADES (Zhang et al. 2019): the cross-entropy of the clean batch, and `beta` times the mean
    /// divergence `KL(p_clean || p_adversarial)`, which crafting maximises too.
    Trades {
        /// Weight of the divergence, above 0; 6 in the paper.
        beta: f64,
    },
}

/// How many steps an attack takes in training while its strength is below the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttackSteps {
    /// As many as at the target.
    #[default]
    Fixed,
    /// In proportion to the strength, rounded up. Where the step is a multiple of epsilon it grows
    /// as steps grow fewer, so that together they go as far.
    Scaled,
}

impl AttackSteps {
    /// Steps of `steps` that are taken at `alpha`, the share of the target strength in `[0, 1]`.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count is between 0 and the count"
    )]
    pub fn at(self, alpha: f64, steps: u32) -> u32 {
        match self {
            Self::Fixed => steps,
            // Less a hair, so that 3/7 of 7 steps are 3 whatever the last bit of the product.
            Self::Scaled => ((f64::from(steps) * alpha - 1e-9).ceil() as u32).clamp(1, steps),
        }
    }
}

/// Which images a sweep asks for, and at which size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRequest {
    /// Side of the square that images are resized to, in pixels.
    pub image_size: u32,
    /// Training images; 0: as many as the dataset's entry says, else all that are left.
    pub train_samples: u32,
    /// Validation images; absent: as many as the dataset's entry says, else 500.
    pub validation_samples: Option<u32>,
    /// Seed of all draws of subsets.
    pub split_seed: u64,
}

/// Which images a job sees, and at which size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSettings {
    /// Side of the square that images are resized to, in pixels.
    pub image_size: u32,
    /// Training images, drawn stratified from the official training split; 0: all that are left.
    pub train_samples: u32,
    /// Validation images, drawn stratified from the official validation split, or where there is
    /// none from the training split before the others.
    pub validation_samples: u32,
    /// Seed of all draws of subsets.
    pub split_seed: u64,
}

/// What is measured each epoch on the validation split: clean accuracy on all of it, and accuracy
/// under an attack at the target strength on its first samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationSettings {
    /// The attack.
    pub attack: Attack,
    /// Samples under attack, the same ones every epoch; 0: none.
    pub robust_samples: u32,
}

/// A measurement of each trained model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSettings {
    /// The attacks, each on what the ones before have not broken; at least one.
    pub attacks: Vec<Attack>,
    /// How accuracy along the grid is counted.
    pub mode: CurveMode,
    /// Which of the training's models is measured.
    pub model: Selection,
    /// Where the epsilon grid ends; the cell's target when absent.
    pub grid_end: Option<Epsilon>,
    /// The grid's step, above 0.
    pub grid_step: Epsilon,
    /// Test images, drawn stratified from the official test split; 0: as many as the dataset's
    /// entry says, else all.
    pub samples: u32,
    /// Seed of the attack's start noise, and of the audit's draw.
    pub seed: u64,
}

/// How accuracy along a grid is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CurveMode {
    /// Every strength by itself. Costs most, and the curve may rise where an attack is weak.
    Exact,
    /// In ascending order; a sample once broken stays broken, since a perturbation that fits a
    /// smaller box fits the larger one too.
    Monotone,
    /// By sample, the least strength that breaks it is sought: first at the grid's end, then by
    /// bisection, about `log2` of the points instead of all of them. It leans to the optimistic side, since a
    /// strength at which the attack fails is taken to be safe together with all below it: by how
    /// much is audited.
    Bisect {
        /// Share of the samples that are measured as in `exact` as well.
        audit: Fraction,
    },
}

/// Which of a training's models.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// Of the last epoch: the paper's.
    #[default]
    Last,
    /// Of the epoch with the greatest robust accuracy on the validation split, the first of equals;
    /// where that is not measured, of the greatest clean accuracy, and without that of the last.
    Best,
}

impl CurveMode {
    /// Bisection with an audit of one sample in twenty.
    #[must_use]
    pub fn bisect_default() -> Self {
        Self::Bisect {
            audit: Fraction::new(1, 20).unwrap_or(Fraction::ZERO),
        }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Monotone => "monotone",
            Self::Bisect { .. } => "bisect",
        }
    }
}

impl Selection {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Best => "best",
        }
    }
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
    /// The attacks, each on what the ones before have not broken; at least one.
    pub attacks: Vec<Attack>,
    /// Which of the training's models is measured.
    pub model: Selection,
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

impl DataRequest {
    /// Validation images where neither sweep nor catalog says how many.
    pub const DEFAULT_VALIDATION: u32 = 500;

    /// What a job on `dataset` draws.
    #[must_use]
    pub fn of(&self, dataset: &PinnedDataset) -> DataSettings {
        let (counts, draw) = (dataset.counts, dataset.draw);
        let validation = draw.validation.or(counts.validation);
        DataSettings {
            image_size: self.image_size,
            train_samples: said(self.train_samples).or(draw.train).unwrap_or(0),
            validation_samples: self
                .validation_samples
                .or(validation)
                .unwrap_or(Self::DEFAULT_VALIDATION),
            split_seed: self.split_seed,
        }
    }
}

impl EvaluationSettings {
    /// Test images of `dataset` that are drawn; 0: all. A pooled dataset's test split is already
    /// of the drawn size.
    #[must_use]
    pub fn samples_of(&self, dataset: &PinnedDataset) -> u32 {
        let rule = dataset.draw.test.filter(|_| dataset.counts.all.is_none());
        said(self.samples).or(rule).unwrap_or(0)
    }
}

/// A count, where 0 says nothing.
fn said(count: u32) -> Option<u32> {
    (count > 0).then_some(count)
}

impl Default for Augmentation {
    /// The paper's, with the angle of its group's public code.
    fn default() -> Self {
        let strength = 0.25;
        Self {
            horizontal_flip: true,
            color_jitter: ColorJitter {
                brightness: strength,
                contrast: strength,
                saturation: strength,
            },
            rotation_degrees: 2.0,
        }
    }
}

impl Augmentation {
    /// Images as they are.
    pub const NONE: Self = Self {
        horizontal_flip: false,
        color_jitter: ColorJitter {
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
        },
        rotation_degrees: 0.0,
    };
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

impl Default for TrainingSettings {
    /// 50 epochs of the paper's augmentation; its 7 steps, of PGD.
    fn default() -> Self {
        Self {
            epochs: 50,
            objective: Objective::Adversarial,
            attack: Attack::Pgd(Pgd::with_steps(7)),
            attack_steps: AttackSteps::Fixed,
            micro_batch_size: 0,
            precision: Precision::Fp32,
            gradient_clipping: None,
            label_smoothing: 0.0,
            augmentation: Augmentation::default(),
            drop_path: 0.0,
            dropout: 0.0,
        }
    }
}

impl Default for EvaluationSettings {
    /// 10 steps of PGD on the last model, along the grid of pixel levels up to the cell's target.
    fn default() -> Self {
        Self {
            attacks: vec![Attack::Pgd(Pgd::with_steps(10))],
            mode: CurveMode::Monotone,
            model: Selection::Last,
            grid_end: None,
            grid_step: Epsilon::LEVEL,
            samples: 0,
            seed: 0,
        }
    }
}

impl Default for ValidationSettings {
    fn default() -> Self {
        Self {
            attack: Attack::Pgd(Pgd::with_steps(10)),
            robust_samples: 512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_steps_follow_the_strength_and_are_at_least_one() {
        let at = |alpha| AttackSteps::Scaled.at(alpha, 7);
        assert_eq!(
            [0.001, 1.0 / 7.0, 0.15, 0.5, 3.0 / 7.0, 0.99, 1.0].map(at),
            [1, 1, 2, 4, 3, 7, 7]
        );
        assert_eq!(AttackSteps::Fixed.at(0.1, 7), 7);
    }
}
