//! Projected gradient descent (Madry et al. 2018) in the order of operations of torchattacks 3.5.1,
//! so that results agree to the last bit:
//!
//! ```text
//! x_0 = clamp(x + epsilon * noise, 0, 1)                          x itself without noise
//! l_inf:  x' = x_t + step * sign(gradient)                        sign(0) = 0
//!         x_{t+1} = clamp(x + clamp(x' - x, -epsilon, epsilon), 0, 1)
//! l_2:    x' = x_t + step * gradient / (||gradient|| + 1e-10),  d = x' - x
//!         x_{t+1} = clamp(x + d * min(1, epsilon / ||d||), 0, 1)
//! ```

use tch::Tensor;
use temper_core::attack::{Keep, Norm, Pgd};

use super::{
    method::{Method, norms, replace},
    radius::Lengths,
};

pub(super) struct PgdState {
    norm: Norm,
    x: Tensor,
    radius: Lengths,
    step: Lengths,
    /// Changed in place.
    iterate: Tensor,
    /// The best images and their losses, where they are kept.
    best: Option<Best>,
}

struct Best {
    images: Tensor,
    /// `f32[n]`; nothing before the start was looked at.
    losses: Option<Tensor>,
}

impl PgdState {
    /// From `iterate`, which it changes in place.
    pub fn new(pgd: &Pgd, x: &Tensor, (radius, step): (Lengths, Lengths), iterate: Tensor) -> Self {
        let best = (pgd.keep == Keep::Best).then(|| Best {
            images: iterate.copy(),
            losses: None,
        });
        Self {
            norm: pgd.norm,
            x: x.detach(),
            radius,
            step,
            iterate,
            best,
        }
    }

    fn note(&mut self, losses: &Tensor) {
        let Some(best) = &mut self.best else { return };
        match &mut best.losses {
            None => best.losses = Some(losses.copy()),
            Some(most) => {
                let better = losses.gt_tensor(most);
                replace(&mut best.images, &self.iterate, &better);
                replace(most, losses, &better);
            }
        }
    }
}

impl Method for PgdState {
    fn iterate(&self) -> &Tensor {
        &self.iterate
    }

    fn advance(&mut self, losses: &Tensor, gradient: &Tensor) {
        self.note(losses);
        let mut change = match self.norm {
            Norm::Linf => gradient.sign(),
            Norm::L2 => gradient / (norms(gradient, Norm::L2) + 1e-10),
        };
        self.step.scale(&mut change);
        self.iterate += change;
        // From here on it is the perturbation, until the image is added again.
        self.iterate -= &self.x;
        match self.norm {
            Norm::Linf => self.radius.clamp(&mut self.iterate),
            Norm::L2 => {
                let norms = norms(&self.iterate, Norm::L2);
                self.radius.shorten(&mut self.iterate, &norms);
            }
        }
        self.iterate += &self.x;
        let _ = self.iterate.clamp_(0.0, 1.0);
    }

    fn wants_last_losses(&self) -> bool {
        self.best.is_some()
    }

    fn last(&mut self, losses: &Tensor) {
        self.note(losses);
    }

    fn select(&mut self, index: &Tensor) {
        self.x = self.x.index_select(0, index);
        self.iterate = self.iterate.index_select(0, index);
        self.radius = self.radius.select(index);
        self.step = self.step.select(index);
        if let Some(best) = &mut self.best {
            best.images = best.images.index_select(0, index);
            let losses = best.losses.as_ref();
            best.losses = losses.map(|losses| losses.index_select(0, index));
        }
    }

    fn result(&self) -> Tensor {
        let best = self.best.as_ref().map(|best| &best.images);
        best.unwrap_or(&self.iterate).shallow_clone()
    }
}
