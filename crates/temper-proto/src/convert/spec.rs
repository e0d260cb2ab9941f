//! Whole sweep specs.

use temper_core::{
    Epsilon, Violations,
    schedule::Schedule,
    spec::{
        Augmentation, EvaluationSettings, Hyperparameters, Pgd, Precision, SweepSpec,
        TrainingSettings,
    },
};

use super::Parse;
use crate::v1;

/// Reads a sweep spec with every default filled in. Whatever cannot be read is added to `violations`
/// under its path below `spec` and left out, so that the rest can be checked in the same pass.
#[must_use]
pub fn parse_sweep_spec(message: &v1::SweepSpec, violations: &mut Violations) -> SweepSpec {
    let training =
        TrainingSettings::parse_or_default(message.training.as_ref(), "spec.training", violations);
    SweepSpec {
        models: message.models.clone(),
        datasets: message.datasets.clone(),
        schedules: Schedule::parse_all(&message.schedules, "spec.schedules", violations),
        target_epsilons: parse_epsilons(
            &message.target_epsilons,
            "spec.target_epsilons",
            violations,
        ),
        seeds: message.seeds.clone(),
        hyperparameters: one_or_more::<Hyperparameters>(
            &message.hyperparameters,
            "spec.hyperparameters",
            violations,
        ),
        training: training.unwrap_or(FALLBACK_TRAINING),
        data: (&message.data.unwrap_or_default()).into(),
        validation: (&message.validation.unwrap_or_default()).into(),
        evaluations: one_or_more::<EvaluationSettings>(
            &message.evaluations,
            "spec.evaluations",
            violations,
        ),
    }
}

/// Stands in for settings that could not be read, so that nothing else is blamed for them.
const FALLBACK_TRAINING: TrainingSettings = TrainingSettings {
    epochs: 1,
    attack: Pgd {
        steps: 1,
        relative_step_size: 1.0,
        random_start: true,
    },
    micro_batch_size: 0,
    precision: Precision::Fp32,
    augmentation: Augmentation::NONE,
    drop_path: 0.0,
    dropout: 0.0,
};

impl From<&SweepSpec> for v1::SweepSpec {
    fn from(spec: &SweepSpec) -> Self {
        Self {
            models: spec.models.clone(),
            datasets: spec.datasets.clone(),
            schedules: spec.schedules.iter().map(Into::into).collect(),
            target_epsilons: spec
                .target_epsilons
                .iter()
                .map(ToString::to_string)
                .collect(),
            seeds: spec.seeds.clone(),
            hyperparameters: spec.hyperparameters.iter().map(Into::into).collect(),
            training: Some((&spec.training).into()),
            data: Some((&spec.data).into()),
            validation: Some((&spec.validation).into()),
            evaluations: spec.evaluations.iter().map(Into::into).collect(),
        }
    }
}

/// Reads a list of strengths.
pub(super) fn parse_epsilons(
    texts: &[String],
    field: &str,
    violations: &mut Violations,
) -> Vec<Epsilon> {
    let elements = texts.iter().enumerate();
    elements
        .filter_map(|(i, text)| violations.take(&format!("{field}[{i}]"), text.parse()))
        .collect()
}

/// Reads a list that means one entry of defaults when it is empty.
fn one_or_more<T: Parse>(
    messages: &[T::Message],
    field: &str,
    violations: &mut Violations,
) -> Vec<T>
where
    T::Message: Default,
{
    if messages.is_empty() {
        T::parse_or_default(None, field, violations)
            .into_iter()
            .collect()
    } else {
        T::parse_all(messages, field, violations)
    }
}
