//! Attacks, each with its defaults. Ranges are checked with the whole sweep.

use temper_core::{
    Violations,
    attack::{Apgd, ApgdLoss, Attack, Goal, Keep, Norm, Pgd, StepSize, Tier},
};

use super::{Parse, parse_enum};
use crate::v1::{self, attack::Kind};

/// Steps of an attack that measures, when the sweep says nothing.
const MEASURING_STEPS: u32 = 10;
/// Steps of an attack that crafts training batches, when the sweep says nothing (the paper's).
const TRAINING_STEPS: u32 = 7;
/// Classes that targeted APGD tries (`AutoAttack`'s).
const TARGETS: u32 = 9;

/// The fields by which a message names one attack.
type Named<'a> = (Option<&'a v1::Pgd>, Option<&'a v1::Apgd>);

/// The attack that crafts training batches.
pub(super) fn crafting(
    named: Named<'_>,
    field: &str,
    violations: &mut Violations,
) -> Option<Attack> {
    one(named, TRAINING_STEPS, field, violations)
}

/// The attack of a measurement.
pub(super) fn measuring(
    named: Named<'_>,
    field: &str,
    violations: &mut Violations,
) -> Option<Attack> {
    one(named, MEASURING_STEPS, field, violations)
}

/// The attacks of an evaluation.
pub(super) fn evaluating(
    message: &v1::EvaluationSettings,
    field: &str,
    violations: &mut Violations,
) -> Option<Vec<Attack>> {
    let given = [
        message.attack.is_some(),
        message.apgd.is_some(),
        !message.tier.is_empty(),
        !message.attacks.is_empty(),
    ];
    if given.into_iter().filter(|given| *given).count() > 1 {
        violations.add(
            field,
            "at most one of attack, apgd, tier and attacks can be given",
        );
        return None;
    }
    if !message.tier.is_empty() {
        let tier = violations.take(&format!("{field}.tier"), message.tier.parse::<Tier>());
        return tier.map(Tier::attacks);
    }
    if !message.attacks.is_empty() {
        let attacks = Attack::parse_all(&message.attacks, &format!("{field}.attacks"), violations);
        return (attacks.len() == message.attacks.len()).then_some(attacks);
    }
    let named = (message.attack.as_ref(), message.apgd.as_ref());
    measuring(named, field, violations).map(|attack| vec![attack])
}

fn one(
    (pgd, apgd): Named<'_>,
    steps: u32,
    field: &str,
    violations: &mut Violations,
) -> Option<Attack> {
    match (pgd, apgd) {
        (Some(_), Some(_)) => {
            violations.add(field, "at most one of attack and apgd can be given");
            None
        }
        (None, Some(apgd)) => {
            parse_apgd(apgd, steps, &format!("{field}.apgd"), violations).map(Attack::Apgd)
        }
        (Some(pgd), None) => {
            parse_pgd(pgd, steps, &format!("{field}.attack"), violations).map(Attack::Pgd)
        }
        (None, None) => Some(Attack::Pgd(Pgd::with_steps(steps))),
    }
}

fn parse_pgd(
    message: &v1::Pgd,
    steps: u32,
    field: &str,
    violations: &mut Violations,
) -> Option<Pgd> {
    let name = |part: &str| format!("{field}.{part}");
    let default = Pgd::with_steps(message.steps.unwrap_or(steps));
    let step_size = match (message.relative_step_size, message.step_size) {
        (Some(_), Some(_)) => {
            let reason = "at most one of relative_step_size and step_size can be given";
            violations.add(name("step_size"), reason);
            None
        }
        (Some(share), None) => Some(StepSize::Relative(share)),
        (None, Some(size)) => Some(StepSize::Absolute(size)),
        (None, None) => Some(default.step_size),
    };
    let norm = parse_enum(message.norm, &name("norm"), violations).map(|norm| match norm {
        v1::Norm::Unspecified | v1::Norm::Linf => Norm::Linf,
        v1::Norm::L2 => Norm::L2,
    });
    let goal = parse_enum(message.goal, &name("goal"), violations).map(|goal| match goal {
        v1::PgdGoal::Unspecified | v1::PgdGoal::Untargeted => Goal::Untargeted,
        v1::PgdGoal::RunnerUp => Goal::RunnerUp,
        v1::PgdGoal::LeastLikely => Goal::LeastLikely,
    });
    let keep = parse_enum(message.keep, &name("keep"), violations).map(|keep| match keep {
        v1::PgdKeep::Unspecified | v1::PgdKeep::Last => Keep::Last,
        v1::PgdKeep::Best => Keep::Best,
    });
    Some(Pgd {
        norm: norm?,
        step_size: step_size?,
        random_start: message.random_start.unwrap_or(default.random_start),
        restarts: message.restarts.unwrap_or(default.restarts),
        goal: goal?,
        keep: keep?,
        ..default
    })
}

fn parse_apgd(
    message: &v1::Apgd,
    steps: u32,
    field: &str,
    violations: &mut Violations,
) -> Option<Apgd> {
    let loss = parse_enum(message.loss, &format!("{field}.loss"), violations)?;
    let targets = message.targets.unwrap_or(TARGETS);
    let targeted = loss == v1::ApgdLoss::TargetedDlr;
    violations.require(
        targeted || message.targets.is_none(),
        &format!("{field}.targets"),
        || "only the targeted DLR has targets".to_owned(),
    );
    Some(Apgd {
        loss: match loss {
            v1::ApgdLoss::Unspecified | v1::ApgdLoss::Ce => ApgdLoss::Ce,
            v1::ApgdLoss::Dlr => ApgdLoss::Dlr,
            v1::ApgdLoss::TargetedDlr => ApgdLoss::TargetedDlr { targets },
        },
        steps: message.steps.unwrap_or(steps),
        restarts: message.restarts.unwrap_or(1),
    })
}

impl Parse for Attack {
    type Message = v1::Attack;

    fn parse(message: &v1::Attack, field: &str, violations: &mut Violations) -> Option<Self> {
        match &message.kind {
            None => {
                violations.add(field, "must be one of pgd, apgd");
                None
            }
            Some(Kind::Pgd(pgd)) => {
                let field = format!("{field}.pgd");
                parse_pgd(pgd, MEASURING_STEPS, &field, violations).map(Self::Pgd)
            }
            Some(Kind::Apgd(apgd)) => {
                let field = format!("{field}.apgd");
                parse_apgd(apgd, MEASURING_STEPS, &field, violations).map(Self::Apgd)
            }
        }
    }
}

impl From<&Attack> for v1::Attack {
    fn from(attack: &Attack) -> Self {
        let kind = match attack {
            Attack::Pgd(pgd) => Kind::Pgd(pgd.into()),
            Attack::Apgd(apgd) => Kind::Apgd(apgd.into()),
        };
        Self { kind: Some(kind) }
    }
}

/// The two fields by which a message names one attack.
pub(super) fn split(attack: &Attack) -> (Option<v1::Pgd>, Option<v1::Apgd>) {
    match attack {
        Attack::Pgd(pgd) => (Some(pgd.into()), None),
        Attack::Apgd(apgd) => (None, Some(apgd.into())),
    }
}

impl From<&Pgd> for v1::Pgd {
    fn from(value: &Pgd) -> Self {
        let norm = match value.norm {
            Norm::Linf => v1::Norm::Linf,
            Norm::L2 => v1::Norm::L2,
        };
        let goal = match value.goal {
            Goal::Untargeted => v1::PgdGoal::Untargeted,
            Goal::RunnerUp => v1::PgdGoal::RunnerUp,
            Goal::LeastLikely => v1::PgdGoal::LeastLikely,
        };
        let keep = match value.keep {
            Keep::Last => v1::PgdKeep::Last,
            Keep::Best => v1::PgdKeep::Best,
        };
        let (relative_step_size, step_size) = match value.step_size {
            StepSize::Relative(share) => (Some(share), None),
            StepSize::Absolute(size) => (None, Some(size)),
        };
        Self {
            steps: Some(value.steps),
            relative_step_size,
            random_start: Some(value.random_start),
            norm: norm.into(),
            step_size,
            restarts: Some(value.restarts),
            goal: goal.into(),
            keep: keep.into(),
        }
    }
}

impl From<&Apgd> for v1::Apgd {
    fn from(value: &Apgd) -> Self {
        let (loss, targets) = match value.loss {
            ApgdLoss::Ce => (v1::ApgdLoss::Ce, None),
            ApgdLoss::Dlr => (v1::ApgdLoss::Dlr, None),
            ApgdLoss::TargetedDlr { targets } => (v1::ApgdLoss::TargetedDlr, Some(targets)),
        };
        Self {
            loss: loss.into(),
            steps: Some(value.steps),
            restarts: Some(value.restarts),
            targets,
        }
    }
}
