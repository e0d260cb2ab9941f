//! Projected gradient descent, untargeted, `l_inf`, on the cross-entropy (Madry et al. 2018), in the
//! order of operations of torchattacks 3.5.1.

use tch::{Reduction, Tensor};
use temper_core::attack::{Attack, Pgd};

use crate::TorchError;

/// Adversarial images `f32[n, c, h, w]` within `epsilon` of `x` in every pixel, and in `[0, 1]`:
///
/// ```text
/// x_0     = clamp(x + epsilon * noise, 0, 1)        x itself without noise
/// x'      = x_t + step * sign(gradient of CE)       sign(0) = 0
/// x_{t+1} = clamp(x + clamp(x' - x, -epsilon, epsilon), 0, 1)
/// ```
///
/// `model` maps such images to logits, in evaluation mode: what it does to a sample must not depend
/// on the others. `x` has pixels in `[0, 1]`, `y` are labels `i64[n]`, `noise` is in `[-1, 1]` and
/// of the shape of `x`; it is the caller's, so that a sample's noise depends on the sample alone,
/// and is left out unless `pgd.random_start`. The loss is summed, not averaged, so that a sample's
/// gradient does not depend on how many there are. Only the gradient of the input is computed. At
/// `epsilon` 0 the result is `x` and the model is not run.
///
/// # Errors
/// [`TorchError::BadInput`] for pixels outside `[0, 1]`, or an epsilon that is no number or
/// negative; [`TorchError::NotFinite`] when the model's loss is not finite.
pub fn pgd(
    model: &dyn Fn(&Tensor) -> Tensor,
    (x, y): (&Tensor, &Tensor),
    epsilon: f64,
    pgd: &Pgd,
    noise: Option<&Tensor>,
) -> Result<Tensor, TorchError> {
    require_pixels(x)?;
    if !(epsilon >= 0.0 && epsilon.is_finite()) {
        return Err(TorchError::BadInput(format!(
            "epsilon {epsilon} is not a strength"
        )));
    }
    if epsilon == 0.0 || x.numel() == 0 {
        return Ok(x.shallow_clone());
    }
    let step = pgd.step(epsilon, epsilon);
    let mut adversarial = match noise.filter(|_| pgd.random_start) {
        Some(noise) => (x + noise * epsilon).clamp(0.0, 1.0),
        None => x.copy(),
    };
    let mut losses = Tensor::zeros([], (tch::Kind::Float, x.device()));
    for _ in 0..pgd.steps {
        let (loss, gradient) = input_gradient(model, &adversarial, y);
        losses += loss;
        let moved = adversarial + gradient.sign() * step;
        let delta = (moved - x).clamp(-epsilon, epsilon);
        adversarial = (x + delta).clamp(0.0, 1.0);
    }
    // Looked at once: asking at every step would make a GPU wait at every step.
    if losses.double_value(&[]).is_finite() {
        Ok(adversarial)
    } else {
        Err(TorchError::NotFinite)
    }
}

/// The summed cross-entropy, detached, and its gradient in the input alone.
fn input_gradient(
    model: &dyn Fn(&Tensor) -> Tensor,
    input: &Tensor,
    y: &Tensor,
) -> (Tensor, Tensor) {
    tch::with_grad(|| {
        let input = input.detach().set_requires_grad(true);
        let loss = cross_entropy_sum(&model(&input), y);
        let gradient = Tensor::run_backward(&[&loss], &[&input], false, false).swap_remove(0);
        (loss.detach(), gradient)
    })
}

/// Cross-entropy of logits `f32[n, classes]`, summed over the samples, in single precision.
pub(crate) fn cross_entropy_sum(logits: &Tensor, y: &Tensor) -> Tensor {
    logits.to_kind(tch::Kind::Float).cross_entropy_loss(
        y,
        None::<&Tensor>,
        Reduction::Sum,
        -100,
        0.0,
    )
}

/// The settings of what can be run so far.
pub(crate) fn plain(attack: &Attack) -> Result<&Pgd, TorchError> {
    match attack {
        Attack::Pgd(pgd) => Ok(pgd),
        Attack::Apgd(_) => Err(TorchError::BadInput(format!("{attack} cannot be run yet"))),
    }
}

fn require_pixels(x: &Tensor) -> Result<(), TorchError> {
    if x.numel() == 0 {
        return Ok(());
    }
    let (low, high) = x.aminmax(None, false);
    let (low, high) = (low.double_value(&[]), high.double_value(&[]));
    if low >= 0.0 && high <= 1.0 {
        return Ok(());
    }
    Err(TorchError::BadInput(format!(
        "pixels must lie in [0, 1], these in [{low}, {high}]"
    )))
}
