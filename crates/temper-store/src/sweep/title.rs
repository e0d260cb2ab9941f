//! A job's line for people.

use temper_core::{
    Fraction,
    schedule::{Ramp, Schedule},
    spec::{JobSpec, TrainSpec},
};

pub(super) fn job_title(spec: &JobSpec) -> String {
    match spec {
        JobSpec::Train(train) => train_title(train),
        JobSpec::Evaluate(evaluate) => {
            let steps = evaluate.attack.steps;
            let end = evaluate
                .grid
                .last()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("{}: pgd-{steps} up to {end}", train_title(&evaluate.train))
        }
    }
}

fn train_title(spec: &TrainSpec) -> String {
    let TrainSpec {
        model,
        dataset,
        seed,
        ..
    } = spec;
    format!(
        "{} on {}, {}, seed {seed}",
        model.name,
        dataset.name,
        ramp_title(spec.ramp)
    )
}

fn ramp_title(ramp: Ramp) -> String {
    match ramp {
        Ramp::Standard => Schedule::Standard.to_string(),
        Ramp::Hinged { start, end, target } => {
            let schedule = if end == Fraction::ZERO {
                Schedule::Fixed
            } else if start == Fraction::ZERO && end == Fraction::ONE {
                Schedule::Linear
            } else {
                Schedule::TwoHinge { start, end }
            };
            format!("{schedule} to {target}")
        }
    }
}
