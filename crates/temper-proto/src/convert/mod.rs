//! Conversions between generated messages and the domain. What a user can write is parsed with every
//! mistake collected; what Temper itself wrote converts by `TryFrom`.

mod access;
mod attack;
pub(crate) mod filter;
mod job;
mod model;
pub(crate) mod names;
pub(crate) mod placement;
pub(crate) mod results;
mod rules;
mod schedule;
mod settings;
pub(crate) mod spec;

use temper_core::Violations;

/// Parses a part of a message under the name of the field that holds it.
trait Parse: Sized {
    /// The message that this is parsed from.
    type Message;

    /// The domain's value, or none with at least one violation added at or below `field`.
    fn parse(message: &Self::Message, field: &str, violations: &mut Violations) -> Option<Self>;

    /// Parses a field that may be absent: its defaults then apply.
    fn parse_or_default(
        message: Option<&Self::Message>,
        field: &str,
        violations: &mut Violations,
    ) -> Option<Self>
    where
        Self::Message: Default,
    {
        match message {
            Some(message) => Self::parse(message, field, violations),
            None => Self::parse(&Self::Message::default(), field, violations),
        }
    }

    /// Parses every element of a repeated field; those that cannot be are left out and blamed.
    fn parse_all(
        messages: &[Self::Message],
        field: &str,
        violations: &mut Violations,
    ) -> Vec<Self> {
        let elements = messages.iter().enumerate();
        elements
            .filter_map(|(i, m)| Self::parse(m, &format!("{field}[{i}]"), violations))
            .collect()
    }

    /// Parses a message that must be there.
    fn parse_required(
        message: Option<&Self::Message>,
        field: &str,
        violations: &mut Violations,
    ) -> Option<Self> {
        if message.is_none() {
            violations.add(field, "must be given");
        }
        Self::parse(message?, field, violations)
    }
}

/// Parses text by `FromStr`; an empty text stands for `default`.
fn parse_text<T>(text: &str, default: T, field: &str, violations: &mut Violations) -> Option<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        Some(default)
    } else {
        violations.take(field, text.parse())
    }
}

/// Reads an enum's number.
fn parse_enum<T>(number: i32, field: &str, violations: &mut Violations) -> Option<T>
where
    T: TryFrom<i32>,
    T::Error: std::fmt::Display,
{
    violations.take(field, T::try_from(number))
}

/// `TryFrom` for messages that Temper itself wrote, by their `Parse`.
macro_rules! try_from_message {
    ($type:ident, $message:ident, $root:literal) => {
        impl TryFrom<&crate::v1::$message> for $type {
            type Error = temper_core::Violations;

            fn try_from(message: &crate::v1::$message) -> Result<Self, temper_core::Violations> {
                let mut violations = temper_core::Violations::default();
                let value =
                    <$type as crate::convert::Parse>::parse(message, $root, &mut violations);
                crate::convert::finish(value, $root, violations)
            }
        }
    };
}
use try_from_message;

fn finish<T>(value: Option<T>, field: &str, mut violations: Violations) -> Result<T, Violations> {
    if let Some(value) = value {
        return violations.into_result(value);
    }
    if !violations.touch(field) {
        violations.add(field, "cannot be read");
    }
    Err(violations)
}
