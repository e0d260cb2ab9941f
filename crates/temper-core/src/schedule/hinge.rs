use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Fraction, ParseRatioError};

/// A place in a run: a share of it, `1/4` or `0.25`, or a count of epochs, `12ep`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Hinge {
    /// A share of the run.
    Share(Fraction),
    /// So many epochs after its start.
    Epochs(u32),
}

/// Text that names no place in a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseHingeError {
    /// Neither a share nor epochs.
    #[error(transparent)]
    Share(#[from] ParseRatioError),
    /// No count before the unit.
    #[error("`{0}` is no count of epochs: write it as 12ep")]
    Epochs(String),
}

const UNIT: &str = "ep";

impl Hinge {
    /// The start of the run.
    pub const START: Self = Self::Share(Fraction::ZERO);
    /// Its end.
    pub const END: Self = Self::Share(Fraction::ONE);
    /// After a quarter of it.
    pub const QUARTER: Self = Self::Share(Fraction::QUARTER);
    /// After three quarters.
    pub const THREE_QUARTERS: Self = Self::Share(Fraction::THREE_QUARTERS);

    /// The share of a run of `epochs` epochs; none when it is after the run's end.
    #[must_use]
    pub fn share(self, epochs: u32) -> Option<Fraction> {
        match self {
            Self::Share(share) => Some(share),
            Self::Epochs(count) => Fraction::new(count, epochs).ok(),
        }
    }
}

impl fmt::Display for Hinge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => share.fmt(f),
            Self::Epochs(count) => write!(f, "{count}{UNIT}"),
        }
    }
}

impl FromStr for Hinge {
    type Err = ParseHingeError;

    fn from_str(text: &str) -> Result<Self, ParseHingeError> {
        let Some(count) = text.trim().strip_suffix(UNIT) else {
            return Ok(Self::Share(text.parse()?));
        };
        let parsed = count.trim().parse().map(Self::Epochs);
        parsed.map_err(|_| ParseHingeError::Epochs(text.to_owned()))
    }
}

impl TryFrom<String> for Hinge {
    type Error = ParseHingeError;

    fn try_from(text: String) -> Result<Self, ParseHingeError> {
        text.parse()
    }
}

impl From<Hinge> for String {
    fn from(hinge: Hinge) -> Self {
        hinge.to_string()
    }
}
