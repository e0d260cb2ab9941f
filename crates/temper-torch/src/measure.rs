//! Which samples a model classifies rightly, with or without an attack: the one way in which
//! validation and evaluation count.

use tch::{Kind, Tensor};
use temper_core::{
    attack::Pgd,
    random::{Keyed, Noise},
};

use crate::{
    TorchError, attack,
    batch::Images,
    models::{Mode, Network},
};

/// Samples of one forward pass. Fixed, because kernels and their order of summation may differ
/// with the size of a batch, and with them the last bits and, rarely, a count.
pub(crate) const CHUNK: usize = 32;

/// An attack at one strength.
pub(crate) struct Attack<'a> {
    pub pgd: &'a Pgd,
    /// In pixel units of `[0, 1]`; at 0 the images are left as they are.
    pub epsilon: f64,
    /// Start noise, by sample.
    pub noise: Keyed,
}

/// Those of `samples` (at most [`CHUNK`]) that `network` classifies rightly under `attack`.
pub(crate) fn survivors(
    network: &Network,
    images: &Images<'_>,
    samples: &[usize],
    attack: Option<&Attack<'_>>,
) -> Result<Vec<usize>, TorchError> {
    let _no_grad = tch::no_grad_guard();
    let (mut x, y) = images.batch(samples);
    if let Some(attack) = attack.filter(|attack| attack.epsilon > 0.0) {
        let noise = attack
            .pgd
            .random_start
            .then(|| images.noise(Noise::Box, &attack.noise, samples));
        let model = |x: &Tensor| network.logits(x, Mode::Evaluate);
        x = attack::pgd(&model, (&x, &y), attack.epsilon, attack.pgd, noise.as_ref())?;
    }
    let right = right(&network.logits(&x, Mode::Evaluate), &y)?;
    Ok(samples
        .iter()
        .zip(right)
        .filter(|(_, right)| *right)
        .map(|(&i, _)| i)
        .collect())
}

/// Which of the samples with the labels `y`, `i64[n]`, the logits `f32[n, classes]` get right.
///
/// # Errors
/// [`TorchError::NotFinite`].
pub(crate) fn right(logits: &Tensor, y: &Tensor) -> Result<Vec<bool>, TorchError> {
    if logits.isfinite().all().int64_value(&[]) == 0 {
        return Err(TorchError::NotFinite);
    }
    let right = logits.argmax(1, false).eq_tensor(y).to_kind(Kind::Uint8);
    let right = Vec::<u8>::try_from(right.to_device(tch::Device::Cpu))?;
    Ok(right.into_iter().map(|right| right == 1).collect())
}
