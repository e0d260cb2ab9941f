//! What attacks maximise: losses by image, of logits `f32[n, classes]`.

use tch::{Kind, Reduction, Tensor};
use temper_core::attack::{ApgdLoss, Attack, Goal};

use super::{Model, input::Input};
use crate::TorchError;

/// Keeps the ratios of logits from being divided by 0.
const TINY: f64 = 1e-12;

/// Cross-entropies `f32[n]` with labels `i64[n]`.
pub fn cross_entropy(logits: &Tensor, y: &Tensor) -> Tensor {
    logits.cross_entropy_loss(y, None::<&Tensor>, Reduction::None, -100, 0.0)
}

/// Difference of logits ratios `f32[n]` (Croce and Hein 2020, section 3): with `p1`, `p2`, ... the
/// classes from the likeliest on, `-(z_y - max of the others) / (z_p1 - z_p3 + 1e-12)`. Needs 3
/// classes. Positive where the model errs, at most 1.
pub fn dlr(logits: &Tensor, y: &Tensor) -> Tensor {
    let (sorted, order) = logits.sort(1, false);
    let rank = |from_top: i64| sorted.select(1, -from_top);
    let right = order.select(1, -1).eq_tensor(y).to_kind(Kind::Float);
    // Sums of products, not a choice: the same rounding and the same gradients as the original.
    let other = of_class(logits, y) - rank(2) * &right - rank(1) * (right.ones_like() - &right);
    -other / (rank(1) - rank(3) + TINY)
}

/// The ratios `f32[n]` towards the classes `target`, `i64[n]`:
/// `-(z_y - z_t) / (z_p1 - (z_p3 + z_p4) / 2 + 1e-12)`. Needs 4 classes.
pub fn targeted_dlr(logits: &Tensor, y: &Tensor, target: &Tensor) -> Tensor {
    let (sorted, _) = logits.sort(1, false);
    let rank = |from_top: i64| sorted.select(1, -from_top);
    let margin = of_class(logits, y) - of_class(logits, target);
    -margin / (rank(1) - (rank(3) + rank(4)) * 0.5 + TINY)
}

fn of_class(logits: &Tensor, class: &Tensor) -> Tensor {
    logits.gather(1, &class.unsqueeze(1), false).squeeze_dim(1)
}

/// What a model says of images, in single precision.
pub(super) fn logits(model: &Model<'_>, images: &Tensor) -> Tensor {
    model(images).to_kind(Kind::Float)
}

/// The wrong classes `i64[n, classes]` of logits from the likeliest on; the label comes last.
pub(super) fn wrong_classes(logits: &Tensor, y: &Tensor) -> Tensor {
    let label = y.unsqueeze(1);
    let (_, order) = logits
        .scatter_value(1, &label, f64::NEG_INFINITY)
        .sort(1, false);
    order.flip([1])
}

/// An attack's loss, with the classes that it drives to.
pub(super) enum Objective {
    CrossEntropy,
    /// Less the cross-entropy with these classes.
    Towards(Tensor),
    Dlr,
    TargetedDlr(Tensor),
}

impl Objective {
    /// That of training.
    pub fn training(
        model: &Model<'_>,
        input: &Input<'_>,
        attack: &Attack,
    ) -> Result<Self, TorchError> {
        if !super::needs_clean_logits(attack) {
            return Ok(Self::untargeted(attack));
        }
        let logits = logits(model, input.x);
        input.check_logits(&logits, input.len(), attack)?;
        Ok(Self::towards(
            attack,
            &classes(attack, &logits, input.y()).select(1, 0),
        ))
    }

    /// The one that needs no class.
    pub fn untargeted(attack: &Attack) -> Self {
        match attack {
            Attack::Apgd(apgd) if apgd.loss == ApgdLoss::Dlr => Self::Dlr,
            _ => Self::CrossEntropy,
        }
    }

    /// The one that drives to the classes `class`, `i64[n]`.
    pub fn towards(attack: &Attack, class: &Tensor) -> Self {
        match attack {
            Attack::Pgd(_) => Self::Towards(class.shallow_clone()),
            Attack::Apgd(_) => Self::TargetedDlr(class.shallow_clone()),
        }
    }

    /// Losses `f32[n]`, to be raised.
    pub fn losses(&self, logits: &Tensor, y: &Tensor) -> Tensor {
        match self {
            Self::CrossEntropy => cross_entropy(logits, y),
            Self::Towards(class) => -cross_entropy(logits, class),
            Self::Dlr => dlr(logits, y),
            Self::TargetedDlr(class) => targeted_dlr(logits, y, class),
        }
    }

    pub fn select(&self, index: &Tensor) -> Self {
        match self {
            Self::CrossEntropy => Self::CrossEntropy,
            Self::Towards(class) => Self::Towards(class.index_select(0, index)),
            Self::Dlr => Self::Dlr,
            Self::TargetedDlr(class) => Self::TargetedDlr(class.index_select(0, index)),
        }
    }
}

/// The classes `i64[n, targets]` that an attack drives to, one after another; `logits` are those of
/// the clean images.
pub(super) fn classes(attack: &Attack, logits: &Tensor, y: &Tensor) -> Tensor {
    let wrong = wrong_classes(logits, y);
    let count = logits.size().get(1).copied().unwrap_or(0) - 1;
    match attack {
        Attack::Pgd(pgd) if pgd.goal == Goal::LeastLikely => wrong.narrow(1, count - 1, 1),
        Attack::Pgd(_) => wrong.narrow(1, 0, 1),
        Attack::Apgd(apgd) => match apgd.loss {
            ApgdLoss::TargetedDlr { targets } => wrong.narrow(1, 0, count.min(targets.into())),
            ApgdLoss::Ce | ApgdLoss::Dlr => wrong.narrow(1, 0, 1),
        },
    }
}
