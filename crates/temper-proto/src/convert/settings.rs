//! The settings of a sweep, each with its defaults.

use temper_core::{
    Fraction, Violations,
    schedule::Schedule,
    spec::{
        Augmentation, ColorJitter, DataRequest, DataSettings, EvaluationSettings, Hyperparameters,
        Pgd, Precision, TrainingSettings, ValidationSettings,
    },
};

use super::{Parse, parse_text};
use crate::v1::{self, schedule::Kind};

/// Steps of an attack that measures, when the sweep says nothing.
const MEASURING_STEPS: u32 = 10;
/// Steps of an attack that crafts training batches, when the sweep says nothing (the paper's).
const TRAINING_STEPS: u32 = 7;

impl Parse for Schedule {
    type Message = v1::Schedule;

    fn parse(message: &v1::Schedule, field: &str, violations: &mut Violations) -> Option<Self> {
        match &message.kind {
            None => {
                violations.add(field, "must be one of standard, fixed, two_hinge, linear");
                None
            }
            Some(Kind::Standard(_)) => Some(Self::Standard),
            Some(Kind::Fixed(_)) => Some(Self::Fixed),
            Some(Kind::Linear(_)) => Some(Self::Linear),
            Some(Kind::TwoHinge(hinges)) => parse_hinges(hinges, field, violations),
        }
    }
}

fn parse_hinges(
    hinges: &v1::schedule::TwoHinge,
    field: &str,
    violations: &mut Violations,
) -> Option<Schedule> {
    let Schedule::TwoHinge { start, end } = Schedule::two_hinge_default() else {
        return None;
    };
    let name = |part: &str| format!("{field}.two_hinge.{part}");
    let start = parse_text(&hinges.start, start, &name("start"), violations);
    let end = parse_text(&hinges.end, end, &name("end"), violations);
    let (start, end) = (start?, end?);
    violations.require(start <= end, &name("end"), || {
        format!("{end} is before the start, {start}")
    });
    (start <= end).then_some(Schedule::TwoHinge { start, end })
}

impl From<&Schedule> for v1::Schedule {
    fn from(schedule: &Schedule) -> Self {
        let kind = match schedule {
            Schedule::Standard => Kind::Standard(v1::schedule::Standard {}),
            Schedule::Fixed => Kind::Fixed(v1::schedule::Fixed {}),
            Schedule::Linear => Kind::Linear(v1::schedule::Linear {}),
            Schedule::TwoHinge { start, end } => Kind::TwoHinge(v1::schedule::TwoHinge {
                start: start.to_string(),
                end: end.to_string(),
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl Parse for Hyperparameters {
    type Message = v1::Hyperparameters;

    fn parse(
        message: &v1::Hyperparameters,
        field: &str,
        violations: &mut Violations,
    ) -> Option<Self> {
        let default = Self::default();
        let field = format!("{field}.warmup");
        Some(Self {
            learning_rate: message.learning_rate.unwrap_or(default.learning_rate),
            head_learning_rate: message
                .head_learning_rate
                .unwrap_or(default.head_learning_rate),
            weight_decay: message.weight_decay.unwrap_or(default.weight_decay),
            batch_size: message.batch_size.unwrap_or(default.batch_size),
            warmup: parse_text::<Fraction>(&message.warmup, default.warmup, &field, violations)?,
        })
    }
}

impl From<&Hyperparameters> for v1::Hyperparameters {
    fn from(value: &Hyperparameters) -> Self {
        Self {
            learning_rate: Some(value.learning_rate),
            head_learning_rate: Some(value.head_learning_rate),
            weight_decay: Some(value.weight_decay),
            batch_size: Some(value.batch_size),
            warmup: value.warmup.to_string(),
        }
    }
}

/// An attack, with `steps` where the message is silent. Ranges are checked with the whole sweep.
fn pgd(message: Option<&v1::Pgd>, steps: u32) -> Pgd {
    let Some(message) = message else {
        return Pgd::with_steps(steps);
    };
    let default = Pgd::with_steps(message.steps.unwrap_or(steps));
    Pgd {
        steps: message.steps.unwrap_or(steps),
        relative_step_size: message
            .relative_step_size
            .unwrap_or(default.relative_step_size),
        random_start: message.random_start.unwrap_or(default.random_start),
    }
}

/// The attack of a measurement.
pub(super) fn measuring_pgd(message: Option<&v1::Pgd>) -> Pgd {
    pgd(message, MEASURING_STEPS)
}

impl From<&Pgd> for v1::Pgd {
    fn from(value: &Pgd) -> Self {
        Self {
            steps: Some(value.steps),
            relative_step_size: Some(value.relative_step_size),
            random_start: Some(value.random_start),
        }
    }
}

impl Parse for TrainingSettings {
    type Message = v1::TrainingSettings;

    fn parse(
        message: &v1::TrainingSettings,
        field: &str,
        violations: &mut Violations,
    ) -> Option<Self> {
        let precision = match v1::Precision::try_from(message.precision) {
            Ok(v1::Precision::Unspecified | v1::Precision::Fp32) => Precision::Fp32,
            Err(error) => {
                violations.add(format!("{field}.precision"), error.to_string());
                return None;
            }
        };
        Some(Self {
            epochs: message.epochs.unwrap_or(50),
            attack: pgd(message.attack.as_ref(), TRAINING_STEPS),
            micro_batch_size: message.micro_batch_size,
            precision,
            augmentation: augmentation(message),
            drop_path: message.drop_path,
            dropout: message.dropout,
        })
    }
}

/// How training images are varied, the paper's way where the message is silent.
fn augmentation(message: &v1::TrainingSettings) -> Augmentation {
    let default = Augmentation::default();
    let jitter = message.color_jitter.unwrap_or_default();
    let or = default.color_jitter;
    Augmentation {
        horizontal_flip: message.horizontal_flip.unwrap_or(default.horizontal_flip),
        color_jitter: ColorJitter {
            brightness: jitter.brightness.unwrap_or(or.brightness),
            contrast: jitter.contrast.unwrap_or(or.contrast),
            saturation: jitter.saturation.unwrap_or(or.saturation),
        },
        rotation_degrees: message.rotation_degrees.unwrap_or(default.rotation_degrees),
    }
}

impl From<&ColorJitter> for v1::ColorJitter {
    fn from(value: &ColorJitter) -> Self {
        Self {
            brightness: Some(value.brightness),
            contrast: Some(value.contrast),
            saturation: Some(value.saturation),
        }
    }
}

impl From<&TrainingSettings> for v1::TrainingSettings {
    fn from(value: &TrainingSettings) -> Self {
        let precision = match value.precision {
            Precision::Fp32 => v1::Precision::Fp32,
        };
        Self {
            epochs: Some(value.epochs),
            attack: Some((&value.attack).into()),
            micro_batch_size: value.micro_batch_size,
            precision: precision.into(),
            horizontal_flip: Some(value.augmentation.horizontal_flip),
            color_jitter: Some((&value.augmentation.color_jitter).into()),
            rotation_degrees: Some(value.augmentation.rotation_degrees),
            drop_path: value.drop_path,
            dropout: value.dropout,
        }
    }
}

impl From<&v1::DataSettings> for DataRequest {
    fn from(message: &v1::DataSettings) -> Self {
        Self {
            image_size: message.image_size.unwrap_or(224),
            train_samples: message.train_samples,
            validation_samples: message.validation_samples,
            split_seed: message.split_seed,
        }
    }
}

impl From<&DataRequest> for v1::DataSettings {
    fn from(value: &DataRequest) -> Self {
        Self {
            image_size: Some(value.image_size),
            train_samples: value.train_samples,
            validation_samples: value.validation_samples,
            split_seed: value.split_seed,
        }
    }
}

/// Of a job, where every number is said.
impl From<&v1::DataSettings> for DataSettings {
    fn from(message: &v1::DataSettings) -> Self {
        let request = DataRequest::from(message);
        let validation = request.validation_samples;
        Self {
            image_size: request.image_size,
            train_samples: request.train_samples,
            validation_samples: validation.unwrap_or(DataRequest::DEFAULT_VALIDATION),
            split_seed: request.split_seed,
        }
    }
}

impl From<&DataSettings> for v1::DataSettings {
    fn from(value: &DataSettings) -> Self {
        Self {
            image_size: Some(value.image_size),
            train_samples: value.train_samples,
            validation_samples: Some(value.validation_samples),
            split_seed: value.split_seed,
        }
    }
}

impl From<&v1::ValidationSettings> for ValidationSettings {
    fn from(message: &v1::ValidationSettings) -> Self {
        let default = Self::default();
        Self {
            attack: measuring_pgd(message.attack.as_ref()),
            robust_samples: message.robust_samples.unwrap_or(default.robust_samples),
        }
    }
}

impl From<&ValidationSettings> for v1::ValidationSettings {
    fn from(value: &ValidationSettings) -> Self {
        Self {
            attack: Some((&value.attack).into()),
            robust_samples: Some(value.robust_samples),
        }
    }
}

impl Parse for EvaluationSettings {
    type Message = v1::EvaluationSettings;

    fn parse(
        message: &v1::EvaluationSettings,
        field: &str,
        violations: &mut Violations,
    ) -> Option<Self> {
        let end = &message.grid_end;
        let grid_end = if end.is_empty() {
            Some(None)
        } else {
            violations
                .take(&format!("{field}.grid_end"), end.parse())
                .map(Some)
        };
        let step = violations.take("grid_step", temper_core::Epsilon::new(1, 255))?;
        let grid_step = parse_text(
            &message.grid_step,
            step,
            &format!("{field}.grid_step"),
            violations,
        );
        Some(Self {
            attack: measuring_pgd(message.attack.as_ref()),
            grid_end: grid_end?,
            grid_step: grid_step?,
            samples: message.samples,
            seed: message.seed,
        })
    }
}

impl From<&EvaluationSettings> for v1::EvaluationSettings {
    fn from(value: &EvaluationSettings) -> Self {
        Self {
            attack: Some((&value.attack).into()),
            grid_end: value
                .grid_end
                .map(|end| end.to_string())
                .unwrap_or_default(),
            grid_step: value.grid_step.to_string(),
            samples: value.samples,
            seed: value.seed,
        }
    }
}
