//! What a run follows, resolved.

use serde::{Deserialize, Serialize};

use crate::{
    Epsilon, Fraction,
    random::{Keyed, Purpose},
};

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
    /// Half a cosine.
    Cosine {
        /// Where the target is reached, as a share of the run, above 0.
        end: Fraction,
        /// The strength at and after `end`.
        target: Epsilon,
    },
    /// A draw an epoch.
    Uniform {
        /// What draws are shares of.
        target: Epsilon,
    },
    /// Linear from the end of a plateau of the validation accuracy to the end of the run.
    Auto {
        /// Epochs without improvement that end the wait, at least 1.
        patience: u32,
        /// What an improvement must exceed, in accuracy.
        tolerance: Fraction,
        /// The strength at the end of the run.
        target: Epsilon,
    },
}

/// A step's place in its run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Share of the run's steps that are done, in `[0, 1]`.
    pub progress: f64,
    /// The epoch that it is in, from 0.
    pub epoch: u32,
    /// The run's seed.
    pub seed: u64,
    /// What the run has seen of its validation accuracy.
    pub plateau: Plateau,
}

/// What `auto` has seen: part of a run's state, and so of its checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plateau {
    /// The best accuracy so far as the bits of an `f64`: JSON numbers need not come back exactly.
    best_bits: u64,
    /// Epochs since.
    stale: u32,
    /// Where in the run the wait ended.
    onset: Option<Fraction>,
}

impl Ramp {
    /// Share of the target at `moment`, in `[0, 1]`.
    #[must_use]
    pub fn alpha(&self, moment: &Moment) -> f64 {
        let progress = moment.progress;
        match *self {
            Self::Standard => 0.0,
            Self::Hinged { start, end, .. } => hinged(progress, start.value(), end.value()),
            Self::Cosine { end, .. } => {
                let share = (progress / end.value()).clamp(0.0, 1.0);
                0.5 * (1.0 - (std::f64::consts::PI * share).cos())
            }
            Self::Uniform { .. } => {
                let keyed = Keyed::new(moment.seed, Purpose::Schedule, moment.epoch, 0);
                f64::from(keyed.stream(0).uniform())
            }
            Self::Auto { .. } => match moment.plateau.onset {
                None => 0.0,
                Some(onset) => hinged(progress, onset.value(), 1.0),
            },
        }
    }

    /// The strength at `moment`, in pixel units of `[0, 1]`.
    #[must_use]
    pub fn epsilon(&self, moment: &Moment) -> f64 {
        self.alpha(moment) * self.target().value()
    }

    /// The strength that the run is to reach; zero for ordinary fine-tuning.
    #[must_use]
    pub fn target(&self) -> Epsilon {
        match *self {
            Self::Standard => Epsilon::ZERO,
            Self::Hinged { target, .. }
            | Self::Cosine { target, .. }
            | Self::Uniform { target }
            | Self::Auto { target, .. } => target,
        }
    }

    /// Whether a step at `moment` may craft, as far as can be told before the run comes there: what
    /// `auto` will have seen by then is not known.
    #[must_use]
    pub fn may_craft(&self, moment: &Moment) -> bool {
        match self {
            Self::Auto { .. } => true,
            _ => self.alpha(moment) > 0.0,
        }
    }

    /// What is known after `epoch`, from 0, of `epochs`, whose validation accuracy, in `[0, 1]`, is
    /// `accuracy`. Only `auto` learns.
    #[must_use]
    pub fn observe(&self, mut seen: Plateau, accuracy: f64, epoch: u32, epochs: u32) -> Plateau {
        let Self::Auto {
            patience,
            tolerance,
            ..
        } = *self
        else {
            return seen;
        };
        if seen.onset.is_some() {
            return seen;
        }
        if epoch == 0 || accuracy > f64::from_bits(seen.best_bits) + tolerance.value() {
            seen.best_bits = accuracy.to_bits();
            seen.stale = 0;
        } else {
            seen.stale += 1;
        }
        if seen.stale >= patience {
            seen.onset = Fraction::new(epoch + 1, epochs).ok();
        }
        seen
    }
}

impl Plateau {
    /// Where in the run the wait ended, if it has.
    #[must_use]
    pub fn onset(&self) -> Option<Fraction> {
        self.onset
    }
}

fn hinged(progress: f64, start: f64, end: f64) -> f64 {
    if progress >= end {
        1.0
    } else if progress < start {
        0.0
    } else {
        ((progress - start) / (end - start)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::{Hinge, Schedule};

    const EPOCHS: u32 = 50;

    fn target() -> Epsilon {
        Epsilon::new(8, 255).unwrap()
    }

    fn at(progress: f64) -> Moment {
        Moment {
            progress,
            epoch: 0,
            seed: 0,
            plateau: Plateau::default(),
        }
    }

    fn hinge() -> impl Strategy<Value = Hinge> {
        prop_oneof![
            (0_u32..=50).prop_map(|n| Hinge::Share(Fraction::new(n, 50).unwrap())),
            (0_u32..=EPOCHS).prop_map(Hinge::Epochs),
        ]
    }

    /// All kinds that never fall; those that jump are told by `jumps`.
    fn rising() -> impl Strategy<Value = Schedule> {
        prop_oneof![
            Just(Schedule::Standard),
            Just(Schedule::Fixed),
            Just(Schedule::Linear),
            hinge().prop_map(|end| Schedule::WarmUp { end }),
            hinge().prop_map(|at| Schedule::Step { at }),
            hinge().prop_map(|end| Schedule::Cosine { end }),
            (hinge(), hinge()).prop_map(|(a, b)| {
                let ordered = a.share(EPOCHS) <= b.share(EPOCHS);
                let (start, end) = if ordered { (a, b) } else { (b, a) };
                Schedule::TwoHinge { start, end }
            }),
        ]
    }

    /// The greatest slope of a continuous ramp; none where it jumps.
    fn slope(ramp: &Ramp) -> Option<f64> {
        match *ramp {
            Ramp::Hinged { start, end, .. } => {
                let width = end.value() - start.value();
                // A hinge at the very start is the value of the first step: no jump.
                let starts_full = end == Fraction::ZERO;
                if starts_full {
                    Some(0.0)
                } else {
                    (width > 0.0).then(|| 1.0 / width)
                }
            }
            Ramp::Cosine { end, .. } => Some(std::f64::consts::FRAC_PI_2 / end.value()),
            Ramp::Standard => Some(0.0),
            Ramp::Uniform { .. } | Ramp::Auto { .. } => None,
        }
    }

    proptest! {
        #[test]
        fn alpha_is_bounded_and_never_falls(schedule in rising(), a in 0.0..=1.0, b in 0.0..=1.0) {
            let ramp = schedule.ramp(target(), EPOCHS);
            let (low, high) = (ramp.alpha(&at(f64::min(a, b))), ramp.alpha(&at(f64::max(a, b))));
            prop_assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0);
        }

        #[test]
        fn alpha_is_continuous_but_for_a_step(schedule in rising(), a in 0.0..=1.0, d in 0.0..=0.01) {
            let ramp = schedule.ramp(target(), EPOCHS);
            if let Some(slope) = slope(&ramp) {
                let rise = ramp.alpha(&at(f64::min(a + d, 1.0))) - ramp.alpha(&at(a));
                prop_assert!(rise <= slope * d + 1e-9, "{schedule}: {rise} over {d}");
            } else {
                let jumps = matches!(schedule, Schedule::Step { .. } | Schedule::TwoHinge { .. });
                prop_assert!(jumps, "{schedule}");
            }
        }

        #[test]
        fn hinges_bound_the_ramp(start in 0_u32..=EPOCHS, length in 1_u32..=EPOCHS, a in 0.0..=1.0) {
            let end = (start + length).min(EPOCHS);
            prop_assume!(end > start);
            let (start, end) = (Hinge::Epochs(start), Hinge::Epochs(end));
            let ramp = Schedule::TwoHinge { start, end }.ramp(target(), EPOCHS);
            let (start, end) = (start.share(EPOCHS).unwrap().value(), end.share(EPOCHS).unwrap().value());
            prop_assert!(ramp.alpha(&at(start)).abs() < 1e-12);
            prop_assert!((ramp.alpha(&at(end)) - 1.0).abs() < 1e-12);
            let middle = f64::midpoint(start, end);
            prop_assert!((ramp.alpha(&at(middle)) - 0.5).abs() < 1e-9);
            let alpha = ramp.alpha(&at(a));
            prop_assert!(a >= start || alpha <= 0.0);
            prop_assert!(a < end || alpha >= 1.0);
        }

        #[test]
        fn uniform_is_one_bounded_draw_an_epoch(seed in 0_u64..1 << 53, epoch in 0_u32..100, a in 0.0..=1.0, b in 0.0..=1.0) {
            let ramp = Schedule::Uniform.ramp(target(), EPOCHS);
            let moment = |progress, epoch, seed| Moment { epoch, seed, ..at(progress) };
            let alpha = ramp.alpha(&moment(a, epoch, seed));
            prop_assert!((0.0..=1.0).contains(&alpha));
            prop_assert_eq!(alpha.to_bits(), ramp.alpha(&moment(b, epoch, seed)).to_bits());
            prop_assert_ne!(alpha.to_bits(), ramp.alpha(&moment(a, epoch + 1, seed)).to_bits());
        }
    }

    #[test]
    fn two_hinge_has_the_papers_values() {
        let ramp = Schedule::two_hinge_default().ramp(target(), EPOCHS);
        let alphas = [0.0, 0.249, 0.25, 0.5, 0.75, 1.0].map(|progress| ramp.alpha(&at(progress)));
        let expected = [0.0, 0.0, 0.0, 0.5, 1.0, 1.0];
        assert!(
            alphas
                .iter()
                .zip(expected)
                .all(|(alpha, wanted)| (alpha - wanted).abs() < 1e-12)
        );
        assert!((ramp.epsilon(&at(0.5)) - 4.0 / 255.0).abs() < 1e-15);
        let papers = "two-hinge(12ep,37ep)".parse::<Schedule>().unwrap();
        let alpha = papers.ramp(target(), EPOCHS).alpha(&at(24.5 / 50.0));
        assert!((alpha - 0.5).abs() < 1e-12, "{alpha}");
    }

    #[test]
    fn cosine_rises_from_nothing_through_the_half_to_the_target() {
        let ramp = "cosine(1/2)"
            .parse::<Schedule>()
            .unwrap()
            .ramp(target(), EPOCHS);
        for (progress, wanted) in [
            (0.0, 0.0),
            (0.125, 0.146_446_6),
            (0.25, 0.5),
            (0.5, 1.0),
            (0.9, 1.0),
        ] {
            let alpha = ramp.alpha(&at(progress));
            assert!((alpha - wanted).abs() < 1e-6, "{progress}: {alpha}");
        }
    }

    #[test]
    fn equal_shapes_are_one_ramp() {
        let hinges = |start, end| Schedule::TwoHinge { start, end }.ramp(target(), EPOCHS);
        let ramp = |text: &str| text.parse::<Schedule>().unwrap().ramp(target(), EPOCHS);
        assert_eq!(ramp("fixed"), hinges(Hinge::START, Hinge::START));
        assert_eq!(ramp("cosine(0)"), ramp("fixed"));
        assert_eq!(ramp("linear"), hinges(Hinge::START, Hinge::END));
        assert_eq!(
            ramp("warm-up(1/2)"),
            hinges(Hinge::START, Hinge::Epochs(25))
        );
        assert_eq!(ramp("step(1/2)"), ramp("two-hinge(25ep,1/2)"));
        assert_eq!(
            Schedule::Standard.ramp(target(), EPOCHS),
            Schedule::Standard.ramp(Epsilon::ZERO, EPOCHS)
        );
    }

    #[test]
    fn auto_waits_for_a_plateau_then_rises_to_the_end() {
        let ramp = "auto(2,1/50)"
            .parse::<Schedule>()
            .unwrap()
            .ramp(target(), 10);
        let mut plateau = Plateau::default();
        // A gain within the tolerance is none; 0.50 to 0.53 is one.
        for (epoch, accuracy) in (0..).zip([0.3, 0.5, 0.51, 0.53, 0.54, 0.545]) {
            assert_eq!(plateau.onset(), None, "epoch {epoch}");
            let moment = Moment {
                plateau,
                ..at(f64::from(epoch) / 10.0)
            };
            assert!(ramp.alpha(&moment).abs() < 1e-12 && ramp.may_craft(&moment));
            plateau = ramp.observe(plateau, accuracy, epoch, 10);
        }
        assert_eq!(plateau.onset(), Some("6/10".parse().unwrap()));
        assert_eq!(ramp.observe(plateau, 0.9, 6, 10), plateau);
        for (progress, wanted) in [(0.6, 0.0), (0.8, 0.5), (1.0, 1.0)] {
            let alpha = ramp.alpha(&Moment {
                plateau,
                ..at(progress)
            });
            assert!((alpha - wanted).abs() < 1e-12, "{progress}: {alpha}");
        }
        let fixed = Schedule::Fixed.ramp(target(), 10);
        assert_eq!(
            fixed.observe(Plateau::default(), 0.1, 3, 10),
            Plateau::default()
        );
    }

    #[test]
    fn what_auto_has_seen_survives_json() {
        let ramp = Schedule::auto_default().ramp(target(), 10);
        let seen = ramp.observe(Plateau::default(), 0.1 + 0.2, 0, 10);
        let json = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Plateau>(&json).unwrap(), seen);
    }
}
