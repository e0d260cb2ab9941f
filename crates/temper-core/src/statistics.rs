//! Statistics over several values: means with intervals, paired comparisons, correlations. The only
//! place where they are computed, for measured curves and published rows alike.

mod paired;

use std::sync::LazyLock;

use statrs::{
    distribution::{ContinuousCDF as _, StudentsT},
    statistics::Statistics as _,
};

pub use self::paired::{Paired, compare};

/// Differences of accuracies up to this are rounding: counts are over far fewer samples than its
/// inverse.
const ROUNDING: f64 = 1e-12;
/// Upper end of the middle 95%.
const UPPER: f64 = 0.975;
/// Degrees of freedom of which quantiles are kept: large sweeps ask for one of a few of them a
/// hundred thousand times.
const KEPT: usize = 128;

/// Mean, sample standard deviation, interval and count of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (n - 1); none for fewer than two values.
    pub standard_deviation: Option<f64>,
    /// 95% interval of the mean by Student's t with n - 1 degrees of freedom; none for fewer than two
    /// values.
    pub interval: Option<Interval>,
    /// Values.
    pub count: usize,
}

/// Between what a mean lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// Summarises some values; none of none.
#[must_use]
pub fn summarise(values: &[f64]) -> Option<Summary> {
    let count = values.len();
    if count == 0 {
        return None;
    }
    let mean = values.mean();
    let standard_deviation = (count > 1).then(|| values.std_dev());
    let interval = standard_deviation.map(|deviation| {
        let half = quantile(count - 1) * deviation / float(count).sqrt();
        Interval {
            lower: mean - half,
            upper: mean + half,
        }
    });
    Some(Summary {
        mean,
        standard_deviation,
        interval,
        count,
    })
}

/// Pearson's correlation of pairs of values, in `[-1, 1]`; none for fewer than three pairs, and where
/// either does not vary.
#[must_use]
pub fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 3 {
        return None;
    }
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let scale = first.as_slice().std_dev() * second.as_slice().std_dev();
    let varies = |values: &[f64]| values.std_dev() > ROUNDING;
    (varies(&first) && varies(&second)).then(|| {
        let covariance = first.as_slice().covariance(second.as_slice());
        (covariance / scale).clamp(-1.0, 1.0)
    })
}

/// Ranks of some values, the greatest first: from 1, equals share the lesser one, and what has no
/// value has no rank.
#[must_use]
pub fn rank(values: &[Option<f64>]) -> Vec<Option<usize>> {
    let greater = |value: f64| {
        let others = values.iter().flatten();
        others.filter(|other| **other - value > ROUNDING).count()
    };
    let ranked = |value: &Option<f64>| value.map(|value| 1 + greater(value));
    values.iter().map(ranked).collect()
}

/// Student's t with so many degrees of freedom, at least 1.
fn student(freedom: usize) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, float(freedom)).ok()
}

/// The t that the middle 95% lie below, for so many degrees of freedom, at least 1.
fn quantile(freedom: usize) -> f64 {
    static FIRST: LazyLock<Vec<f64>> = LazyLock::new(|| (0..KEPT).map(computed).collect());
    FIRST
        .get(freedom)
        .copied()
        .unwrap_or_else(|| computed(freedom))
}

fn computed(freedom: usize) -> f64 {
    student(freedom).map_or(f64::NAN, |t| t.inverse_cdf(UPPER))
}

#[expect(clippy::cast_precision_loss, reason = "counts of runs are small")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9, "{value}, not {expected}");
    }

    #[test]
    fn summary_is_mean_and_sample_deviation_with_its_interval() {
        let summary = summarise(&[0.2, 0.4, 0.6]).unwrap();
        near(summary.mean, 0.4);
        near(summary.standard_deviation.unwrap(), 0.2);
        // scipy.stats.t.interval(0.95, 2, loc=0.4, scale=0.2 / sqrt(3))
        let interval = summary.interval.unwrap();
        near(interval.lower, -0.096_827_542_350_066);
        near(interval.upper, 0.896_827_542_350_066);
        assert_eq!(summary.count, 3);
    }

    #[test]
    fn one_value_has_no_spread_and_none_no_mean() {
        let one = summarise(&[0.5]).unwrap();
        assert_eq!((one.standard_deviation, one.interval), (None, None));
        assert_eq!(summarise(&[]), None);
    }

    #[test]
    fn equal_values_have_an_interval_of_no_width() {
        let interval = summarise(&[0.3; 4]).unwrap().interval.unwrap();
        near(interval.lower, 0.3);
        near(interval.upper, 0.3);
    }

    /// `scipy.stats.t.ppf(0.975, n)`.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, expected) in [
            (1, 12.706_204_736_174_694),
            (2, 4.302_652_729_749_462),
            (4, 2.776_445_105_197_793_4),
            (9, 2.262_157_162_798_204_6),
            (29, 2.045_229_642_132_703),
            (99, 1.984_216_951_586_416_8),
            (1000, 1.962_339_080_826_408_3),
        ] {
            let found = quantile(freedom);
            assert!((found - expected).abs() < 1e-6, "{freedom}: {found}");
        }
    }

    #[test]
    fn equals_share_a_rank_and_what_is_missing_has_none() {
        let values = [Some(0.5), None, Some(0.9), Some(0.1 + 0.4), Some(0.2)];
        let expected = [Some(2), None, Some(1), Some(2), Some(4)];
        assert_eq!(rank(&values), expected);
        assert_eq!(rank(&[]), []);
    }

    #[test]
    fn correlation_is_pearsons() {
        let line: Vec<_> = [0.0, 1.0, 4.0].map(|x| (x, 3.0 - 0.5 * x)).to_vec();
        near(correlation(&line).unwrap(), -1.0);
        // scipy.stats.pearsonr
        let delays = [
            (0.0, 0.8),
            (3.0, 0.75),
            (7.0, 0.7),
            (12.0, 0.4),
            (50.0, 0.02),
        ];
        near(correlation(&delays).unwrap(), -0.956_088_207_861_694_5);
    }

    #[test]
    fn what_does_not_vary_has_no_correlation() {
        assert_eq!(correlation(&[(0.0, 0.8), (1.0, 0.7)]), None);
        assert_eq!(correlation(&[(0.0, 0.8), (1.0, 0.8), (2.0, 0.8)]), None);
        assert_eq!(correlation(&[(1.0, 0.8), (1.0, 0.7), (1.0, 0.6)]), None);
    }
}
