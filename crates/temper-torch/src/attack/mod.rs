//! Attacks: perturbations of images, within a bound, under which a model errs.
//!
//! [`craft`] makes training batches: every image runs to the end, and the result is the one that
//! the settings keep. [`search`] is for evaluation: an image that the model takes for another class
//! at any iterate is broken and leaves the batch at once. Both drive the same two methods, PGD
//! ([`Pgd`](temper_core::attack::Pgd), operation by operation torchattacks 3.5.1) and APGD
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

use tch::Tensor;
use temper_core::attack::{ApgdLoss, Attack, Goal, StepSize};

pub use radius::Radius;
pub use search::{Found, search};

use crate::TorchError;
use input::Input;
use loss::Objective;
use method::{Check, Forward, start};

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
    let run = Run {
        attack,
        steps,
        radius: Radius::All(epsilon),
        step: Radius::All(step(attack, (epsilon, target), steps)),
    };
    crate::run(|| {
        let input = Input::checked(x, Some(y))?;
        run.radius.check(input.len())?;
        if epsilon == 0.0 || input.is_empty() {
            return Ok(x.shallow_clone());
        }
        let _no_grad = tch::no_grad_guard();
        let objective = Objective::training(model, &input, attack)?;
        let losses = |logits: &Tensor| objective.losses(logits, y);
        let check = |logits: &Tensor| input.check_logits(logits, input.len(), attack);
        run.drive(model, x, (&losses, &check), noise, &mut |_| {})
    })
}

/// [`craft`] on any loss instead of the attack's own, as TRADES needs. The settings' goal or loss
/// has no part in it; there are no labels.
///
/// # Errors
/// As [`craft`].
pub fn craft_on(
    model: &Model<'_>,
    (x, losses): (&Tensor, &Losses<'_>),
    (epsilon, target): (f64, f64),
    attack: &Attack,
    steps: u32,
    noise: Option<&Tensor>,
) -> Result<Tensor, TorchError> {
    let run = Run {
        attack,
        steps,
        radius: Radius::All(epsilon),
        step: Radius::All(step(attack, (epsilon, target), steps)),
    };
    crate::run(|| {
        let input = Input::checked(x, None)?;
        run.radius.check(input.len())?;
        if epsilon == 0.0 || input.is_empty() {
            return Ok(x.shallow_clone());
        }
        let _no_grad = tch::no_grad_guard();
        let check = |logits: &Tensor| input.check_logits(logits, input.len(), attack);
        run.drive(model, x, (losses, &check), noise, &mut |_| {})
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
        let run = Run {
            attack,
            steps: attack.steps(),
            step: radius.map(|epsilon| step(attack, (epsilon, epsilon), attack.steps())),
            radius: radius.clone(),
        };
        let losses = |logits: &Tensor| objective.losses(logits, y);
        let check = |logits: &Tensor| input.check_logits(logits, input.len(), attack);
        run.drive(model, x, (&losses, &check), noise, observe)
    })
}

/// An attack on a whole batch.
struct Run<'a> {
    attack: &'a Attack,
    steps: u32,
    radius: Radius,
    /// Of PGD.
    step: Radius,
}

impl Run<'_> {
    /// Runs all steps, and looks only once at whether all losses were finite: asking at every step
    /// would make a GPU wait at every step.
    fn drive(
        &self,
        model: &Model<'_>,
        x: &Tensor,
        (losses, check): (&Losses<'_>, &Check<'_>),
        noise: Option<&Tensor>,
        observe: &mut dyn FnMut(&Iterate<'_>),
    ) -> Result<Tensor, TorchError> {
        let bounds = (&self.radius, &self.step);
        let mut method = start(self.attack, self.steps, x, bounds, noise)?;
        let mut total = Tensor::zeros([], (tch::Kind::Float, x.device()));
        for step in 0..self.steps {
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
            step: self.steps,
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
