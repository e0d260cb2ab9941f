//! `AdamW` with a state that can be saved, and the learning rate over a run.

use tch::Tensor;
use temper_core::spec::Hyperparameters;

use crate::{
    TorchError,
    models::{Network, Parameter},
    tensors::Tensors,
};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The share of the peak learning rate at `step` of `steps`, in `(0, 1]`: linear from
/// `1 / (w + 1)` at step 0 to 1 at step `w`, where `w = round(warmup * steps)`, then half a cosine
/// that would reach 0 at `steps` (Loshchilov and Hutter 2017, without restarts).
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of steps are far below 2^52"
)]
pub fn learning_rate_share(step: u64, steps: u64, warmup: f64) -> f64 {
    let warm = (warmup * steps as f64).round();
    let (step, steps) = (step as f64, steps as f64);
    if step < warm {
        return (step + 1.0) / (warm + 1.0);
    }
    let progress = (step - warm) / (steps - warm).max(1.0);
    0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
}

/// `AdamW` (Loshchilov and Hutter 2019) as `PyTorch` computes it, to the last bit: betas 0.9 and
/// 0.999, epsilon 1e-8. Two groups, the head having a learning rate of its own; no decay on tensors of one
/// dimension (biases and norms).
pub struct AdamW {
    slots: Vec<Slot>,
    weight_decay: f64,
    steps: u64,
}

struct Slot {
    name: String,
    parameter: Tensor,
    is_head: bool,
    /// Made at the first step: until then a loading model has the memory to itself.
    moments: Option<Moments>,
}

/// Running means of a gradient and of its square.
struct Moments {
    mean: Tensor,
    square: Tensor,
}

/// The learning rates of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Of the pretrained part.
    pub backbone: f64,
    /// Of the head.
    pub head: f64,
}

impl Rates {
    /// The rates at `step` of `steps`.
    #[must_use]
    pub fn at(hyperparameters: &Hyperparameters, step: u64, steps: u64) -> Self {
        let share = learning_rate_share(step, steps, hyperparameters.warmup.value());
        Self {
            backbone: share * hyperparameters.learning_rate,
            head: share * hyperparameters.head_learning_rate,
        }
    }
}

/// Shortens `gradients` together to the length `limit` where they are longer, and gives their
/// Euclidean length as it was, as torch's `clip_grad_norm_`: by `limit / (length + 1e-6)`.
pub fn clip(gradients: &mut [Tensor], limit: f64) -> f64 {
    let _no_grad = tch::no_grad_guard();
    let lengths: Vec<Tensor> = gradients.iter().map(Tensor::norm).collect();
    if lengths.is_empty() {
        return 0.0;
    }
    let length = Tensor::stack(&lengths, 0).norm().double_value(&[]);
    let factor = limit / (length + 1e-6);
    if factor < 1.0 {
        for gradient in gradients {
            let _ = gradient.g_mul_scalar_(factor);
        }
    }
    length
}

impl AdamW {
    /// An optimiser of all trained tensors of `network`, with no steps done.
    #[must_use]
    pub fn new(network: &Network, weight_decay: f64) -> Self {
        Self::over(network.parameters(), weight_decay)
    }

    /// The same over a plain list.
    #[must_use]
    pub fn over(parameters: &[Parameter], weight_decay: f64) -> Self {
        let slots = parameters
            .iter()
            .filter(|parameter| parameter.trainable)
            .map(|parameter| Slot {
                name: parameter.name.clone(),
                parameter: parameter.tensor.shallow_clone(),
                is_head: parameter.is_head,
                moments: None,
            });
        Self {
            slots: slots.collect(),
            weight_decay,
            steps: 0,
        }
    }

    /// What is trained, in the order in which [`Self::step`] takes gradients.
    #[must_use]
    pub fn parameters(&self) -> Vec<&Tensor> {
        self.slots.iter().map(|slot| &slot.parameter).collect()
    }

    /// Steps done.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step along `gradients`, one for each of [`Self::parameters`].
    pub fn step(&mut self, gradients: &[Tensor], rates: Rates) {
        let _no_grad = tch::no_grad_guard();
        self.steps += 1;
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of steps are far below 2^52"
        )]
        let steps = self.steps as f64;
        let correction_1 = 1.0 - BETA_1.powf(steps);
        let correction_2 = (1.0 - BETA_2.powf(steps)).sqrt();
        for (slot, gradient) in self.slots.iter_mut().zip(gradients) {
            let rate = if slot.is_head {
                rates.head
            } else {
                rates.backbone
            };
            if slot.parameter.dim() > 1 && self.weight_decay > 0.0 {
                let _ = slot.parameter.g_mul_scalar_(1.0 - rate * self.weight_decay);
            }
            let zeros = || slot.parameter.detach().zeros_like();
            let moments = slot.moments.get_or_insert_with(|| Moments {
                mean: zeros(),
                square: zeros(),
            });
            let _ = moments.mean.lerp_(gradient, 1.0 - BETA_1);
            moments.square *= BETA_2;
            // In torch's order: (value * a) * b and (value * a) / b are added to the target.
            let _ = moments
                .square
                .addcmul_(&(gradient * (1.0 - BETA_2)), gradient);
            let deviation = moments.square.sqrt() / correction_2 + EPSILON;
            let change = &moments.mean * (-rate / correction_1);
            let _ = slot.parameter.addcdiv_(&change, &deviation);
        }
    }

    /// The moments by name: `mean.<parameter>` and `square.<parameter>`; none before the first
    /// step.
    pub fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.slots.iter().flat_map(|slot| {
            let named = |moment: &str| format!("{moment}.{}", slot.name);
            slot.moments.iter().flat_map(move |moments| {
                [
                    (named("mean"), &moments.mean),
                    (named("square"), &moments.square),
                ]
            })
        })
    }

    /// Goes back to a saved state.
    ///
    /// # Errors
    /// [`TorchError::BadCheckpoint`] when a moment is missing or of another shape.
    pub fn restore(&mut self, state: &Tensors, steps: u64) -> Result<(), TorchError> {
        for slot in &mut self.slots {
            slot.moments = None;
            if steps == 0 {
                continue;
            }
            let saved = |moment: &str| {
                let name = format!("{moment}.{}", slot.name);
                state
                    .get(&name)
                    .filter(|saved| saved.size() == slot.parameter.size())
                    .map(|saved| saved.to_device(slot.parameter.device()))
                    .ok_or_else(|| {
                        TorchError::BadCheckpoint(format!("{name} is missing or of another shape"))
                    })
            };
            slot.moments = Some(Moments {
                mean: saved("mean")?,
                square: saved("square")?,
            });
        }
        self.steps = steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learning_rate_warms_up_and_falls_along_a_cosine() {
        let share = |step| learning_rate_share(step, 100, 0.1);
        let expected = [(0, 1.0 / 11.0), (9, 10.0 / 11.0), (10, 1.0), (55, 0.5)];
        for (step, value) in expected {
            assert!(
                (share(step) - value).abs() < 1e-12,
                "{step}: {}",
                share(step)
            );
        }
        assert!((share(99) - 3.045_865e-4).abs() < 1e-9, "{}", share(99));
        assert!((10..99).all(|step| share(step) > share(step + 1)));
    }

    #[test]
    fn learning_rate_is_sane_at_the_edges() {
        assert!((learning_rate_share(0, 10, 0.0) - 1.0).abs() < 1e-12);
        assert!((learning_rate_share(9, 10, 1.0) - 10.0 / 11.0).abs() < 1e-12);
        assert!((learning_rate_share(0, 1, 0.0) - 1.0).abs() < 1e-12);
    }
}
