//! Accuracy-against-epsilon curves and what is said of one. The only place where expected robustness
//! is computed; statistics over several are in [`crate::statistics`].

mod distribution;
mod expectation;

pub use self::{
    distribution::{Distribution, DistributionError},
    expectation::{ExpectationError, expectation},
};
use crate::Epsilon;

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Strength of the attack.
    pub epsilon: Epsilon,
    /// Samples still classified rightly.
    pub correct: u32,
    /// Samples in all.
    pub samples: u32,
}

/// A curve that says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CurveError {
    /// No points at all.
    #[error("the curve has no points")]
    Empty,
    /// The grid does not start at 0 or does not ascend.
    #[error("the grid must ascend from epsilon 0")]
    Grid,
    /// A point with no samples, or with more correct than there are.
    #[error("a point counts more correct samples than it has, or has none")]
    Count,
}

impl Point {
    /// Share of samples classified rightly, in `[0, 1]`.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        f64::from(self.correct) / f64::from(self.samples)
    }
}

/// What one curve says, each in `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Accuracy without a perturbation.
    pub clean: f64,
    /// Accuracy at the grid's end.
    pub robust: f64,
    /// Mean accuracy over a distribution of strengths.
    pub expected: f64,
}

impl Figures {
    /// What a curve says, expected robustness over this distribution.
    ///
    /// # Errors
    /// When the points are no curve, or the grid does not cover the distribution.
    pub fn of(points: &[Point], over: &Distribution) -> Result<Self, ExpectationError> {
        let expected = expectation(points, over)?;
        let ends = points.first().zip(points.last());
        let (first, last) = ends.ok_or(CurveError::Empty)?;
        Ok(Self {
            clean: first.accuracy(),
            robust: last.accuracy(),
            expected,
        })
    }
}

/// Expected robustness: the mean accuracy over epsilon uniform in `[0, end of the grid]`, by the
/// trapezoidal rule on the grid; in `[0, 1]` (Ngnawé et al., ICLR 2026, "expected robustness").
///
/// # Errors
/// When the points are no curve: none, not ascending from 0, or with impossible counts.
pub fn expected_robustness(points: &[Point]) -> Result<f64, CurveError> {
    expectation(points, &Distribution::default()).map_err(|error| match error {
        ExpectationError::Curve(error) => error,
        // Every grid covers the range from 0 to its own end.
        _ => CurveError::Grid,
    })
}

/// Where the grid of a curve ends.
fn checked(points: &[Point]) -> Result<Epsilon, CurveError> {
    let (first, last) = points.first().zip(points.last()).ok_or(CurveError::Empty)?;
    if !first.epsilon.is_zero() || !points.is_sorted_by(|a, b| a.epsilon < b.epsilon) {
        return Err(CurveError::Grid);
    }
    let possible = |point: &Point| point.samples > 0 && point.correct <= point.samples;
    if points.iter().all(possible) {
        Ok(last.epsilon)
    } else {
        Err(CurveError::Count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn curve(correct: &[u32], samples: u32) -> Vec<Point> {
        let end = u32::try_from(correct.len()).unwrap() - 1;
        (0..=end)
            .zip(correct)
            .map(|(i, &correct)| Point {
                epsilon: Epsilon::new(i, 255).unwrap(),
                correct,
                samples,
            })
            .collect()
    }

    #[test]
    fn area_is_the_papers_formula_at_four() {
        let area = expected_robustness(&curve(&[80, 60, 40, 30, 20], 100)).unwrap();
        let by_hand = (0.25) * ((0.8 + 0.6) + (0.6 + 0.4) + (0.4 + 0.3) + (0.3 + 0.2)) / 2.0;
        assert!((area - by_hand).abs() < 1e-12, "{area} {by_hand}");
    }

    #[test]
    fn what_is_no_curve_is_refused() {
        assert_eq!(expected_robustness(&[]), Err(CurveError::Empty));
        assert_eq!(
            expected_robustness(&curve(&[5, 4], 10)[1..]),
            Err(CurveError::Grid)
        );
        assert_eq!(
            expected_robustness(&curve(&[11, 4], 10)),
            Err(CurveError::Count)
        );
        assert_eq!(
            expected_robustness(&curve(&[0, 0], 0)),
            Err(CurveError::Count)
        );
    }

    proptest! {
        #[test]
        fn area_lies_between_the_least_and_the_best_accuracy(
            correct in prop::collection::vec(0_u32..=50, 2..20)
        ) {
            let area = expected_robustness(&curve(&correct, 50)).unwrap();
            let share = |count: Option<&u32>| f64::from(*count.unwrap()) / 50.0;
            prop_assert!(area >= share(correct.iter().min()) - 1e-12);
            prop_assert!(area <= share(correct.iter().max()) + 1e-12);
        }
    }
}
