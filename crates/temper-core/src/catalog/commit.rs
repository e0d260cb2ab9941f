//! Commits of hub repositories.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A commit of a hub repository: 40 hexadecimal digits, lower case. It names content as a digest
/// does, since git's object names are hashes of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Commit(String);

/// Text that is not a commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a commit: 40 hexadecimal digits in lower case are wanted")]
pub struct ParseCommitError(String);

impl FromStr for Commit {
    type Err = ParseCommitError;

    fn from_str(text: &str) -> Result<Self, ParseCommitError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 40 && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseCommitError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Commit {
    type Error = ParseCommitError;

    fn try_from(text: String) -> Result<Self, ParseCommitError> {
        text.parse()
    }
}

impl From<Commit> for String {
    fn from(commit: Commit) -> Self {
        commit.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Commit {
    /// The 40 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forty_lower_case_digits_are_a_commit() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(commit.parse::<Commit>().unwrap().to_string(), commit);
        for text in [
            "",
            "main",
            "0123456",
            &commit.to_uppercase(),
            &format!("{commit}0"),
        ] {
            assert!(text.parse::<Commit>().is_err(), "{text}");
        }
    }
}
