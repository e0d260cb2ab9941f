//! Whole sweep specs.

use temper_core::{
    Epsilon, Violations,
    rules::{CellMatch, Override},
    schedule::Schedule,
    spec::{EvaluationSettings, Hyperparameters, SweepSpec, TrainingSettings, ValidationSettings},
};

use super::Parse;
use crate::v1;

/// Reads a sweep spec with every default filled in. Whatever cannot be read is added to `violations`
/// under its path below `spec` and left out, so that the rest can be checked in the same pass.
#[must_use]
pub fn parse_sweep_spec(message: &v1::SweepSpec, violations: &mut Violations) -> SweepSpec {
    let training =
        TrainingSettings::parse_or_default(message.training.as_ref(), "spec.training", violations);
    let validation = ValidationSettings::parse_or_default(
        message.validation.as_ref(),
        "spec.validation",
        violations,
    );
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
        // Defaults stand in for what could not be read, so that nothing else is blamed for it.
        training: training.unwrap_or_default(),
        data: (&message.data.unwrap_or_default()).into(),
        validation: validation.unwrap_or_default(),
        evaluations: one_or_more::<EvaluationSettings>(
            &message.evaluations,
            "spec.evaluations",
            violations,
        ),
        exclude: CellMatch::parse_all(&message.exclude, "spec.exclude", violations),
        overrides: Override::parse_all(&message.overrides, "spec.overrides", violations),
    }
}

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
            exclude: spec.exclude.iter().map(Into::into).collect(),
            overrides: spec.overrides.iter().map(Into::into).collect(),
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
