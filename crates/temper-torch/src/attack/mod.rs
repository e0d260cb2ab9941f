//! Attacks: perturbations of images, within a bound, under which a model errs.
//!
//! [`craft`] makes training batches: every image runs to the end, and the result is the one that
//! the settings keep. [`search`] is for evaluation: an image that the model takes for another class
//! at any iterate is broken and leaves the batch at once. Both drive the same two methods, PGD
//! ([`Pgd`], operation by operation torchattacks 3.5.1) and APGD
//! ([`Apgd`](temper_core::attack::Apgd), operation by operation pyautoattack 0.2.0); [`trace`] shows
//! what they do step by step.
//!
//! Pixels lie in `[0, 1]`; epsilons are in the same units. A model is used in evaluation mode, where
//! what it does to an image does not depend on the others; losses are summed, not averaged, so that
//! gradients do not either. Only the gradient in the input is computed. Perturbation, projection
//! and loss are in single precision, whatever the model computes in.

mod apgd;
mod input;
pub mod loss;
mod method;
mod pgd;
mod radius;
mod search;
#[cfg(test)]
mod tests;

use tch::Tensor;
use temper_core::attack::{ApgdLoss, Attack, Goal, Pgd, StepSize};

pub use radius::Radius;
pub(crate) use search::images_of_pass;
pub use search::{Found, Guide, search};

use crate::TorchError;
use input::Input;
use loss::Objective;
use method::{Check, Forward, Method, start};
use pgd::PgdState;

/// A model in evaluation mode: pixels `f32[n, c, h, w]` to logits `[n, classes]`.
pub type Model<'a> = dyn Fn(&Tensor) -> Tensor + 'a;

/// A loss that an attack is to raise: logits `f32[n, classes]` to losses `f32[n]`.
pub type Losses<'a> = dyn Fn(&Tensor) -> Tensor + 'a;

/// What [`trace`] shows after the start, and after each step.
pub struct Iterate<'a> {
    /// Steps done.
    pub step: u32,
    /// The images `f32[n, c, h, w]`. They are changed in place by the next step: copy what is to
    /// be kept.
    pub images: &'a Tensor,
}

/// Adversarial images `f32[n, c, h, w]` for training, within `epsilon` of `x` and in `[0, 1]`.
///
/// `epsilon` is the strength now, `target` the one that its schedule leads to: an absolute step of
/// PGD shrinks as epsilon is below it ([`Pgd::step`](temper_core::attack::Pgd::step)). `steps` may be fewer than the attack's; a
/// relative step of PGD is then longer, so that together they go as far. `y` are labels `i64[n]`;
/// `noise` is a point of the unit box or ball for each image, as [`Attack::noise`] says, and is left
/// out where PGD starts from the image. It is the caller's, so that it depends on the image alone.
///
/// All images run to the end. PGD gives its last iterate or the best ([`Pgd::keep`](temper_core::attack::Pgd::keep)), APGD the best,
/// for which its last iterate takes a forward pass without a backward pass. Targeted DLR drives to
/// the likeliest wrong class alone. At epsilon 0 the result is `x` and the model is not run.
///
/// # Errors
/// [`TorchError::BadInput`] for pixels outside `[0, 1]`, shapes or labels that do not fit, an
/// epsilon that is no number or negative, or fewer classes than the attack needs;
/// [`TorchError::NotFinite`] when a loss is no finite number; [`TorchError::Torch`] where the model
/// fails.
pub fn craft(
    model: &Model<'_>,
    (x, y): (&Tensor, &Tensor),
    (epsilon, target): (f64, f64),
    attack: &Attack,
    steps: u32,
    noise: Option<&Tensor>,
) -> Result<Tensor, TorchError> {
    crate::run(|| {
        let input = Input::checked(x, Some(y))?;
        let radius = Radius::All(epsilon);
        radius.check(input.len())?;
        if epsilon == 0.0 || input.is_empty() {
            return Ok(x.shallow_clone());
        }
        let _no_grad = tch::no_grad_guard();
        let objective = Objective::training(model, &input, attack)?;
        let losses = |logits: &Tensor| objective.losses(logits, y);
        let check = |logits: &Tensor| input.check_logits(logits, input.len(), attack);
        let step = Radius::All(step(attack, (epsilon, target), steps));
        let mut method = start(attack, steps, x, (&radius, &step), noise)?;
        drive(&mut *method, steps, model, (&losses, &check), &mut |_| {})
    })
}

/// PGD on any loss from any start, as TRADES needs: `losses` gives what is raised, `f32[n]`, for
/// logits `f32[n, classes]`. The settings' goal, random start and restarts have no part in it.
///
/// # Errors
/// As [`craft`].
pub fn craft_from(
    model: &Model<'_>,
    (x, start): (&Tensor, &Tensor),
    losses: &Losses<'_>,
    pgd: &Pgd,
    (epsilon, target): (f64, f64),
    steps: u32,
) -> Result<Tensor, TorchError> {
    let attack = Attack::Pgd(*pgd);
    crate::run(|| {
        let input = Input::checked(x, None)?;
        let radius = Radius::All(epsilon);
        radius.check(input.len())?;
        if epsilon == 0.0 || input.is_empty() {
            return Ok(x.shallow_clone());
        }
        let _no_grad = tch::no_grad_guard();
        let step = Radius::All(step(&attack, (epsilon, target), steps));
        let bounds = (radius.lengths(x.device()), step.lengths(x.device()));
        let mut method = PgdState::new(pgd, x, bounds, start.copy());
        let check = |logits: &Tensor| input.check_logits(logits, input.len(), &attack);
        drive(&mut method, steps, model, (losses, &check), &mut |_| {})
    })
}

/// The whole way of an attack, for comparisons with its peers: `observe` is shown the start and what
/// each step leads to. No image leaves the batch. Returns what [`craft`] would at this radius.
///
/// `objective` is the class to drive to, `i64[n]`, for a targeted DLR or a goal of PGD; without it
/// the one that [`craft`] takes.
///
/// # Errors
/// As [`craft`].
pub fn trace(
    model: &Model<'_>,
    (x, y): (&Tensor, &Tensor),
    radius: &Radius,
    attack: &Attack,
    (objective, noise): (Option<&Tensor>, Option<&Tensor>),
    observe: &mut dyn FnMut(&Iterate<'_>),
) -> Result<Tensor, TorchError> {
    crate::run(|| {
        let input = Input::checked(x, Some(y))?;
        radius.check(input.len())?;
        let _no_grad = tch::no_grad_guard();
        let objective = match objective {
            Some(class) => Objective::towards(attack, class),
            None => Objective::training(model, &input, attack)?,
        };
        let steps = attack.steps();
        let step = radius.map(|epsilon| step(attack, (epsilon, epsilon), steps));
        let mut method = start(attack, steps, x, (radius, &step), noise)?;
        let losses = |logits: &Tensor| objective.losses(logits, y);
        let check = |logits: &Tensor| input.check_logits(logits, input.len(), attack);
        drive(&mut *method, steps, model, (&losses, &check), observe)
    })
}

/// Runs all steps of an attack on a whole batch, and looks only once at whether all losses were
/// finite: asking at every step would make a GPU wait at every step.
fn drive(
    method: &mut dyn Method,
    steps: u32,
    model: &Model<'_>,
    (losses, check): (&Losses<'_>, &Check<'_>),
    observe: &mut dyn FnMut(&Iterate<'_>),
) -> Result<Tensor, TorchError> {
    let mut total = Tensor::zeros([], (tch::Kind::Float, method.iterate().device()));
    for step in 0..steps {
        let images = method.iterate();
        observe(&Iterate { step, images });
        let check = (step == 0).then_some(check);
        let forward = Forward::run(model, images, (losses, check))?;
        total += &forward.total;
        let found = forward.losses.shallow_clone();
        method.advance(&found, &forward.gradient());
    }
    let images = method.iterate();
    observe(&Iterate {
        step: steps,
        images,
    });
    if method.wants_last_losses() {
        let found = losses(&loss::logits(model, images));
        total += found.sum(tch::Kind::Float);
        method.last(&found);
    }
    if total.double_value(&[]).is_finite() {
        Ok(method.result())
    } else {
        Err(TorchError::NotFinite)
    }
}

/// The step of PGD with `steps` steps, in pixel units.
fn step(attack: &Attack, (epsilon, target): (f64, f64), steps: u32) -> f64 {
    match attack {
        Attack::Pgd(pgd) => {
            let length = pgd.step(epsilon, target);
            match pgd.step_size {
                StepSize::Relative(_) => length * f64::from(pgd.steps) / f64::from(steps.max(1)),
                StepSize::Absolute(_) => length,
            }
        }
        Attack::Apgd(_) => epsilon,
    }
}

/// Whether an attack needs what the model says of the clean images.
fn needs_clean_logits(attack: &Attack) -> bool {
    match attack {
        Attack::Pgd(pgd) => pgd.goal != Goal::Untargeted,
        Attack::Apgd(apgd) => matches!(apgd.loss, ApgdLoss::TargetedDlr { .. }),
    }
}
