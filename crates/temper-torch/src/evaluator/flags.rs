//! Signs that a model hides its gradients, so that its accuracy under attack may be too high
//! (Carlini et al. 2019; `AutoAttack`'s warnings).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use temper_core::report::MaskingFlag;

/// Share of the attacked samples with a gradient that is zero everywhere above which that is a sign.
/// `AutoAttack` warns of any; sharp but honest logits saturate single precision for about 0.5%.
const ZERO_GRADIENTS: f64 = 0.01;

/// Share of the attacked pairs that a later attack broke, and not the first, above which that is a
/// sign: a choice of this project, not measured.
const LATER_ATTACK: f64 = 0.1;

/// Fewer pairs than this say nothing of an attack.
const LATER_ATTACK_LEAST: u64 = 10;

/// Difference of two passes, as a share of the largest logit, above which they differ: far more
/// than the order of summation on a GPU makes out.
const RANDOMISED: f64 = 1e-4;

/// How far the sum of probabilities may be from 1.
const PROBABILITY_SUM: f64 = 1e-3;

/// A rise is beyond noise from so many standard deviations on.
const RISE_DEVIATIONS: f64 = 3.0;

/// What has been seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signs {
    /// All clean outputs so far look like probabilities.
    probabilities: bool,
    /// Two passes differed.
    randomised: bool,
    /// Samples that were attacked.
    attacked: BTreeSet<u32>,
    /// Those of them with a gradient of zero.
    zero_gradients: BTreeSet<u32>,
    /// Pairs that the first attack was tried on.
    pairs: u64,
    /// By attack, pairs that it broke.
    broken: Vec<u64>,
}

impl Signs {
    /// Nothing seen yet, of so many attacks.
    pub fn new(attacks: usize) -> Self {
        Self {
            probabilities: true,
            randomised: false,
            attacked: BTreeSet::new(),
            zero_gradients: BTreeSet::new(),
            pairs: 0,
            broken: vec![0; attacks],
        }
    }

    /// How many attacks it counts.
    pub fn attacks(&self) -> usize {
        self.broken.len()
    }

    /// Looks at logits `f32[n, classes]` of clean images.
    pub fn look(&mut self, logits: &Tensor) {
        let logits = logits.to_kind(Kind::Float);
        let (low, high) = logits.aminmax(None, false);
        let sums = logits.sum_dim_intlist([1].as_slice(), false, Kind::Float);
        let off = (sums - 1.0).abs().max().double_value(&[]);
        self.probabilities &=
            low.double_value(&[]) >= 0.0 && high.double_value(&[]) <= 1.0 && off <= PROBABILITY_SUM;
    }

    /// Looks at logits of the same images twice.
    pub fn compare(&mut self, once: &Tensor, again: &Tensor) {
        let difference = (once - again).abs().max().double_value(&[]);
        let scale = once.abs().max().double_value(&[]);
        self.randomised |= difference > RANDOMISED * scale;
    }

    /// Counts what the attack of that index did to `samples`: which it broke, and which had a
    /// gradient of zero.
    pub fn count(&mut self, attack: usize, samples: &[u32], (broken, zero): (&[bool], &[bool])) {
        if attack == 0 {
            self.pairs += samples.len() as u64;
            self.attacked.extend(samples);
        }
        let of = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as u64;
        self.broken[attack] += of(broken);
        let zero = samples.iter().zip(zero).filter(|(_, zero)| **zero);
        self.zero_gradients.extend(zero.map(|(sample, _)| *sample));
    }

    /// What it amounts to, ascending. `exact` has the samples that are right at each strength, where
    /// every strength was measured by itself.
    pub fn flags(&self, exact: Option<&[Vec<u32>]>) -> Vec<MaskingFlag> {
        let later: u64 = self.broken.iter().skip(1).sum();
        let zero = share(self.zero_gradients.len() as u64, self.attacked.len() as u64);
        let seen = |flag| match flag {
            MaskingFlag::ZeroGradients => zero > ZERO_GRADIENTS,
            MaskingFlag::Probabilities => self.probabilities,
            MaskingFlag::Randomised => self.randomised,
            MaskingFlag::RisingCurve => exact.is_some_and(rises),
            MaskingFlag::WeakFirstAttack => {
                later >= LATER_ATTACK_LEAST && share(later, self.pairs) > LATER_ATTACK
            }
        };
        let all = MaskingFlag::ALL.into_iter();
        all.filter(|flag| seen(*flag)).collect()
    }
}

/// Whether accuracy is larger at a larger strength beyond noise. Of two strengths, only samples that
/// one of them breaks and the other does not tell; were the attacks equally strong, either kind
/// would be as likely, and their difference would have the square root of their number as its
/// standard deviation (`McNemar` 1947).
fn rises(right: &[Vec<u32>]) -> bool {
    let right: Vec<BTreeSet<u32>> = right.iter().map(|r| r.iter().copied().collect()).collect();
    // Not from strength 0: there nothing is attacked.
    (1..right.len()).any(|small| {
        right[small + 1..].iter().any(|large| {
            let only =
                |a: &BTreeSet<u32>, b: &BTreeSet<u32>| as_f64(a.difference(b).count() as u64);
            let (up, down) = (only(large, &right[small]), only(&right[small], large));
            up - down > RISE_DEVIATIONS * (up + down).sqrt()
        })
    })
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    as_f64(part) / as_f64(whole)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of samples are far below 2^52"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rise_counts_beyond_noise_alone() {
        let right = |of: std::ops::Range<u32>| of.collect::<Vec<_>>();
        assert!(!rises(&[right(0..100), right(0..40), right(0..40)]));
        assert!(!rises(&[right(0..100), right(0..40), right(0..49)]));
        assert!(rises(&[right(0..100), right(0..40), right(0..50)]));
        // Ten more, but among 60 that changed.
        assert!(!rises(&[right(0..100), right(0..25), right(25..60)]));
        // From 0 on it may rise: clean outputs are no attack's.
        assert!(!rises(&[right(0..10), right(0..40), right(0..40)]));
    }
}
