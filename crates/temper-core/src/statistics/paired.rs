use std::cmp::Ordering;

use statrs::distribution::ContinuousCDF as _;

use super::{ROUNDING, Summary, float, student, summarise};

/// Two treatments over the same subjects, with Student's paired t-test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// Mean of the baseline.
    pub baseline: f64,
    /// Mean of the candidate.
    pub candidate: f64,
    /// The differences, candidate less baseline.
    pub difference: Summary,
    /// The test; none for fewer than two pairs, and where all differences are alike.
    pub test: Option<Test>,
    /// Pairs in which the candidate is the greater.
    pub wins: usize,
    /// Pairs in which both are equal.
    pub ties: usize,
    /// Pairs in which the baseline is the greater.
    pub losses: usize,
}

/// Student's t of a mean difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// Mean difference over its standard error.
    pub t: f64,
    /// Probability of a t at least as far from 0 if there were no difference.
    pub p: f64,
}

impl Paired {
    /// Degrees of freedom, one fewer than there are pairs.
    #[must_use]
    pub fn degrees_of_freedom(&self) -> usize {
        self.difference.count - 1
    }
}

/// Compares pairs of baseline and candidate; none without a pair.
#[must_use]
pub fn compare(pairs: &[(f64, f64)]) -> Option<Paired> {
    let (baseline, candidate): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let differences: Vec<f64> = pairs.iter().map(|(base, other)| other - base).collect();
    let difference = summarise(&differences)?;
    let [losses, ties, wins] = [Ordering::Less, Ordering::Equal, Ordering::Greater].map(|sign| {
        let alike = differences.iter().filter(|value| sign_of(**value) == sign);
        alike.count()
    });
    Some(Paired {
        baseline: summarise(&baseline)?.mean,
        candidate: summarise(&candidate)?.mean,
        difference,
        test: test(&difference),
        wins,
        ties,
        losses,
    })
}

fn sign_of(difference: f64) -> Ordering {
    if difference.abs() <= ROUNDING {
        Ordering::Equal
    } else {
        difference.total_cmp(&0.0)
    }
}

fn test(difference: &Summary) -> Option<Test> {
    let deviation = difference.standard_deviation.filter(|sd| *sd > ROUNDING)?;
    let t = difference.mean / (deviation / float(difference.count).sqrt());
    let student = student(difference.count - 1)?;
    let p = (2.0 * student.sf(t.abs())).min(1.0);
    Some(Test { t, p })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn differences_are_candidate_less_baseline() {
        // Differences 1, 2, 3: mean 2, deviation 1, t = 2 / (1 / sqrt 3).
        let paired = compare(&[(1.0, 2.0), (1.0, 3.0), (1.0, 4.0)]).unwrap();
        assert!((paired.difference.mean - 2.0).abs() < 1e-12);
        assert!((paired.test.unwrap().t - 2.0 * 3.0_f64.sqrt()).abs() < 1e-12);
        // By SciPy's paired t-test.
        assert!((paired.test.unwrap().p - 0.074_179_900_227_448_53).abs() < 1e-9);
        assert_eq!(paired.degrees_of_freedom(), 2);
        assert_eq!((paired.wins, paired.ties, paired.losses), (3, 0, 0));
        assert_eq!((paired.baseline, paired.candidate), (1.0, 3.0));
    }

    #[test]
    fn rounding_neither_wins_nor_makes_a_test() {
        // 0.3 - 0.2 and 0.5 - 0.4 differ in their last bits.
        let alike = compare(&[(0.2, 0.3), (0.4, 0.5), (0.1 + 0.2 - 0.1, 0.3)]).unwrap();
        assert_eq!((alike.wins, alike.test), (3, None));
        let tied = compare(&[(0.3, 0.1 + 0.2), (0.5, 0.5)]).unwrap();
        assert_eq!((tied.wins, tied.ties, tied.losses), (0, 2, 0));
    }

    #[test]
    fn too_few_pairs_have_no_test() {
        assert_eq!(compare(&[]), None);
        let one = compare(&[(0.5, 0.4)]).unwrap();
        assert_eq!(
            (one.test, one.losses, one.degrees_of_freedom()),
            (None, 1, 0)
        );
    }

    proptest! {
        #[test]
        fn changing_sides_changes_signs_alone(
            pairs in prop::collection::vec((0.0_f64..1.0, 0.0_f64..1.0), 2..30)
        ) {
            let swapped: Vec<_> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
            let (one, other) = (compare(&pairs).unwrap(), compare(&swapped).unwrap());
            prop_assert_eq!((one.wins, one.ties, one.losses), (other.losses, other.ties, other.wins));
            prop_assert!((one.difference.mean + other.difference.mean).abs() < 1e-12);
            if let (Some(one), Some(other)) = (one.test, other.test) {
                prop_assert!((one.t + other.t).abs() < 1e-9 * one.t.abs().max(1.0));
                prop_assert!((one.p - other.p).abs() < 1e-12);
                prop_assert!((0.0..=1.0).contains(&one.p));
            }
        }
    }
}
