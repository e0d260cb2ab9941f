//! Exact rationals: perturbation strengths and fractions of a run. Exact, because they are part of
//! content-addressed keys, where 4/255 and 0.0156862… must not be two things.

use std::{fmt, str::FromStr};

use num_rational::Ratio;
use serde::{Deserialize, Serialize};

/// An `l_inf` perturbation strength in pixel space, an exact rational in `[0, 1]`, where pixels lie
/// in `[0, 1]` too. Written `4/255`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Epsilon(Ratio<u32>);

/// A share of something, an exact rational in `[0, 1]`. Written `1/4`, or as a decimal, `0.25`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fraction(Ratio<u32>);

/// Text that is not an exact rational of the wanted range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseRatioError {
    /// Neither `a/b` nor a decimal.
    #[error("`{0}` is not a rational: write it as 4/255 or as a decimal")]
    Malformed(String),
    /// Outside `[0, 1]`.
    #[error("`{0}` is outside [0, 1]")]
    OutOfRange(String),
}

/// Denominators above this could overflow in sums and tell of a float written out.
const MAX_DENOMINATOR: u32 = 1_000_000;

impl Epsilon {
    /// No perturbation.
    pub const ZERO: Self = Self(Ratio::new_raw(0, 1));
    /// One level of an 8-bit pixel, 1/255.
    pub const LEVEL: Self = Self(Ratio::new_raw(1, 255));

    /// `numerator / denominator`.
    ///
    /// # Errors
    /// When the value is outside `[0, 1]` or the denominator is 0 or above a million.
    pub fn new(numerator: u32, denominator: u32) -> Result<Self, ParseRatioError> {
        unit_ratio(numerator, denominator).map(Self)
    }

    /// The value as a float, in `[0, 1]`.
    #[must_use]
    pub fn value(self) -> f64 {
        ratio_value(self.0)
    }

    /// Numerator of the reduced form.
    #[must_use]
    pub fn numerator(self) -> u32 {
        *self.0.numer()
    }

    /// Denominator of the reduced form, at least 1.
    #[must_use]
    pub fn denominator(self) -> u32 {
        *self.0.denom()
    }

    /// Whether nothing is perturbed at all.
    #[must_use]
    pub fn is_zero(self) -> bool {
        *self.0.numer() == 0
    }

    /// `0, step, 2 step, …` up to `end`, which is always the last, also when it is no multiple of
    /// the step. A zero step gives `0` and `end` alone.
    #[must_use]
    pub fn grid(end: Self, step: Self) -> Vec<Self> {
        let mut grid = vec![Self::ZERO];
        let wide =
            |ratio: Ratio<u32>| Ratio::new(u64::from(*ratio.numer()), u64::from(*ratio.denom()));
        let (end_wide, step_wide) = (wide(end.0), wide(step.0));
        let mut next = step_wide;
        while !step.is_zero() && next < end_wide {
            let narrow = |part: &u64| u32::try_from(*part).ok();
            if let (Some(n), Some(d)) = (narrow(next.numer()), narrow(next.denom())) {
                grid.push(Self(Ratio::new(n, d)));
            }
            next += step_wide;
        }
        if !end.is_zero() {
            grid.push(end);
        }
        grid
    }
}

impl Fraction {
    /// Nothing.
    pub const ZERO: Self = Self(Ratio::new_raw(0, 1));
    /// All of it.
    pub const ONE: Self = Self(Ratio::new_raw(1, 1));
    /// A quarter.
    pub const QUARTER: Self = Self(Ratio::new_raw(1, 4));
    /// Three quarters.
    pub const THREE_QUARTERS: Self = Self(Ratio::new_raw(3, 4));

    /// `numerator / denominator`.
    ///
    /// # Errors
    /// When the value is outside `[0, 1]` or the denominator is 0 or above a million.
    pub fn new(numerator: u32, denominator: u32) -> Result<Self, ParseRatioError> {
        unit_ratio(numerator, denominator).map(Self)
    }

    /// The value as a float, in `[0, 1]`.
    #[must_use]
    pub fn value(self) -> f64 {
        ratio_value(self.0)
    }
}

fn ratio_value(ratio: Ratio<u32>) -> f64 {
    f64::from(*ratio.numer()) / f64::from(*ratio.denom())
}

fn unit_ratio(numerator: u32, denominator: u32) -> Result<Ratio<u32>, ParseRatioError> {
    let text = || format!("{numerator}/{denominator}");
    if denominator == 0 || denominator > MAX_DENOMINATOR {
        return Err(ParseRatioError::Malformed(text()));
    }
    if numerator > denominator {
        return Err(ParseRatioError::OutOfRange(text()));
    }
    Ok(Ratio::new(numerator, denominator))
}

/// Reads `a/b`, `a`, or a decimal of at most six places.
fn parse_unit_ratio(text: &str) -> Result<Ratio<u32>, ParseRatioError> {
    let malformed = || ParseRatioError::Malformed(text.to_owned());
    let trimmed = text.trim();
    if trimmed.starts_with('-') {
        return Err(ParseRatioError::OutOfRange(text.to_owned()));
    }
    let (numerator, denominator) = if let Some((n, d)) = trimmed.split_once('/') {
        (
            n.trim().to_owned(),
            d.trim().parse().map_err(|_| malformed())?,
        )
    } else if let Some((whole, places)) = trimmed.split_once('.') {
        let scale = u32::try_from(places.len())
            .ok()
            .and_then(|count| 10_u32.checked_pow(count))
            .ok_or_else(malformed)?;
        (format!("{whole}{places}"), scale)
    } else {
        (trimmed.to_owned(), 1)
    };
    unit_ratio(numerator.parse().map_err(|_| malformed())?, denominator)
}

macro_rules! ratio_text {
    ($type:ident) => {
        impl FromStr for $type {
            type Err = ParseRatioError;

            fn from_str(text: &str) -> Result<Self, ParseRatioError> {
                parse_unit_ratio(text).map(Self)
            }
        }

        impl TryFrom<String> for $type {
            type Error = ParseRatioError;

            fn try_from(text: String) -> Result<Self, ParseRatioError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

ratio_text!(Epsilon);
ratio_text!(Fraction);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_epsilon_however_written() {
        let expected = Epsilon::new(4, 255).unwrap();
        assert_eq!("8/510".parse::<Epsilon>().unwrap(), expected);
        assert_eq!(expected.to_string(), "4/255");
        assert_eq!("0.25".parse::<Fraction>().unwrap(), "1/4".parse().unwrap());
        assert_eq!("1".parse::<Fraction>().unwrap(), Fraction::ONE);
    }

    #[test]
    fn values_outside_the_unit_interval_are_refused() {
        for text in ["256/255", "-1/255", "1.5", "2"] {
            assert!(
                matches!(text.parse::<Epsilon>(), Err(ParseRatioError::OutOfRange(_))),
                "{text}"
            );
        }
        for text in ["", "a", "1/0", "4/255/2", "0.12345678", "1/", "."] {
            assert!(
                matches!(text.parse::<Epsilon>(), Err(ParseRatioError::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn grid_ascends_from_zero_to_its_end() {
        let eps = |text: &str| text.parse::<Epsilon>().unwrap();
        let grid = Epsilon::grid(eps("4/255"), eps("1/255"));
        let texts: Vec<_> = grid.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["0", "1/255", "2/255", "1/85", "4/255"]);
        assert_eq!(
            Epsilon::grid(eps("3/510"), eps("1/255")).last(),
            Some(&eps("3/510"))
        );
        assert_eq!(Epsilon::grid(Epsilon::ZERO, eps("1/255")), [Epsilon::ZERO]);
    }
}
