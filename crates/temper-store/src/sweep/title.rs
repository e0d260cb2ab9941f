//! A job's line for people.

use temper_core::{
    Fraction, attack,
    schedule::{Hinge, Ramp, Schedule},
    spec::{JobSpec, TrainSpec},
};

pub(super) fn job_title(spec: &JobSpec) -> String {
    match spec {
        JobSpec::Train(train) => train_title(train),
        JobSpec::Evaluate(evaluate) => {
            let attack = attack::name(&evaluate.attacks);
            let end = evaluate
                .grid
                .last()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("{}: {attack} up to {end}", train_title(&evaluate.train))
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
    let schedule = match ramp {
        Ramp::Standard => return Schedule::Standard.to_string(),
        Ramp::Hinged { start, end, .. } => {
            if end == Fraction::ZERO {
                Schedule::Fixed
            } else if start == Fraction::ZERO && end == Fraction::ONE {
                Schedule::Linear
            } else {
                let (start, end) = (Hinge::Share(start), Hinge::Share(end));
                Schedule::TwoHinge { start, end }
            }
        }
        Ramp::Cosine { end, .. } => Schedule::Cosine {
            end: Hinge::Share(end),
        },
        Ramp::Uniform { .. } => Schedule::Uniform,
        Ramp::Auto {
            patience,
            tolerance,
            ..
        } => Schedule::Auto {
            patience,
            tolerance,
        },
    };
    format!("{schedule} to {}", ramp.target())
}
