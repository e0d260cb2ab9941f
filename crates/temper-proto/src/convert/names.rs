//! Resource names (AIP-122).

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// A sweep's name, `sweeps/{uuid}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SweepName(pub Uuid);

/// A job's name, `jobs/{number}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobName(pub i64);

/// A token's name, `tokens/{uuid}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenName(pub Uuid);

/// Text that is not a resource's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a name of the form {form}")]
pub struct ParseNameError {
    text: String,
    form: &'static str,
}

impl FromStr for SweepName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let id = text.strip_prefix("sweeps/").and_then(|id| id.parse().ok());
        id.map(Self).ok_or_else(|| ParseNameError {
            text: text.to_owned(),
            form: "sweeps/{uuid}",
        })
    }
}

impl FromStr for TokenName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let id = text.strip_prefix("tokens/").and_then(|id| id.parse().ok());
        id.map(Self).ok_or_else(|| ParseNameError {
            text: text.to_owned(),
            form: "tokens/{uuid}",
        })
    }
}

impl FromStr for JobName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let number = text
            .strip_prefix("jobs/")
            .and_then(|number| number.parse().ok());
        let number = number.filter(|number| *number > 0);
        number.map(Self).ok_or_else(|| ParseNameError {
            text: text.to_owned(),
            form: "jobs/{number}",
        })
    }
}

impl fmt::Display for SweepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sweeps/{}", self.0)
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tokens/{}", self.0)
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jobs/{}", self.0)
    }
}
