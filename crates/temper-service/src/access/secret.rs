use std::{fmt, str::FromStr};

use temper_core::Digest;
use tonic::codegen::http::HeaderValue;

/// By this, tokens are found where they should not be.
const PREFIX: &str = "temper_";
const BYTES: usize = 32;

/// A token's secret: `temper_` and 64 hexadecimal digits, 256 random bits. It is shown to people
/// once, by [`Secret::reveal`], and by nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Text that is no secret. It does not repeat the text, which may be nearly one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no token: one is `temper_` and 64 hexadecimal digits")]
pub struct ParseSecretError;

impl Secret {
    /// A fresh one.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", hex::encode(bytes))))
    }

    /// The secret itself, to be shown once, kept in a file, or sent.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it. A fast hash is right: 256 random bits cannot be guessed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// As the value of `authorization`, marked so that no log shows it.
    pub(crate) fn bearer(&self) -> HeaderValue {
        // Letters, digits and `_` are allowed in a header: it does not come to the other value.
        let value = HeaderValue::try_from(format!("Bearer {}", self.0));
        let mut value = value.unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        value.set_sensitive(true);
        value
    }
}

impl FromStr for Secret {
    type Err = ParseSecretError;

    fn from_str(text: &str) -> Result<Self, ParseSecretError> {
        let digits = text.strip_prefix(PREFIX).ok_or(ParseSecretError)?;
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() == 2 * BYTES && digits.bytes().all(digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseSecretError)
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(temper_…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_read_back_and_do_not_show_themselves() {
        let (first, second) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_ne!(first, second);
        assert_eq!(first.reveal().parse(), Ok(first.clone()));
        assert_eq!(first.digest(), Digest::of(first.reveal().as_bytes()));
        let shown = format!("{first:?} {:?}", first.bearer());
        assert!(!shown.contains(&first.reveal()[7..]), "{shown}");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_repeating_it() {
        let short = format!("temper_{}", "a".repeat(63));
        for text in [
            "",
            "temper_",
            "hunter2",
            &short,
            &format!("{short}G"),
            &format!("{short}A"),
        ] {
            let error = text.parse::<Secret>().unwrap_err().to_string();
            assert!(text.len() < 8 || !error.contains(text), "{error}");
        }
    }
}
