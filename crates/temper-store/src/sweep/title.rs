//! A job's line for people.

use temper_core::{
    Fraction, attack,
    expand::{Job, Layout, Training},
    schedule::{Hinge, Ramp, Schedule},
};

pub(super) fn job_title(layout: &Layout, job: &Job) -> String {
    let train = train_title(&layout.training(job));
    match layout.measurement(job) {
        None => train,
        Some(measurement) => {
            let attack = attack::name(measurement.attacks);
            let end = measurement.grid.last();
            let end = end.map(ToString::to_string).unwrap_or_default();
            format!("{train}: {attack} up to {end}")
        }
    }
}

fn train_title(training: &Training<'_>) -> String {
    format!(
        "{} on {}, {}, seed {}",
        training.model.name,
        training.dataset.name,
        ramp_title(training.ramp),
        training.seed
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
