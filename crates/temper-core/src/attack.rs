//! Attacks by their settings: what is maximised, within which norm, in how many steps.
//!
//! What they compute is in temper-torch; here is what a sweep may ask for and what keys hold.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::random::Noise;

/// The norm that an epsilon is a bound of, on perturbations in pixel units of `[0, 1]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// The largest change of a pixel's channel.
    #[default]
    Linf,
    /// The Euclidean length over all pixels and channels of an image.
    L2,
}

/// How far a step of PGD goes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepSize {
    /// A multiple of epsilon, above 0.
    Relative(f64),
    /// A length in pixel units, above 0. In training, where epsilon follows a schedule, this is the
    /// step at the target and shrinks with epsilon.
    Absolute(f64),
}

/// Which class PGD drives a sample to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Away from its label.
    #[default]
    Untargeted,
    /// To the likeliest class, other than the label, of the clean image.
    RunnerUp,
    /// To the unlikeliest class, other than the label, of the clean image.
    LeastLikely,
}

/// Which iterate of PGD is the result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The last one.
    #[default]
    Last,
    /// By sample, the one with the greatest loss, the start among them.
    Best,
}

/// Projected gradient descent on the cross-entropy (Madry et al. 2018).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pgd {
    /// What epsilon bounds.
    pub norm: Norm,
    /// Gradient steps, at least 1.
    pub steps: u32,
    /// How far each goes.
    pub step_size: StepSize,
    /// Start from a random point in the epsilon ball instead of the image itself.
    pub random_start: bool,
    /// Runs with noise of their own, at least 1; a sample is broken when any of them breaks it.
    pub restarts: u32,
    /// Where samples are driven.
    pub goal: Goal,
    /// Which iterate counts.
    pub keep: Keep,
}

/// What APGD maximises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApgdLoss {
    /// The cross-entropy.
    Ce,
    /// The difference of logits ratio; needs 3 classes.
    Dlr,
    /// The same towards each of so many of the likeliest wrong classes in turn; needs 4 classes.
    TargetedDlr {
        /// Classes tried, at least 1; no more than there are wrong ones.
        targets: u32,
    },
}

/// Auto-PGD, `l_inf` (Croce and Hein 2020): PGD with momentum whose step adapts to its progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Apgd {
    /// What is maximised.
    pub loss: ApgdLoss,
    /// Iterations, at least 1.
    pub steps: u32,
    /// Runs with noise of their own, at least 1; a sample is broken when any of them breaks it.
    pub restarts: u32,
}

/// An attack.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Attack {
    /// Projected gradient descent.
    Pgd(Pgd),
    /// Auto-PGD.
    Apgd(Apgd),
}

/// Attacks for evaluation that people know by name, from the cheapest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// 20 steps of PGD.
    Pgd20,
    /// 10 iterations of APGD on the cross-entropy: the paper's.
    ApgdCe10,
    /// 100 iterations of APGD on the cross-entropy, as in `AutoAttack`.
    ApgdCe100,
    /// `AutoAttack`'s first two: APGD on the cross-entropy, then on the targeted DLR for nine
    /// classes on what is left, 100 iterations each.
    ApgdCeT,
}

/// A tier that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no tier `{0}`: known are pgd-20, apgd-ce-10, apgd-ce-100 and apgd-ce+t")]
pub struct ParseTierError(String);

impl Pgd {
    /// `steps` untargeted `l_inf` steps of `2.5 / steps` epsilon from a random start, once (Madry
    /// et al. 2018).
    #[must_use]
    pub fn with_steps(steps: u32) -> Self {
        Self {
            norm: Norm::Linf,
            steps,
            step_size: StepSize::Relative(2.5 / f64::from(steps.max(1))),
            random_start: true,
            restarts: 1,
            goal: Goal::Untargeted,
            keep: Keep::Last,
        }
    }

    /// The step at `epsilon` on the way to `target`, in pixel units.
    #[must_use]
    pub fn step(&self, epsilon: f64, target: f64) -> f64 {
        match self.step_size {
            StepSize::Relative(share) => share * epsilon,
            StepSize::Absolute(size) if epsilon < target => size * epsilon / target,
            StepSize::Absolute(size) => size,
        }
    }
}

impl Apgd {
    /// `steps` iterations on `loss`, once.
    #[must_use]
    pub fn new(loss: ApgdLoss, steps: u32) -> Self {
        Self {
            loss,
            steps,
            restarts: 1,
        }
    }
}

impl Attack {
    /// Steps or iterations, at least 1.
    #[must_use]
    pub fn steps(&self) -> u32 {
        match self {
            Self::Pgd(pgd) => pgd.steps,
            Self::Apgd(apgd) => apgd.steps,
        }
    }

    /// The norm of its epsilons.
    #[must_use]
    pub fn norm(&self) -> Norm {
        match self {
            Self::Pgd(pgd) => pgd.norm,
            Self::Apgd(_) => Norm::Linf,
        }
    }

    /// What its start noise is drawn from; none where it starts from the image.
    #[must_use]
    pub fn noise(&self) -> Option<Noise> {
        match self {
            Self::Pgd(pgd) if !pgd.random_start => None,
            Self::Pgd(pgd) if pgd.norm == Norm::L2 => Some(Noise::Ball),
            Self::Pgd(_) | Self::Apgd(_) => Some(Noise::Box),
        }
    }

    /// Classes that it needs.
    #[must_use]
    pub fn classes(&self) -> u32 {
        match self {
            Self::Apgd(Apgd { loss, .. }) => loss.classes(),
            Self::Pgd(_) => 2,
        }
    }
}

impl ApgdLoss {
    /// Classes that it needs: the logits that it compares.
    #[must_use]
    pub fn classes(self) -> u32 {
        match self {
            Self::Ce => 2,
            Self::Dlr => 3,
            Self::TargetedDlr { .. } => 4,
        }
    }
}

impl Tier {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pgd20, Self::ApgdCe10, Self::ApgdCe100, Self::ApgdCeT];

    /// What runs, in this order, each on what the one before has not broken.
    #[must_use]
    pub fn attacks(self) -> Vec<Attack> {
        let ce = |steps| Attack::Apgd(Apgd::new(ApgdLoss::Ce, steps));
        let targeted = ApgdLoss::TargetedDlr { targets: 9 };
        match self {
            Self::Pgd20 => vec![Attack::Pgd(Pgd::with_steps(20))],
            Self::ApgdCe10 => vec![ce(10)],
            Self::ApgdCe100 => vec![ce(100)],
            Self::ApgdCeT => vec![ce(100), Attack::Apgd(Apgd::new(targeted, 100))],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pgd20 => "pgd-20",
            Self::ApgdCe10 => "apgd-ce-10",
            Self::ApgdCe100 => "apgd-ce-100",
            Self::ApgdCeT => "apgd-ce+t",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tier {
    type Err = ParseTierError;

    fn from_str(text: &str) -> Result<Self, ParseTierError> {
        let known = Self::ALL.into_iter().find(|tier| tier.name() == text);
        known.ok_or_else(|| ParseTierError(text.to_owned()))
    }
}

/// `pgd-10`, `apgd-ce-100`, with what is not usual behind it: `pgd-10(l2,best,restarts=2)`.
impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unusual = match self {
            Self::Pgd(pgd) => {
                write!(f, "pgd-{}", pgd.steps)?;
                pgd.unusual()
            }
            Self::Apgd(apgd) => {
                write!(f, "apgd-{}-{}", apgd.loss.name(), apgd.steps)?;
                apgd.unusual()
            }
        };
        if unusual.is_empty() {
            return Ok(());
        }
        write!(f, "({})", unusual.join(","))
    }
}

/// What attacks that run one after another are called: a tier's name, or theirs joined.
#[must_use]
pub fn name(attacks: &[Attack]) -> String {
    let tier = Tier::ALL.into_iter().find(|tier| tier.attacks() == attacks);
    tier.map_or_else(
        || {
            attacks
                .iter()
                .map(Attack::to_string)
                .collect::<Vec<_>>()
                .join("+")
        },
        |tier| tier.to_string(),
    )
}

impl Pgd {
    fn unusual(&self) -> Vec<String> {
        let usual = Self::with_steps(self.steps);
        let mut parts = Vec::new();
        if self.norm == Norm::L2 {
            parts.push("l2".to_owned());
        }
        if self.step_size != usual.step_size {
            parts.push(match self.step_size {
                StepSize::Relative(share) => format!("step={share}eps"),
                StepSize::Absolute(size) => format!("step={size}"),
            });
        }
        if !self.random_start {
            parts.push("from-image".to_owned());
        }
        match self.goal {
            Goal::Untargeted => {}
            Goal::RunnerUp => parts.push("to-runner-up".to_owned()),
            Goal::LeastLikely => parts.push("to-least-likely".to_owned()),
        }
        if self.keep == Keep::Best {
            parts.push("best".to_owned());
        }
        if self.restarts != 1 {
            parts.push(format!("restarts={}", self.restarts));
        }
        parts
    }
}

impl Apgd {
    fn unusual(&self) -> Vec<String> {
        let mut parts = Vec::new();
        if let ApgdLoss::TargetedDlr { targets } = self.loss
            && targets != 9
        {
            parts.push(format!("targets={targets}"));
        }
        if self.restarts != 1 {
            parts.push(format!("restarts={}", self.restarts));
        }
        parts
    }
}

impl ApgdLoss {
    fn name(self) -> &'static str {
        match self {
            Self::Ce => "ce",
            Self::Dlr => "dlr",
            Self::TargetedDlr { .. } => "t",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_known_by_their_names_and_by_what_they_run() {
        for tier in Tier::ALL {
            assert_eq!(tier.to_string().parse(), Ok(tier));
            assert_eq!(name(&tier.attacks()), tier.to_string());
        }
        let error = "autoattack".parse::<Tier>().unwrap_err().to_string();
        assert!(
            Tier::ALL.iter().all(|tier| error.contains(tier.name())),
            "{error}"
        );
    }

    #[test]
    fn names_tell_what_is_not_usual() {
        let pgd = Pgd {
            norm: Norm::L2,
            restarts: 2,
            keep: Keep::Best,
            ..Pgd::with_steps(10)
        };
        assert_eq!(Attack::Pgd(pgd).to_string(), "pgd-10(l2,best,restarts=2)");
        assert_eq!(name(&[Attack::Pgd(Pgd::with_steps(7))]), "pgd-7");
        let two = [ApgdLoss::Ce, ApgdLoss::Dlr].map(|loss| Attack::Apgd(Apgd::new(loss, 50)));
        assert_eq!(name(&two), "apgd-ce-50+apgd-dlr-50");
    }

    #[test]
    fn steps_shrink_with_epsilon_below_the_target() {
        let relative = Pgd::with_steps(10);
        let absolute = Pgd {
            step_size: StepSize::Absolute(0.01),
            ..relative
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(relative.step(0.02, 0.04), 0.005);
        close(absolute.step(0.02, 0.04), 0.005);
        close(absolute.step(0.04, 0.04), 0.01);
        close(absolute.step(0.04, 0.02), 0.01);
    }
}
