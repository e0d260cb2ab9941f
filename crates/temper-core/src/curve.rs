//! Accuracy-against-epsilon curves and what is said of them. The only place where expected
//! robustness and its statistics are computed.

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

/// Mean, sample standard deviation and count of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (n - 1); none for fewer than two values.
    pub standard_deviation: Option<f64>,
    /// Values.
    pub count: usize,
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

/// Expected robustness: the mean accuracy over epsilon uniform in `[0, end of the grid]`, by the
/// trapezoidal rule on the grid; in `[0, 1]` (Ngnawé et al., ICLR 2026, "expected robustness").
///
/// # Errors
/// When the points are no curve: none, not ascending from 0, or with impossible counts.
pub fn expected_robustness(points: &[Point]) -> Result<f64, CurveError> {
    let (first, last) = points.first().zip(points.last()).ok_or(CurveError::Empty)?;
    if !first.epsilon.is_zero() || !points.is_sorted_by(|a, b| a.epsilon < b.epsilon) {
        return Err(CurveError::Grid);
    }
    if points
        .iter()
        .any(|point| point.samples == 0 || point.correct > point.samples)
    {
        return Err(CurveError::Count);
    }
    if points.len() == 1 {
        return Ok(first.accuracy());
    }
    let area: f64 = points
        .windows(2)
        .map(|pair| {
            let width = pair[1].epsilon.value() - pair[0].epsilon.value();
            width * (pair[0].accuracy() + pair[1].accuracy()) / 2.0
        })
        .sum();
    Ok(area / last.epsilon.value())
}

/// Summarises a group of values; none for an empty group.
#[must_use]
pub fn summarise(values: &[f64]) -> Option<Summary> {
    let count = values.len();
    if count == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of runs are small")]
    let n = count as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let standard_deviation = (count > 1).then(|| (squares / (n - 1.0)).sqrt());
    Some(Summary {
        mean,
        standard_deviation,
        count,
    })
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

    #[test]
    fn summary_is_mean_and_sample_deviation() {
        let summary = summarise(&[0.2, 0.4, 0.6]).unwrap();
        assert!((summary.mean - 0.4).abs() < 1e-12);
        assert!((summary.standard_deviation.unwrap() - 0.2).abs() < 1e-12);
        assert_eq!(summarise(&[0.5]).unwrap().standard_deviation, None);
        assert_eq!(summarise(&[]), None);
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
