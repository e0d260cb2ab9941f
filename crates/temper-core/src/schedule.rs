//! Epsilon schedules: the share of the target strength at which a training step crafts its
//! perturbation, as a pure function of the time since the run's start.
//!
//! Source: Ngnawé et al., "Robust Fine-Tuning from Non-Robust Pretrained Models: Mitigating
//! Suboptimal Transfer With Epsilon-Scheduling", ICLR 2026, section on epsilon-scheduling and its
//! appendix on schedule variants. The first epoch starts at `t = 0`.

mod hinge;
mod ramp;
mod text;

use serde::{Deserialize, Serialize};

pub use self::{
    hinge::{Hinge, ParseHingeError},
    ramp::{Moment, Plateau, Ramp},
    text::ParseScheduleError,
};
use crate::{Epsilon, Fraction};

/// A schedule as a sweep names it. Hinges are shares of the run, so that a short run keeps the
/// shape of a long one, or epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Schedule {
    /// No perturbation at all: ordinary fine-tuning, the upper reference for clean accuracy.
    Standard,
    /// The target strength from the first step (Madry et al. 2018).
    Fixed,
    /// Zero up to `start`, then linear up to the target at `end`, then the target.
    TwoHinge {
        /// Where the ramp starts.
        start: Hinge,
        /// Where the target is reached, not before `start`.
        end: Hinge,
    },
    /// A ramp over the whole run: two-hinge from 0 to 1 (PGDLS).
    Linear,
    /// A ramp from the first step on: two-hinge from 0 (Pang et al. 2021; Debenedetti et al. 2023).
    WarmUp {
        /// Where the target is reached.
        end: Hinge,
    },
    /// Zero, then the target at once: two-hinge with both hinges at one place. It collapses in the
    /// paper (Table 7).
    Step {
        /// Where the target begins.
        at: Hinge,
    },
    /// A share of the target uniform in `[0, 1)`, one draw an epoch, keyed by the run's seed (the
    /// paper's Table 8).
    Uniform,
    /// Zero until validation accuracy stops improving, then linear to the end of the run (the
    /// paper's Table 4).
    Auto {
        /// Epochs without improvement that end the wait, at least 1.
        patience: u32,
        /// What an improvement must exceed, in accuracy.
        tolerance: Fraction,
    },
    /// Half a cosine from 0 up to the target at `end`: one cycle of periodic adversarial scheduling
    /// (Liu et al. 2020).
    Cosine {
        /// Where the target is reached.
        end: Hinge,
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
        Self::TwoHinge {
            start: Hinge::QUARTER,
            end: Hinge::THREE_QUARTERS,
        }
    }

    /// The paper's: patience of 5 epochs, tolerance of 2 points of accuracy.
    #[must_use]
    pub fn auto_default() -> Self {
        Self::Auto {
            patience: 5,
            tolerance: Fraction::new(1, 50).unwrap_or(Fraction::ZERO),
        }
    }

    /// The ramp towards `target` of a run of `epochs` epochs. A hinge after the run's end counts as
    /// its end; [`crate::validate`] refuses such.
    #[must_use]
    pub fn ramp(self, target: Epsilon, epochs: u32) -> Ramp {
        let at = |hinge: Hinge| hinge.share(epochs).unwrap_or(Fraction::ONE);
        let (start, end) = match self {
            Self::Standard => return Ramp::Standard,
            Self::Uniform => return Ramp::Uniform { target },
            Self::Auto {
                patience,
                tolerance,
            } => {
                return Ramp::Auto {
                    patience,
                    tolerance,
                    target,
                };
            }
            Self::Cosine { end } if at(end) > Fraction::ZERO => {
                let end = at(end);
                return Ramp::Cosine { end, target };
            }
            Self::Fixed | Self::Cosine { .. } => (Fraction::ZERO, Fraction::ZERO),
            Self::TwoHinge { start, end } => (at(start), at(end)),
            Self::Linear => (Fraction::ZERO, Fraction::ONE),
            Self::WarmUp { end } => (Fraction::ZERO, at(end)),
            Self::Step { at: hinge } => (at(hinge), at(hinge)),
        };
        Ramp::Hinged { start, end, target }
    }

    /// Its hinges by the names of their fields, in the order in which they must come.
    #[must_use]
    pub fn hinges(&self) -> Vec<(&'static str, Hinge)> {
        match *self {
            Self::Standard | Self::Fixed | Self::Linear | Self::Uniform | Self::Auto { .. } => {
                Vec::new()
            }
            Self::TwoHinge { start, end } => {
                vec![("two_hinge.start", start), ("two_hinge.end", end)]
            }
            Self::WarmUp { end } => vec![("warm_up.end", end)],
            Self::Step { at } => vec![("step.at", at)],
            Self::Cosine { end } => vec![("cosine.end", end)],
        }
    }
}
