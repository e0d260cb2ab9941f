//! Epsilon schedules: the share of the target strength at which a training step crafts its
//! perturbation, as a pure function of the time since the run's start.
//!
//! Source: Ngnawé et al., "Robust Fine-Tuning from Non-Robust Pretrained Models: Mitigating
//! Suboptimal Transfer With Epsilon-Scheduling", ICLR 2026, section on epsilon-scheduling and its
//! appendix on schedule variants. The first epoch starts at `t = 0`.

use serde::{Deserialize, Serialize};

use crate::{Epsilon, Fraction};

/// A schedule as a sweep names it; hinges are shares of the run, so that a short run keeps the
/// shape of a long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Schedule {
    /// No perturbation at all: ordinary fine-tuning, the upper reference for clean accuracy.
    Standard,
    /// The target strength from the first step (Madry et al. 2018).
    Fixed,
    /// Zero up to `start`, then linear up to the target at `end`, then the target.
    TwoHinge {
        /// Where the ramp starts, as a share of the run.
        start: Fraction,
        /// Where the target is reached, not before `start`.
        end: Fraction,
    },
    /// A ramp over the whole run: two-hinge from 0 to 1.
    Linear,
}

/// What a run follows: a schedule with everything that is the same written the same, so that keys
/// of equal runs are equal (`linear` is `two-hinge(0, 1)`, `fixed` is `two-hinge(0, 0)`), and with
/// its target, which an ordinary fine-tuning has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Ramp {
    /// No perturbation.
    Standard,
    /// The strength ramps up between two hinges.
    Hinged {
        /// Where the ramp starts, as a share of the run.
        start: Fraction,
        /// Where the target is reached, not before `start`.
        end: Fraction,
        /// The strength at and after `end`.
        target: Epsilon,
    },
}

impl Schedule {
    /// The paper's two-hinge: hinges at a quarter and three quarters of the run.
    ///
    /// ```
    /// use temper_core::schedule::Schedule;
    /// assert_eq!(Schedule::two_hinge_default().to_string(), "two-hinge");
    /// ```
    #[must_use]
    pub fn two_hinge_default() -> Self {
        let quarter = |count| Fraction::new(count, 4).unwrap_or(Fraction::ZERO);
        Self::TwoHinge {
            start: quarter(1),
            end: quarter(3),
        }
    }

    /// The run's ramp towards `target`.
    #[must_use]
    pub fn ramp(self, target: Epsilon) -> Ramp {
        let (start, end) = match self {
            Self::Standard => return Ramp::Standard,
            Self::Fixed => (Fraction::ZERO, Fraction::ZERO),
            Self::TwoHinge { start, end } => (start, end),
            Self::Linear => (Fraction::ZERO, Fraction::ONE),
        };
        Ramp::Hinged { start, end, target }
    }
}

/// The name under which results are grouped: the kind, and hinges where they are not the paper's.
impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Standard => f.write_str("standard"),
            Self::Fixed => f.write_str("fixed"),
            Self::Linear => f.write_str("linear"),
            this if *this == Self::two_hinge_default() => f.write_str("two-hinge"),
            Self::TwoHinge { start, end } => write!(f, "two-hinge({start},{end})"),
        }
    }
}

impl Ramp {
    /// Share of the target at `progress`, the share of the run that is done, in `[0, 1]`; the
    /// result lies in `[0, 1]` and never falls as `progress` grows.
    #[must_use]
    pub fn alpha(&self, progress: f64) -> f64 {
        let Self::Hinged { start, end, .. } = self else {
            return 0.0;
        };
        let (start, end) = (start.value(), end.value());
        if progress >= end {
            1.0
        } else if progress < start {
            0.0
        } else {
            ((progress - start) / (end - start)).clamp(0.0, 1.0)
        }
    }

    /// The strength at `progress`, in pixel units of `[0, 1]`.
    #[must_use]
    pub fn epsilon(&self, progress: f64) -> f64 {
        match self {
            Self::Standard => 0.0,
            Self::Hinged { target, .. } => self.alpha(progress) * target.value(),
        }
    }

    /// The strength that the run ends at; zero for ordinary fine-tuning.
    #[must_use]
    pub fn target(&self) -> Epsilon {
        match self {
            Self::Standard => Epsilon::ZERO,
            Self::Hinged { target, .. } => *target,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target() -> Epsilon {
        Epsilon::new(8, 255).unwrap()
    }

    fn schedules() -> impl Strategy<Value = Schedule> {
        let hinges = (0_u32..=50, 0_u32..=50).prop_map(|(a, b)| Schedule::TwoHinge {
            start: Fraction::new(a.min(b), 50).unwrap(),
            end: Fraction::new(a.max(b), 50).unwrap(),
        });
        prop_oneof![
            Just(Schedule::Standard),
            Just(Schedule::Fixed),
            Just(Schedule::Linear),
            hinges
        ]
    }

    proptest! {
        #[test]
        fn alpha_is_bounded_and_never_falls(schedule in schedules(), a in 0.0..=1.0, b in 0.0..=1.0) {
            let ramp = schedule.ramp(target());
            let (low, high) = (ramp.alpha(f64::min(a, b)), ramp.alpha(f64::max(a, b)));
            prop_assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0);
        }
    }

    #[test]
    fn two_hinge_has_the_papers_values() {
        let ramp = Schedule::two_hinge_default().ramp(target());
        let alphas = [0.0, 0.249, 0.25, 0.5, 0.75, 1.0].map(|progress| ramp.alpha(progress));
        let expected = [0.0, 0.0, 0.0, 0.5, 1.0, 1.0];
        assert!(
            alphas
                .iter()
                .zip(expected)
                .all(|(alpha, wanted)| (alpha - wanted).abs() < 1e-12)
        );
        assert!((ramp.epsilon(0.5) - 4.0 / 255.0).abs() < 1e-15);
    }

    #[test]
    fn equal_shapes_are_one_ramp() {
        let hinges = |start, end| Schedule::TwoHinge { start, end }.ramp(target());
        assert_eq!(
            Schedule::Fixed.ramp(target()),
            hinges(Fraction::ZERO, Fraction::ZERO)
        );
        assert_eq!(
            Schedule::Linear.ramp(target()),
            hinges(Fraction::ZERO, Fraction::ONE)
        );
        assert_eq!(
            Schedule::Standard.ramp(target()),
            Schedule::Standard.ramp(Epsilon::ZERO)
        );
    }
}
