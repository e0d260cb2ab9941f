use crate::Epsilon;

/// How likely each strength of an attack is.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution(pub(super) Kind);

/// The kinds, their parameters checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Uniform(Range),
    PointMass(Epsilon),
    TruncatedNormal { normal: Normal, range: Range },
    Weights(Vec<(Epsilon, f64)>),
}

/// Strengths from one to another; to the end of a curve's grid where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub from: Epsilon,
    pub to: Option<Epsilon>,
}

/// A normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Normal {
    pub mean: f64,
    pub standard_deviation: f64,
}

/// Parameters that make no distribution. [`Self::field`] says which.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DistributionError {
    /// A range that ends before it begins.
    #[error("the range ends at {to}, before it begins at {from}")]
    Reversed {
        /// Which kind has it.
        kind: &'static str,
        /// Where it begins.
        from: Epsilon,
        /// Where it ends.
        to: Epsilon,
    },
    /// A range of one strength, of a density.
    #[error("the range is {0} alone: a point mass is meant")]
    Single(Epsilon),
    /// A mean that is no number.
    #[error("{0} is no finite number")]
    Mean(f64),
    /// A standard deviation that is none.
    #[error("{0} is no finite number above 0")]
    StandardDeviation(f64),
    /// No strengths to weigh.
    #[error("must name at least one strength")]
    NoPoints,
    /// A weight that is none.
    #[error("{value} is no finite number from 0 on")]
    Weight {
        /// Place in the list, from 0.
        index: usize,
        /// The weight.
        value: f64,
    },
    /// Weights that say nothing.
    #[error("the weights are 0 throughout")]
    NoWeight,
    /// A strength that is named twice.
    #[error("{epsilon} is named twice")]
    Twice {
        /// Place of the second time in the list, from 0.
        index: usize,
        /// The strength.
        epsilon: Epsilon,
    },
}

impl DistributionError {
    /// The parameter, by its path in a distribution: `uniform.to`, `weights.points[1].weight`.
    #[must_use]
    pub fn field(&self) -> String {
        match self {
            Self::Reversed { kind, .. } => format!("{kind}.to"),
            Self::Single(_) => "truncated_normal.to".to_owned(),
            Self::Mean(_) => "truncated_normal.mean".to_owned(),
            Self::StandardDeviation(_) => "truncated_normal.standard_deviation".to_owned(),
            Self::NoPoints | Self::NoWeight => "weights.points".to_owned(),
            Self::Weight { index, .. } => format!("weights.points[{index}].weight"),
            Self::Twice { index, .. } => format!("weights.points[{index}].epsilon"),
        }
    }
}

/// The usual one: uniform from 0 to the end of each curve's grid.
impl Default for Distribution {
    fn default() -> Self {
        let (from, to) = (Epsilon::ZERO, None);
        Self(Kind::Uniform(Range { from, to }))
    }
}

impl Distribution {
    /// All strengths of a range alike; without `to`, up to the end of each curve's grid.
    ///
    /// # Errors
    /// When the range ends before it begins.
    pub fn uniform(from: Epsilon, to: Option<Epsilon>) -> Result<Self, DistributionError> {
        let range = Range { from, to };
        reversed("uniform", range).map_or(Ok(Self(Kind::Uniform(range))), Err)
    }

    /// One strength alone.
    #[must_use]
    pub fn point_mass(epsilon: Epsilon) -> Self {
        Self(Kind::PointMass(epsilon))
    }

    /// A normal distribution, in pixel units of `[0, 1]`, cut off at both ends of a range; without
    /// `to`, at the end of each curve's grid.
    ///
    /// # Errors
    /// All that is wrong: numbers that are not finite, a standard deviation that is not above 0, a
    /// range that does not end after it begins.
    pub fn truncated_normal(
        mean: f64,
        standard_deviation: f64,
        from: Epsilon,
        to: Option<Epsilon>,
    ) -> Result<Self, Vec<DistributionError>> {
        let range = Range { from, to };
        let mut errors = Vec::new();
        if !mean.is_finite() {
            errors.push(DistributionError::Mean(mean));
        }
        if !(standard_deviation.is_finite() && standard_deviation > 0.0) {
            errors.push(DistributionError::StandardDeviation(standard_deviation));
        }
        errors.extend(reversed("truncated_normal", range));
        if to == Some(from) {
            errors.push(DistributionError::Single(from));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let normal = Normal {
            mean,
            standard_deviation,
        };
        Ok(Self(Kind::TruncatedNormal { normal, range }))
    }

    /// Some strengths, each with a weight. Weights need not sum to 1.
    ///
    /// # Errors
    /// All that is wrong: no strengths, one that is named twice, weights that are not finite, below 0,
    /// or 0 throughout.
    pub fn weights(points: Vec<(Epsilon, f64)>) -> Result<Self, Vec<DistributionError>> {
        let mut errors = Vec::new();
        if points.is_empty() {
            errors.push(DistributionError::NoPoints);
        }
        let mut seen = std::collections::BTreeSet::new();
        for (index, &(epsilon, value)) in points.iter().enumerate() {
            if !(value.is_finite() && value >= 0.0) {
                errors.push(DistributionError::Weight { index, value });
            }
            if !seen.insert(epsilon) {
                errors.push(DistributionError::Twice { index, epsilon });
            }
        }
        if errors.is_empty() && points.iter().all(|(_, weight)| *weight == 0.0) {
            errors.push(DistributionError::NoWeight);
        }
        if errors.is_empty() {
            Ok(Self(Kind::Weights(points)))
        } else {
            Err(errors)
        }
    }

    /// Whether it is the usual one, of which results are stored.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

fn reversed(kind: &'static str, Range { from, to }: Range) -> Option<DistributionError> {
    let to = to.filter(|to| *to < from)?;
    Some(DistributionError::Reversed { kind, from, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(numerator: u32) -> Epsilon {
        Epsilon::new(numerator, 255).unwrap()
    }

    fn fields(errors: &[DistributionError]) -> Vec<String> {
        errors.iter().map(DistributionError::field).collect()
    }

    #[test]
    fn ranges_that_end_before_they_begin_are_refused_by_their_end() {
        let error = Distribution::uniform(level(4), Some(level(2))).unwrap_err();
        assert_eq!(error.field(), "uniform.to");
        assert!(error.to_string().contains("2/255, before"), "{error}");
        assert!(Distribution::uniform(level(4), Some(level(4))).is_ok());
        assert!(Distribution::uniform(level(4), None).is_ok());
        let single = Distribution::truncated_normal(0.0, 1.0, level(4), Some(level(4)));
        assert_eq!(fields(&single.unwrap_err()), ["truncated_normal.to"]);
    }

    #[test]
    fn everything_wrong_with_a_normal_distribution_is_told_at_once() {
        for deviation in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let normal =
                Distribution::truncated_normal(f64::NAN, deviation, level(4), Some(level(2)));
            let expected = ["mean", "standard_deviation", "to"];
            let expected = expected.map(|name| format!("truncated_normal.{name}"));
            assert_eq!(fields(&normal.unwrap_err()), expected, "{deviation}");
        }
    }

    #[test]
    fn weights_that_weigh_nothing_are_refused_by_their_place() {
        let points = |weights: &[f64]| (0..).map(level).zip(weights.iter().copied()).collect();
        let refused =
            |weights: &[f64]| fields(&Distribution::weights(points(weights)).unwrap_err());
        assert_eq!(refused(&[]), ["weights.points"]);
        assert_eq!(refused(&[0.0, 0.0]), ["weights.points"]);
        let expected = ["weights.points[1].weight", "weights.points[2].weight"];
        assert_eq!(refused(&[1.0, f64::NAN, -1.0]), expected);
        assert_eq!(refused(&[f64::INFINITY]), ["weights.points[0].weight"]);
        let twice = Distribution::weights(vec![(level(1), 1.0), (level(1), 2.0)]);
        assert_eq!(fields(&twice.unwrap_err()), ["weights.points[1].epsilon"]);
        assert!(Distribution::weights(points(&[0.0, 3.0])).is_ok());
    }
}
