//! What PGD and APGD have in common: iterates, which move by what the model says of them.

use tch::{Kind, Tensor};
use temper_core::attack::{Attack, Norm};

use super::{Losses, Model, Radius, apgd::ApgdState, input::bad, loss::logits, pgd::PgdState};
use crate::TorchError;

/// An attack under way on a batch.
pub(super) trait Method {
    /// The images that the model is to look at, `f32[n, c, h, w]`.
    fn iterate(&self) -> &Tensor;
    /// Moves on, by the iterate's losses `f32[n]` and its gradient.
    fn advance(&mut self, losses: &Tensor, gradient: &Tensor);
    /// Whether the losses of the last iterate decide about the result.
    fn wants_last_losses(&self) -> bool;
    /// Takes them in.
    fn last(&mut self, losses: &Tensor);
    /// Goes on with the images at `index`, `i64[m]`, alone.
    fn select(&mut self, index: &Tensor);
    /// The images that the settings keep.
    fn result(&self) -> Tensor;
}

/// An attack at its start: within `radius`, PGD by steps of `step`.
pub(super) fn start(
    attack: &Attack,
    steps: u32,
    x: &Tensor,
    (radius, step): (&Radius, &Radius),
    noise: Option<&Tensor>,
) -> Result<Box<dyn Method>, TorchError> {
    let noise = noise.filter(|_| attack.noise().is_some());
    if let Some(noise) = noise
        && noise.size() != x.size()
    {
        let (noise, x) = (noise.size(), x.size());
        return bad(format!("noise {noise:?} for images {x:?}"));
    }
    let (radius, step) = (radius.lengths(x.device()), step.lengths(x.device()));
    Ok(match attack {
        Attack::Pgd(pgd) => {
            let iterate = match noise {
                Some(noise) => (radius.times(noise) + x).clamp_(0.0, 1.0),
                None => x.copy(),
            };
            Box::new(PgdState::new(pgd, x, (radius, step), iterate))
        }
        Attack::Apgd(_) => Box::new(ApgdState::new(steps, x, &radius, noise)),
    })
}

/// What is made sure of logits before losses are taken of them.
pub(super) type Check<'a> = dyn Fn(&Tensor) -> Result<(), TorchError> + 'a;

/// A forward pass that a backward pass may follow.
pub(super) struct Forward {
    input: Tensor,
    /// The sum of the losses, with its graph.
    loss: Tensor,
    /// `f32[n, classes]`.
    pub logits: Tensor,
    /// `f32[n]`.
    pub losses: Tensor,
    /// Their sum, `f32[]`.
    pub total: Tensor,
}

impl Forward {
    pub fn run(
        model: &Model<'_>,
        images: &Tensor,
        (losses, check): (&Losses<'_>, Option<&Check<'_>>),
    ) -> Result<Self, TorchError> {
        tch::with_grad(|| {
            let input = images.detach().set_requires_grad(true);
            let logits = logits(model, &input);
            check.map_or(Ok(()), |check| check(&logits))?;
            let losses = losses(&logits);
            let loss = losses.sum(Kind::Float);
            Ok(Self {
                logits: logits.detach(),
                losses: losses.detach(),
                total: loss.detach(),
                input,
                loss,
            })
        })
    }

    /// The gradient in the images, and in nothing else; in their order in memory, so that the
    /// model's does not pass over to the next iterate.
    pub fn gradient(self) -> Tensor {
        Tensor::run_backward(&[&self.loss], &[&self.input], false, false)
            .swap_remove(0)
            .contiguous()
    }
}

/// Norms `f32[n, 1, 1, 1]` of images or perturbations.
pub(super) fn norms(images: &Tensor, norm: Norm) -> Tensor {
    let flat = images.flatten(1, -1);
    let norms = match norm {
        Norm::Linf => flat.abs().amax([1], false),
        Norm::L2 => flat.norm_scalaropt_dim(2, [1], false),
    };
    norms.reshape([-1, 1, 1, 1])
}

/// Takes over those of `new` at which `better`, `bool[n]`, holds.
pub(super) fn replace(old: &mut Tensor, new: &Tensor, better: &Tensor) {
    let shape: Vec<i64> = std::iter::once(-1)
        .chain(std::iter::repeat_n(1, old.dim() - 1))
        .collect();
    *old = new.where_self(&better.reshape(shape), old);
}
