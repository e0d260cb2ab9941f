//! Between columns and the domain's types.

use temper_core::{Digest, Epsilon, curve::Point};

use crate::StoreError;

/// A value for a column that may be too narrow for it.
pub(crate) fn column<T, U: TryFrom<T>>(value: T, what: &'static str) -> Result<U, StoreError> {
    U::try_from(value).map_err(|_| StoreError::TooLarge { what })
}

/// A text for a column: PostgreSQL's cannot hold NUL.
pub(crate) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A column's value, whose constraints say that it fits.
pub(crate) fn stored<T, U: TryFrom<T>>(value: T, what: &'static str) -> Result<U, StoreError> {
    U::try_from(value).map_err(|_| StoreError::corrupt(what, "out of range"))
}

/// What a column's text names.
pub(crate) fn named<T>(
    from_name: fn(&str) -> Option<T>,
    name: &str,
    what: &'static str,
) -> Result<T, StoreError> {
    from_name(name).ok_or_else(|| StoreError::corrupt(what, &format!("`{name}` is unknown")))
}

pub(crate) fn digest(bytes: &[u8], what: &'static str) -> Result<Digest, StoreError> {
    Digest::try_from(bytes).map_err(|error| StoreError::corrupt(what, &error))
}

pub(crate) fn epsilon(
    numerator: i32,
    denominator: i32,
    what: &'static str,
) -> Result<Epsilon, StoreError> {
    Epsilon::new(stored(numerator, what)?, stored(denominator, what)?)
        .map_err(|error| StoreError::corrupt(what, &error))
}

/// Points as columns of their own, which is how one statement takes or gives any number of them.
#[derive(Debug, Default)]
pub(crate) struct PointColumns {
    pub(crate) numerators: Vec<i32>,
    pub(crate) denominators: Vec<i32>,
    pub(crate) correct: Vec<i32>,
    pub(crate) samples: Vec<i32>,
}

impl PointColumns {
    pub(crate) fn push(&mut self, point: &Point) -> Result<(), StoreError> {
        let epsilon = &point.epsilon;
        self.numerators
            .push(column(epsilon.numerator(), "the epsilon")?);
        self.denominators
            .push(column(epsilon.denominator(), "the epsilon")?);
        self.correct.push(column(point.correct, "the count")?);
        self.samples.push(column(point.samples, "the count")?);
        Ok(())
    }

    pub(crate) fn into_points(self) -> Result<Vec<Point>, StoreError> {
        let epsilons = self.numerators.into_iter().zip(self.denominators);
        let counts = self.correct.into_iter().zip(self.samples);
        epsilons
            .zip(counts)
            .map(|((numerator, denominator), (correct, samples))| {
                Ok(Point {
                    epsilon: epsilon(numerator, denominator, "epsilon")?,
                    correct: stored(correct, "count")?,
                    samples: stored(samples, "count")?,
                })
            })
            .collect()
    }
}
