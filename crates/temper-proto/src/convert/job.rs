//! Jobs and what they report.

use temper_core::{
    Violations,
    access::Role,
    attack::Attack,
    catalog::{PinnedDataset, PinnedModel},
    curve::Point,
    job::{FailureClass, JobKind, JobState},
    report::{Audit, EpochMetrics, LogLevel, MaskingFlag},
    schedule::Ramp,
    spec::{
        EvaluateSpec, Hyperparameters, JobSpec, Precision, Selection, TrainSpec, TrainingSettings,
        ValidationSettings,
    },
};

use super::{
    Parse,
    attack::measuring,
    schedule::ramp_message,
    settings::{mode_message, parse_mode, parse_selection},
    spec::parse_epsilons,
    try_from_message,
};
use crate::v1::{self, job_spec};

impl Parse for JobSpec {
    type Message = v1::JobSpec;

    fn parse(message: &v1::JobSpec, field: &str, violations: &mut Violations) -> Option<Self> {
        match &message.kind {
            None => {
                violations.add(field, "must be one of train, evaluate");
                None
            }
            Some(job_spec::Kind::Train(train)) => {
                TrainSpec::parse(train, &format!("{field}.train"), violations).map(Self::Train)
            }
            Some(job_spec::Kind::Evaluate(evaluate)) => {
                let field = format!("{field}.evaluate");
                EvaluateSpec::parse(evaluate, &field, violations).map(Self::Evaluate)
            }
        }
    }
}
try_from_message!(JobSpec, JobSpec, "spec");

impl From<&JobSpec> for v1::JobSpec {
    fn from(spec: &JobSpec) -> Self {
        let kind = match spec {
            JobSpec::Train(train) => job_spec::Kind::Train(train.into()),
            JobSpec::Evaluate(evaluate) => job_spec::Kind::Evaluate(evaluate.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl Parse for TrainSpec {
    type Message = v1::TrainSpec;

    fn parse(message: &v1::TrainSpec, field: &str, violations: &mut Violations) -> Option<Self> {
        let name = |part: &str| format!("{field}.{part}");
        let model = PinnedModel::parse_required(message.model.as_ref(), &name("model"), violations);
        let dataset =
            PinnedDataset::parse_required(message.dataset.as_ref(), &name("dataset"), violations);
        let ramp = match &message.ramp {
            None => Some(Ramp::Standard),
            Some(ramp) => Ramp::parse(ramp, &name("ramp"), violations),
        };
        let hyperparameters = Hyperparameters::parse_required(
            message.hyperparameters.as_ref(),
            &name("hyperparameters"),
            violations,
        );
        let training = TrainingSettings::parse_required(
            message.training.as_ref(),
            &name("training"),
            violations,
        );
        let validation = ValidationSettings::parse_or_default(
            message.validation.as_ref(),
            &name("validation"),
            violations,
        );
        Some(Self {
            model: model?,
            dataset: dataset?,
            ramp: ramp?,
            hyperparameters: hyperparameters?,
            training: training?,
            data: (&message.data.unwrap_or_default()).into(),
            validation: validation?,
            seed: message.seed,
        })
    }
}

impl From<&TrainSpec> for v1::TrainSpec {
    fn from(spec: &TrainSpec) -> Self {
        Self {
            model: Some((&spec.model).into()),
            dataset: Some((&spec.dataset).into()),
            ramp: ramp_message(&spec.ramp),
            hyperparameters: Some((&spec.hyperparameters).into()),
            training: Some((&spec.training).into()),
            data: Some((&spec.data).into()),
            validation: Some((&spec.validation).into()),
            seed: spec.seed,
        }
    }
}

impl Parse for EvaluateSpec {
    type Message = v1::EvaluateSpec;

    fn parse(message: &v1::EvaluateSpec, field: &str, violations: &mut Violations) -> Option<Self> {
        let train = TrainSpec::parse_required(
            message.train.as_ref(),
            &format!("{field}.train"),
            violations,
        );
        let mut attacks =
            Attack::parse_all(&message.attacks, &format!("{field}.attacks"), violations);
        if message.attacks.is_empty() {
            attacks.extend(measuring(
                (message.attack.as_ref(), None),
                field,
                violations,
            ));
        }
        let mode = parse_mode((message.mode, &message.audit), field, violations);
        let model = parse_selection(message.model, field, violations);
        Some(Self {
            train: train?,
            attacks,
            model: model?,
            grid: parse_epsilons(&message.grid, &format!("{field}.grid"), violations),
            mode: mode?,
            samples: message.samples,
            seed: message.seed,
        })
    }
}

impl From<&EvaluateSpec> for v1::EvaluateSpec {
    fn from(spec: &EvaluateSpec) -> Self {
        let (mode, audit) = mode_message(spec.mode);
        Self {
            train: Some((&spec.train).into()),
            attack: None,
            attacks: spec.attacks.iter().map(Into::into).collect(),
            mode: mode.into(),
            audit,
            model: v1::Selection::from(spec.model).into(),
            grid: spec.grid.iter().map(ToString::to_string).collect(),
            samples: spec.samples,
            seed: spec.seed,
        }
    }
}

impl From<&v1::EpochMetrics> for EpochMetrics {
    fn from(message: &v1::EpochMetrics) -> Self {
        Self {
            epoch: message.epoch,
            epsilon: message.epsilon,
            learning_rate: message.learning_rate,
            train_loss: message.train_loss,
            validation_accuracy: message.validation_accuracy,
            validation_robust_accuracy: message.validation_robust_accuracy,
            images_per_second: message.images_per_second,
            loading_share: message.loading_share,
        }
    }
}

impl From<&EpochMetrics> for v1::EpochMetrics {
    fn from(value: &EpochMetrics) -> Self {
        Self {
            epoch: value.epoch,
            epsilon: value.epsilon,
            learning_rate: value.learning_rate,
            train_loss: value.train_loss,
            validation_accuracy: value.validation_accuracy,
            validation_robust_accuracy: value.validation_robust_accuracy,
            images_per_second: value.images_per_second,
            loading_share: value.loading_share,
        }
    }
}

impl Parse for Point {
    type Message = v1::CurvePoint;

    fn parse(message: &v1::CurvePoint, field: &str, violations: &mut Violations) -> Option<Self> {
        let epsilon = violations.take(&format!("{field}.epsilon"), message.epsilon.parse())?;
        Some(Self {
            epsilon,
            correct: message.correct,
            samples: message.samples,
        })
    }
}
try_from_message!(Point, CurvePoint, "point");

impl From<&Point> for v1::CurvePoint {
    fn from(point: &Point) -> Self {
        Self {
            epsilon: point.epsilon.to_string(),
            correct: point.correct,
            samples: point.samples,
        }
    }
}

impl From<&v1::Audit> for Audit {
    fn from(message: &v1::Audit) -> Self {
        Self {
            samples: message.samples,
            gap: message.gap,
        }
    }
}

impl From<&Audit> for v1::Audit {
    fn from(value: &Audit) -> Self {
        Self {
            samples: value.samples,
            gap: value.gap,
        }
    }
}

/// Enums that the domain and the protocol share, variant by variant.
macro_rules! same_enum {
    ($core:ident, $message:ident { $($variant:ident),+ $(,)? }) => {
        impl From<$core> for v1::$message {
            fn from(value: $core) -> Self {
                match value { $($core::$variant => Self::$variant),+ }
            }
        }

        impl TryFrom<v1::$message> for $core {
            type Error = Violations;

            fn try_from(message: v1::$message) -> Result<Self, Violations> {
                match message {
                    $(v1::$message::$variant => Ok(Self::$variant),)+
                    v1::$message::Unspecified => {
                        let mut violations = Violations::default();
                        violations.add(stringify!($message), "must be given");
                        Err(violations)
                    }
                }
            }
        }
    };
}

same_enum!(JobKind, JobKind { Train, Evaluate });
same_enum!(
    JobState,
    JobState {
        Queued,
        Leased,
        Succeeded,
        Failed,
        Cancelled
    }
);
same_enum!(
    FailureClass,
    FailureClass {
        Preempted,
        Infrastructure,
        Lost,
        OutOfMemory,
        Diverged,
        BadInput,
        Code,
    }
);
same_enum!(
    LogLevel,
    LogLevel {
        Trace,
        Debug,
        Info,
        Warn,
        Error,
    }
);
same_enum!(
    Role,
    Role {
        Submitter,
        Worker,
        Viewer,
        Admin,
    }
);
same_enum!(Precision, Precision { Fp32, Bf16 });
same_enum!(Selection, Selection { Last, Best });
same_enum!(
    MaskingFlag,
    MaskingFlag {
        ZeroGradients,
        Probabilities,
        Randomised,
        RisingCurve,
        WeakFirstAttack,
    }
);
