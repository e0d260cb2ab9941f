//! What training minimises, and the batches that it is minimised on.

use tch::{Kind, Reduction, Tensor};
use temper_core::{
    attack::Attack,
    random::Noise,
    spec::{Objective, TrainingSettings},
};

use crate::{
    TorchError,
    attack::{self, Model},
};

/// Standard deviation of TRADES' start noise, in pixel units: the paper's code.
const TRADES_START: f64 = 0.001;
/// Least probability that enters the divergence: the gradient at 0 is not a number. The least
/// normal number of single precision, so that what has a gradient is left as it is.
const LEAST_PROBABILITY: f64 = f32::MIN_POSITIVE as f64;

/// How strong a crafted batch is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strength {
    /// The bound now, in pixel units of `[0, 1]`.
    pub epsilon: f64,
    /// The bound at the end of the schedule.
    pub target: f64,
    /// Gradient steps, at least 1.
    pub steps: u32,
}

/// What start noise the crafting of training batches wants; none where it starts from the image.
pub(crate) fn noise(settings: &TrainingSettings) -> Option<Noise> {
    match settings.objective {
        Objective::Adversarial => settings.attack.noise(),
        // From the image itself the divergence has no gradient.
        Objective::Trades { .. } => Some(Noise::Normal),
    }
}

/// Cross-entropy of logits `f32[n, classes]`, summed over the samples, in single precision;
/// `smoothing` of the label's probability is spread over all classes, as torch does it.
pub fn cross_entropy_sum(logits: &Tensor, y: &Tensor, smoothing: f64) -> Tensor {
    let weight = None::<&Tensor>;
    logits
        .to_kind(Kind::Float)
        .cross_entropy_loss(y, weight, Reduction::Sum, -100, smoothing)
}

/// `KL(p_clean || p_adversarial)` by sample, `f32[n]`, of `clean` probabilities and `adversarial`
/// logits, both `f32[n, classes]`; a probability of 0 counts as the least number that is none.
pub fn divergences(clean: &Tensor, adversarial: &Tensor) -> Tensor {
    let clean = clean.clamp_min(LEAST_PROBABILITY);
    adversarial
        .log_softmax(1, Kind::Float)
        .kl_div(&clean, Reduction::None, false)
        .sum_dim_intlist([1].as_slice(), false, Kind::Float)
}

/// The loss of TRADES (Zhang et al. 2019, equation 5), summed over the samples: cross-entropy of
/// the clean logits, and `beta` times the divergence, whose gradient goes through both. Divided by
/// their number it is the mean that the paper's code minimises.
pub fn trades_sum(
    (clean, adversarial): (&Tensor, &Tensor),
    y: &Tensor,
    (beta, smoothing): (f64, f64),
) -> Tensor {
    let divergence = divergences(&clean.softmax(1, Kind::Float), adversarial).sum(Kind::Float);
    cross_entropy_sum(clean, y, smoothing) + divergence * beta
}

/// Images within `strength.epsilon` of `x` that maximise the divergence from the model's own
/// probabilities on `x`, which are computed once. `noise` is standard normal, of the shape of `x`:
///
/// ```text
/// x_0     = x + 0.001 * noise
/// x_{t+1} = clamp(project(x_t + step * sign(gradient of KL)), 0, 1)      l_inf
/// ```
///
/// Within an `l2` bound the step goes along the gradient divided by its length. Where the attack
/// starts and which iterate counts is TRADES' own; only its norm and step size are asked for.
///
/// # Errors
/// [`TorchError::BadInput`] for an attack that is not PGD; [`TorchError::NotFinite`].
pub fn craft_trades(
    model: &Model<'_>,
    x: &Tensor,
    strength: Strength,
    attack: &Attack,
    noise: &Tensor,
) -> Result<Tensor, TorchError> {
    let Attack::Pgd(pgd) = attack else {
        return Err(TorchError::BadInput(format!(
            "TRADES crafts by PGD, not by {attack}"
        )));
    };
    let Strength {
        epsilon,
        target,
        steps,
    } = strength;
    let clean = tch::no_grad(|| model(x).softmax(1, Kind::Float));
    let losses = |logits: &Tensor| divergences(&clean, logits);
    // As the paper's code: the start is not brought back into [0, 1].
    let start = x + noise * TRADES_START;
    attack::craft_from(model, (x, &start), &losses, pgd, (epsilon, target), steps)
}

#[cfg(test)]
mod tests {
    use temper_core::attack::{Norm, Pgd};

    use super::*;

    fn scalar(tensor: &Tensor) -> f64 {
        tensor.double_value(&[])
    }

    #[test]
    fn trades_loss_is_the_formula() {
        let clean = Tensor::from_slice(&[1.0_f32, -0.5, 0.25, 2.0, 0.0, 1.0]).reshape([2, 3]);
        let other = Tensor::from_slice(&[0.5_f32, 0.5, 0.0, -1.0, 1.0, 3.0]).reshape([2, 3]);
        let (mut expected, beta) = (0.0, 6.0);
        for (row, label) in [(0, 0), (1, 2)] {
            let softmax = |logits: &Tensor| {
                let exps: Vec<f64> = (0..3)
                    .map(|i| logits.double_value(&[row, i]).exp())
                    .collect();
                let sum: f64 = exps.iter().sum();
                exps.into_iter().map(|e| e / sum).collect::<Vec<_>>()
            };
            let (p, q) = (softmax(&clean), softmax(&other));
            let kl: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
            expected += beta * kl - p[label].ln();
        }
        let y = Tensor::from_slice(&[0_i64, 2]);
        let found = scalar(&trades_sum((&clean, &other), &y, (beta, 0.0)));
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn certain_probabilities_have_finite_gradients() {
        let logits = Tensor::from_slice(&[500.0_f32, -500.0]).reshape([1, 2]);
        let logits = logits.set_requires_grad(true);
        let loss = trades_sum(
            (&logits, &-&logits),
            &Tensor::from_slice(&[0_i64]),
            (1.0, 0.0),
        );
        let gradient = Tensor::run_backward(&[&loss], &[&logits], false, false).swap_remove(0);
        assert_eq!(gradient.isfinite().all().int64_value(&[]), 1);
    }

    #[test]
    fn crafted_images_stay_within_the_bound_and_diverge() {
        let x = Tensor::linspace(0.05, 0.95, 48, (Kind::Float, tch::Device::Cpu));
        let x = x.reshape([2, 3, 2, 4]);
        let weight = Tensor::linspace(-1.0, 1.0, 72, (Kind::Float, tch::Device::Cpu));
        let weight = weight.reshape([3, 24]).sin();
        let model = |x: &Tensor| x.flatten(1, -1).linear(&weight, None::<&Tensor>);
        let noise = Tensor::linspace(-2.0, 2.0, 48, (Kind::Float, tch::Device::Cpu)).sin();
        let noise = noise.reshape([2, 3, 2, 4]);
        for (norm, epsilon) in [(Norm::Linf, 0.03), (Norm::L2, 0.2)] {
            let pgd = Pgd {
                norm,
                ..Pgd::with_steps(5)
            };
            let strength = Strength {
                epsilon,
                target: epsilon,
                steps: 5,
            };
            let attack = Attack::Pgd(pgd);
            let made = craft_trades(&model, &x, strength, &attack, &noise).unwrap();
            let delta = &made - &x;
            let length = match norm {
                Norm::Linf => scalar(&delta.abs().max()),
                Norm::L2 => scalar(&delta.flatten(1, -1).norm_scalaropt_dim(2, [1], false).max()),
            };
            assert!(
                length <= epsilon + 1e-6 && length > epsilon * 0.9,
                "{length}"
            );
            let p = model(&x).softmax(1, Kind::Float);
            let gained = scalar(&divergences(&p, &model(&made)).sum(Kind::Float));
            let start =
                scalar(&divergences(&p, &model(&(&x + &noise * TRADES_START))).sum(Kind::Float));
            assert!(gained > 10.0 * start.abs(), "{gained} {start}");
        }
    }
}
