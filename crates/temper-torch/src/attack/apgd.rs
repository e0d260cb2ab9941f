//! Auto-PGD, `l_inf` (Croce and Hein 2020), operation by operation as pyautoattack 0.2.0 runs it:
//!
//! ```text
//! x_0 = clamp(x + epsilon * t / (max|t| + 1e-12), 0, 1)            t: the noise
//! z = P(x_t + step * sign(gradient))                              P: within epsilon, then [0, 1]
//! x_{t+1} = P(x_t + a (z - x_t) + (1 - a) (x_t - x_{t-1}))        a: 1 in the first step, then 0.75
//! ```
//!
//! The step begins at 2 epsilon. At checkpoints an image's step is halved, and the image goes back
//! to its best point, if its loss rose in at most 75% of the iterations since the last one, or if
//! neither the step was halved there nor the best loss has risen since. As in the original, the
//! iterate before the best point stays the one that momentum refers to; the losses that are counted
//! leave out the start, whose place is taken by 0; and at the first checkpoint the step counts as
//! halved before.

use tch::{Kind, Tensor};

use super::{
    method::{Method, norms, replace},
    radius::Lengths,
};
use temper_core::attack::Norm;

/// Share of risen losses below which a step is halved.
const RISING: f64 = 0.75;

pub(super) struct ApgdState {
    checkpoints: Checkpoints,
    /// Iterates whose losses are known.
    seen: u32,
    /// What the pixels lie between.
    low: Tensor,
    high: Tensor,
    /// `f32[n, 1, 1, 1]`.
    step: Tensor,
    iterate: Tensor,
    previous: Tensor,
    best: Tensor,
    best_gradient: Tensor,
    /// What else is known of each image, `f32[n]`.
    losses: Losses,
}

struct Losses {
    last: Tensor,
    best: Tensor,
    /// The best at the last checkpoint.
    best_at_checkpoint: Tensor,
    /// How often they rose since then.
    rises: Tensor,
    /// `bool[n]`: whether the step was halved then.
    halved: Tensor,
}

/// When steps are looked at.
struct Checkpoints {
    /// Iterations from the last checkpoint to the next one.
    interval: u32,
    decrement: u32,
    least: u32,
    /// Iterations since the last one.
    since: u32,
}

impl ApgdState {
    pub fn new(steps: u32, x: &Tensor, radius: &Lengths, noise: Option<&Tensor>) -> Self {
        let (low, high) = radius.interval(x);
        let iterate = match noise {
            Some(noise) => {
                let unit = noise / (norms(noise, Norm::Linf) + 1e-12);
                (radius.times(&unit) + x).clamp_(0.0, 1.0)
            }
            None => x.copy(),
        };
        let zeros = Tensor::zeros([x.size()[0]], (Kind::Float, x.device()));
        Self {
            checkpoints: Checkpoints::new(steps),
            seen: 0,
            low,
            high,
            step: radius.column(x, 2.0),
            previous: iterate.copy(),
            best: iterate.copy(),
            best_gradient: iterate.shallow_clone(),
            losses: Losses {
                halved: zeros.ones_like().to_kind(Kind::Bool),
                last: zeros.shallow_clone(),
                best: zeros.shallow_clone(),
                best_at_checkpoint: zeros.shallow_clone(),
                rises: zeros,
            },
            iterate,
        }
    }

    /// Takes in what was found at the start.
    fn begin(&mut self, losses: &Tensor, gradient: &Tensor) {
        self.losses.best = losses.copy();
        self.losses.best_at_checkpoint = losses.copy();
        self.best_gradient = gradient.shallow_clone();
    }

    /// Takes in the losses of an iterate, and the gradient where there is one.
    fn note(&mut self, losses: &Tensor, gradient: Option<&Tensor>) {
        let better = losses.gt_tensor(&self.losses.best);
        replace(&mut self.best, &self.iterate, &better);
        if let Some(gradient) = gradient {
            replace(&mut self.best_gradient, gradient, &better);
        }
        replace(&mut self.losses.best, losses, &better);
        let rose = losses.gt_tensor(&self.losses.last);
        self.losses.rises = &self.losses.rises + rose.to_kind(Kind::Float);
        self.losses.last = losses.copy();
    }

    /// Halves steps and goes back to the best points where that is due; the gradient to follow.
    fn checkpoint(&mut self, window: u32, gradient: &Tensor) -> Tensor {
        let losses = &mut self.losses;
        let oscillates = losses.rises.le(RISING * f64::from(window));
        let stands = losses.best_at_checkpoint.ge_tensor(&losses.best);
        let halve = stands
            .logical_and(&losses.halved.logical_not())
            .logical_or(&oscillates);
        losses.best_at_checkpoint = losses.best.shallow_clone();
        losses.rises = losses.rises.zeros_like();
        let halved = &self.step / 2.0;
        replace(&mut self.step, &halved, &halve);
        replace(&mut self.iterate, &self.best, &halve);
        let mut gradient = gradient.shallow_clone();
        replace(&mut gradient, &self.best_gradient, &halve);
        self.losses.halved = halve;
        gradient
    }

    fn step(&mut self, gradient: &Tensor) {
        let momentum = if self.seen == 0 { 1.0 } else { 0.75 };
        let inertia = (&self.iterate - &self.previous) * (1.0 - momentum);
        let mut next = gradient.sign();
        next *= &self.step;
        next += &self.iterate;
        self.project(&mut next);
        next -= &self.iterate;
        next *= momentum;
        next += &self.iterate;
        next += inertia;
        self.project(&mut next);
        self.previous = std::mem::replace(&mut self.iterate, next);
    }

    fn project(&self, images: &mut Tensor) {
        let _ = images.clamp_tensor_(Some(&self.low), Some(&self.high));
    }
}

impl Method for ApgdState {
    fn iterate(&self) -> &Tensor {
        &self.iterate
    }

    fn advance(&mut self, losses: &Tensor, gradient: &Tensor) {
        if self.seen == 0 {
            self.begin(losses, gradient);
            self.step(gradient);
        } else {
            self.note(losses, Some(gradient));
            match self.checkpoints.pass() {
                Some(window) => {
                    let gradient = self.checkpoint(window, gradient);
                    self.step(&gradient);
                }
                None => self.step(gradient),
            }
        }
        self.seen += 1;
    }

    fn wants_last_losses(&self) -> bool {
        true
    }

    fn last(&mut self, losses: &Tensor) {
        self.note(losses, None);
    }

    fn select(&mut self, index: &Tensor) {
        let Losses {
            last,
            best,
            best_at_checkpoint,
            rises,
            halved,
        } = &mut self.losses;
        for tensor in [
            &mut self.low,
            &mut self.high,
            &mut self.step,
            &mut self.iterate,
            &mut self.previous,
            &mut self.best,
            &mut self.best_gradient,
            last,
            best,
            best_at_checkpoint,
            rises,
            halved,
        ] {
            *tensor = tensor.index_select(0, index);
        }
    }

    fn result(&self) -> Tensor {
        self.best.shallow_clone()
    }
}

impl Checkpoints {
    fn new(steps: u32) -> Self {
        // Hundredths in whole numbers: what truncation makes of the floating-point products.
        let share = |hundredths: u32| (steps.saturating_mul(hundredths) / 100).max(1);
        Self {
            interval: share(22),
            decrement: share(3),
            least: share(6),
            since: 0,
        }
    }

    /// Counts an iteration; at a checkpoint, how many it looks back on.
    fn pass(&mut self) -> Option<u32> {
        self.since += 1;
        if self.since < self.interval {
            return None;
        }
        let window = self.interval;
        self.since = 0;
        let next = self.interval.saturating_sub(self.decrement);
        self.interval = next.max(self.least);
        Some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_come_closer() {
        let at = |steps: u32| -> Vec<u32> {
            let mut checkpoints = Checkpoints::new(steps);
            (1..=steps)
                .filter(|_| checkpoints.pass().is_some())
                .collect()
        };
        assert_eq!(at(100), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!(at(10), [2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(at(1), [1]);
    }
}
