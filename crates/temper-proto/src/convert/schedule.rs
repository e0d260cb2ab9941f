//! Schedules, and the ramps that they become.

use temper_core::{
    Epsilon, Fraction, Violations,
    schedule::{Hinge, Ramp, Schedule},
};

use super::{Parse, parse_enum, parse_text};
use crate::v1::{self, schedule::Kind};

impl Parse for Schedule {
    type Message = v1::Schedule;

    fn parse(message: &v1::Schedule, field: &str, violations: &mut Violations) -> Option<Self> {
        let Some(kind) = &message.kind else {
            violations.add(
                field,
                "must be one of standard, fixed, two_hinge, linear, warm_up, step, uniform, auto, \
                 cosine",
            );
            return None;
        };
        let mut hinge = |text: &str, default: Option<Hinge>, name: &str| {
            let field = format!("{field}.{name}");
            match default {
                Some(default) => parse_text(text, default, &field, violations),
                None => violations.take(&field, text.parse()),
            }
        };
        match kind {
            Kind::Standard(_) => Some(Self::Standard),
            Kind::Fixed(_) => Some(Self::Fixed),
            Kind::Linear(_) => Some(Self::Linear),
            Kind::Uniform(_) => Some(Self::Uniform),
            Kind::TwoHinge(hinges) => {
                let start = hinge(&hinges.start, Some(Hinge::QUARTER), "two_hinge.start");
                let end = hinge(&hinges.end, Some(Hinge::THREE_QUARTERS), "two_hinge.end");
                let (start, end) = (start?, end?);
                Some(Self::TwoHinge { start, end })
            }
            Kind::WarmUp(ramp) => {
                let end = hinge(&ramp.end, None, "warm_up.end")?;
                Some(Self::WarmUp { end })
            }
            Kind::Step(step) => {
                let at = hinge(&step.at, None, "step.at")?;
                Some(Self::Step { at })
            }
            Kind::Cosine(ramp) => {
                let end = hinge(&ramp.end, Some(Hinge::END), "cosine.end")?;
                Some(Self::Cosine { end })
            }
            Kind::Auto(auto) => parse_auto(auto, field, violations),
        }
    }
}

fn parse_auto(
    message: &v1::schedule::Auto,
    field: &str,
    violations: &mut Violations,
) -> Option<Schedule> {
    let Schedule::Auto {
        patience,
        tolerance,
    } = Schedule::auto_default()
    else {
        return None;
    };
    let field = format!("{field}.auto.tolerance");
    Some(Schedule::Auto {
        patience: message.patience.unwrap_or(patience),
        tolerance: parse_text(&message.tolerance, tolerance, &field, violations)?,
    })
}

impl From<&Schedule> for v1::Schedule {
    fn from(schedule: &Schedule) -> Self {
        use v1::schedule as kinds;
        let kind = match schedule {
            Schedule::Standard => Kind::Standard(kinds::Standard {}),
            Schedule::Fixed => Kind::Fixed(kinds::Fixed {}),
            Schedule::Linear => Kind::Linear(kinds::Linear {}),
            Schedule::Uniform => Kind::Uniform(kinds::Uniform {}),
            Schedule::TwoHinge { start, end } => Kind::TwoHinge(kinds::TwoHinge {
                start: start.to_string(),
                end: end.to_string(),
            }),
            Schedule::WarmUp { end } => Kind::WarmUp(kinds::WarmUp {
                end: end.to_string(),
            }),
            Schedule::Step { at } => Kind::Step(kinds::Step { at: at.to_string() }),
            Schedule::Auto {
                patience,
                tolerance,
            } => Kind::Auto(kinds::Auto {
                patience: Some(*patience),
                tolerance: tolerance.to_string(),
            }),
            Schedule::Cosine { end } => Kind::Cosine(kinds::Cosine {
                end: end.to_string(),
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl Parse for Ramp {
    type Message = v1::Ramp;

    fn parse(message: &v1::Ramp, field: &str, violations: &mut Violations) -> Option<Self> {
        let shape = parse_enum(message.shape, &format!("{field}.shape"), violations)?;
        let target = violations.take(
            &format!("{field}.target"),
            message.target.parse::<Epsilon>(),
        )?;
        let mut fraction = |text: &str, name: &str| {
            violations.take(&format!("{field}.{name}"), text.parse::<Fraction>())
        };
        Some(match shape {
            v1::RampShape::Unspecified | v1::RampShape::Hinged => {
                let (start, end) = (
                    fraction(&message.start, "start"),
                    fraction(&message.end, "end"),
                );
                let (start, end) = (start?, end?);
                Self::Hinged { start, end, target }
            }
            v1::RampShape::Cosine => {
                let end = fraction(&message.end, "end")?;
                Self::Cosine { end, target }
            }
            v1::RampShape::Uniform => Self::Uniform { target },
            v1::RampShape::Auto => Self::Auto {
                patience: message.patience,
                tolerance: fraction(&message.tolerance, "tolerance")?,
                target,
            },
        })
    }
}

/// The ramp's message; none for ordinary fine-tuning.
pub(super) fn ramp_message(ramp: &Ramp) -> Option<v1::Ramp> {
    let empty = v1::Ramp {
        target: ramp.target().to_string(),
        ..v1::Ramp::default()
    };
    Some(match ramp {
        Ramp::Standard => return None,
        Ramp::Hinged { start, end, .. } => v1::Ramp {
            start: start.to_string(),
            end: end.to_string(),
            shape: v1::RampShape::Hinged.into(),
            ..empty
        },
        Ramp::Cosine { end, .. } => v1::Ramp {
            end: end.to_string(),
            shape: v1::RampShape::Cosine.into(),
            ..empty
        },
        Ramp::Uniform { .. } => v1::Ramp {
            shape: v1::RampShape::Uniform.into(),
            ..empty
        },
        Ramp::Auto {
            patience,
            tolerance,
            ..
        } => v1::Ramp {
            shape: v1::RampShape::Auto.into(),
            patience: *patience,
            tolerance: tolerance.to_string(),
            ..empty
        },
    })
}
