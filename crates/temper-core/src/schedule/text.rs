//! Schedules as text: `two-hinge`, `two-hinge(1/4,3/4)`, `auto(5,1/50)`.

use std::{fmt, str::FromStr};

use super::{Hinge, ParseHingeError, Schedule};
use crate::{Fraction, ParseRatioError};

/// Text that names no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseScheduleError {
    /// A kind that there is not.
    #[error(
        "there is no schedule `{0}`: known are standard, fixed, two-hinge(START,END), linear, \
         warm-up(END), step(AT), uniform, auto(PATIENCE,TOLERANCE) and cosine(END)"
    )]
    Unknown(String),
    /// Too many or too few settings in brackets.
    #[error("`{0}` does not have the settings that its kind takes")]
    Settings(String),
    /// A setting that is no place in a run.
    #[error(transparent)]
    Hinge(#[from] ParseHingeError),
    /// A setting that is no share.
    #[error(transparent)]
    Share(#[from] ParseRatioError),
    /// A patience that is no count.
    #[error("`{0}` is no count of epochs")]
    Patience(String),
}

/// The name under which results are grouped: the kind, and settings where they are not the usual.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("standard"),
            Self::Fixed => f.write_str("fixed"),
            Self::Linear => f.write_str("linear"),
            Self::Uniform => f.write_str("uniform"),
            this if *this == Self::two_hinge_default() => f.write_str("two-hinge"),
            Self::TwoHinge { start, end } => write!(f, "two-hinge({start},{end})"),
            Self::WarmUp { end } => write!(f, "warm-up({end})"),
            Self::Step { at } => write!(f, "step({at})"),
            this if *this == Self::auto_default() => f.write_str("auto"),
            Self::Auto {
                patience,
                tolerance,
            } => write!(f, "auto({patience},{tolerance})"),
            Self::Cosine { end } if *end == Hinge::END => f.write_str("cosine"),
            Self::Cosine { end } => write!(f, "cosine({end})"),
        }
    }
}

impl FromStr for Schedule {
    type Err = ParseScheduleError;

    fn from_str(text: &str) -> Result<Self, ParseScheduleError> {
        let text = text.trim();
        let (kind, settings) = match text.split_once('(') {
            None => (text, Vec::new()),
            Some((kind, rest)) => {
                let inner = rest.strip_suffix(')');
                let inner = inner.ok_or_else(|| ParseScheduleError::Settings(text.to_owned()))?;
                (kind.trim(), inner.split(',').map(str::trim).collect())
            }
        };
        Ok(match (kind, settings.as_slice()) {
            ("standard", []) => Self::Standard,
            ("fixed", []) => Self::Fixed,
            ("linear", []) => Self::Linear,
            ("uniform", []) => Self::Uniform,
            ("two-hinge", []) => Self::two_hinge_default(),
            ("two-hinge", [start, end]) => Self::TwoHinge {
                start: start.parse()?,
                end: end.parse()?,
            },
            ("warm-up", [end]) => Self::WarmUp { end: end.parse()? },
            ("step", [at]) => Self::Step { at: at.parse()? },
            ("auto", []) => Self::auto_default(),
            ("auto", [patience, tolerance]) => Self::Auto {
                patience: patience
                    .parse()
                    .map_err(|_| ParseScheduleError::Patience((*patience).to_owned()))?,
                tolerance: tolerance.parse::<Fraction>()?,
            },
            ("cosine", []) => Self::Cosine { end: Hinge::END },
            ("cosine", [end]) => Self::Cosine { end: end.parse()? },
            (
                "standard" | "fixed" | "linear" | "uniform" | "two-hinge" | "warm-up" | "step"
                | "auto" | "cosine",
                _,
            ) => return Err(ParseScheduleError::Settings(text.to_owned())),
            _ => return Err(ParseScheduleError::Unknown(kind.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_they_are_written() {
        for text in [
            "standard",
            "fixed",
            "linear",
            "uniform",
            "two-hinge",
            "two-hinge(12ep,37ep)",
            "two-hinge(0,1/2)",
            "warm-up(3/4)",
            "step(1/4)",
            "auto",
            "auto(3,1/100)",
            "cosine",
            "cosine(1/2)",
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        let spaced = " two-hinge( 0.25 , 3/4 ) ".parse();
        assert_eq!(spaced, Ok(Schedule::two_hinge_default()));
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_reason() {
        for (text, reason) in [
            ("sudden", "there is no schedule `sudden`"),
            ("step", "does not have the settings"),
            ("fixed(1/2)", "does not have the settings"),
            ("two-hinge(1/4", "does not have the settings"),
            ("step(2)", "outside [0, 1]"),
            ("step(xep)", "no count of epochs"),
            ("auto(x,0.1)", "no count of epochs"),
        ] {
            let error = text.parse::<Schedule>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
