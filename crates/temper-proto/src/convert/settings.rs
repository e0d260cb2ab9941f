//! The settings of a sweep, each with its defaults.

use temper_core::{
    Epsilon, Fraction, Violations,
    spec::{
        AttackSteps, Augmentation, ColorJitter, CurveMode, DataRequest, DataSettings,
        EvaluationSettings, Hyperparameters, Objective, Precision, Selection, TrainingSettings,
        ValidationSettings,
    },
};

use super::{
    Parse,
    attack::{crafting, evaluating, measuring, split},
    parse_enum, parse_text,
};
use crate::v1;

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

impl Parse for TrainingSettings {
    type Message = v1::TrainingSettings;

    fn parse(
        message: &v1::TrainingSettings,
        field: &str,
        violations: &mut Violations,
    ) -> Option<Self> {
        let default = Self::default();
        let name = |part: &str| format!("{field}.{part}");
        let precision =
            parse_enum(message.precision, &name("precision"), violations).map(|precision| {
                match precision {
                    v1::Precision::Unspecified | v1::Precision::Fp32 => Precision::Fp32,
                    v1::Precision::Bf16 => Precision::Bf16,
                }
            });
        let steps = parse_enum(message.attack_steps, &name("attack_steps"), violations);
        let steps = steps.map(|steps| match steps {
            v1::AttackSteps::Unspecified | v1::AttackSteps::Fixed => AttackSteps::Fixed,
            v1::AttackSteps::Scaled => AttackSteps::Scaled,
        });
        let named = (message.attack.as_ref(), message.apgd.as_ref());
        let attack = crafting(named, field, violations);
        Some(Self {
            epochs: message.epochs.unwrap_or(default.epochs),
            objective: objective(message.objective.as_ref()),
            attack: attack?,
            attack_steps: steps?,
            micro_batch_size: message.micro_batch_size,
            precision: precision?,
            gradient_clipping: message.gradient_clipping,
            label_smoothing: message.label_smoothing,
            augmentation: augmentation(message),
            drop_path: message.drop_path,
            dropout: message.dropout,
        })
    }
}

/// The objective, Madry's where the message is silent.
fn objective(message: Option<&v1::Objective>) -> Objective {
    match message.and_then(|message| message.kind.as_ref()) {
        None | Some(v1::objective::Kind::Adversarial(_)) => Objective::Adversarial,
        Some(v1::objective::Kind::Trades(trades)) => Objective::Trades {
            beta: trades.beta.unwrap_or(6.0),
        },
    }
}

impl From<&Objective> for v1::Objective {
    fn from(value: &Objective) -> Self {
        use v1::objective::{Adversarial, Kind, Trades};
        let kind = match value {
            Objective::Adversarial => Kind::Adversarial(Adversarial {}),
            Objective::Trades { beta } => Kind::Trades(Trades { beta: Some(*beta) }),
        };
        Self { kind: Some(kind) }
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
        let steps = match value.attack_steps {
            AttackSteps::Fixed => v1::AttackSteps::Fixed,
            AttackSteps::Scaled => v1::AttackSteps::Scaled,
        };
        let (attack, apgd) = split(&value.attack);
        Self {
            epochs: Some(value.epochs),
            objective: Some((&value.objective).into()),
            attack,
            apgd,
            attack_steps: steps.into(),
            micro_batch_size: value.micro_batch_size,
            precision: v1::Precision::from(value.precision).into(),
            gradient_clipping: value.gradient_clipping,
            label_smoothing: value.label_smoothing,
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

impl Parse for ValidationSettings {
    type Message = v1::ValidationSettings;

    fn parse(
        message: &v1::ValidationSettings,
        field: &str,
        violations: &mut Violations,
    ) -> Option<Self> {
        let named = (message.attack.as_ref(), message.apgd.as_ref());
        let default = Self::default();
        Some(Self {
            attack: measuring(named, field, violations)?,
            robust_samples: message.robust_samples.unwrap_or(default.robust_samples),
        })
    }
}

impl From<&ValidationSettings> for v1::ValidationSettings {
    fn from(value: &ValidationSettings) -> Self {
        let (attack, apgd) = split(&value.attack);
        Self {
            attack,
            apgd,
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
        let grid_step = parse_text(
            &message.grid_step,
            Epsilon::LEVEL,
            &format!("{field}.grid_step"),
            violations,
        );
        let attacks = evaluating(message, field, violations);
        let mode = parse_mode((message.mode, &message.audit), field, violations);
        let model = parse_selection(message.model, field, violations);
        Some(Self {
            attacks: attacks?,
            mode: mode?,
            model: model?,
            grid_end: grid_end?,
            grid_step: grid_step?,
            samples: message.samples,
            seed: message.seed,
        })
    }
}

/// How a curve is counted; only bisection is audited.
pub(super) fn parse_mode(
    (mode, audit): (i32, &str),
    field: &str,
    violations: &mut Violations,
) -> Option<CurveMode> {
    let CurveMode::Bisect { audit: usual } = CurveMode::bisect_default() else {
        return None;
    };
    let mode = parse_enum(mode, &format!("{field}.mode"), violations)?;
    let field = format!("{field}.audit");
    let bisects = mode == v1::CurveMode::Bisect;
    violations.require(bisects || audit.is_empty(), &field, || {
        "only the mode bisect is audited".to_owned()
    });
    Some(match mode {
        v1::CurveMode::Exact => CurveMode::Exact,
        v1::CurveMode::Unspecified | v1::CurveMode::Monotone => CurveMode::Monotone,
        v1::CurveMode::Bisect => CurveMode::Bisect {
            audit: parse_text(audit, usual, &field, violations)?,
        },
    })
}

/// The fields mode and audit.
pub(super) fn mode_message(mode: CurveMode) -> (v1::CurveMode, String) {
    match mode {
        CurveMode::Exact => (v1::CurveMode::Exact, String::new()),
        CurveMode::Monotone => (v1::CurveMode::Monotone, String::new()),
        CurveMode::Bisect { audit } => (v1::CurveMode::Bisect, audit.to_string()),
    }
}

/// Which model is measured.
pub(super) fn parse_selection(
    number: i32,
    field: &str,
    violations: &mut Violations,
) -> Option<Selection> {
    let selection = parse_enum(number, &format!("{field}.model"), violations)?;
    Some(match selection {
        v1::Selection::Unspecified | v1::Selection::Last => Selection::Last,
        v1::Selection::Best => Selection::Best,
    })
}

impl From<&EvaluationSettings> for v1::EvaluationSettings {
    fn from(value: &EvaluationSettings) -> Self {
        let (mode, audit) = mode_message(value.mode);
        // One attack is written as people write it.
        let (attack, apgd) = match value.attacks.as_slice() {
            [one] => split(one),
            _ => (None, None),
        };
        let attacks = match value.attacks.as_slice() {
            [_] => Vec::new(),
            several => several.iter().map(Into::into).collect(),
        };
        Self {
            attack,
            apgd,
            tier: String::new(),
            attacks,
            mode: mode.into(),
            audit,
            model: v1::Selection::from(value.model).into(),
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
