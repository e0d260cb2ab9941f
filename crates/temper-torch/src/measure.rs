//! Which samples a model classifies rightly, with or without an attack: the one way in which
//! validation and evaluation count.

use tch::{Kind, Tensor};
use temper_core::{
    attack::Attack,
    random::{Keyed, Noise},
};

use crate::{
    TorchError,
    attack::{Radius, search},
    batch::Images,
    models::{Mode, Network},
};

/// An attack at one strength.
pub(crate) struct Strike<'a> {
    pub attack: &'a Attack,
    /// In pixel units of `[0, 1]`; at 0 the images are left as they are.
    pub epsilon: f64,
    /// Start noise of a run of the attack (a restart, or a target of one), by sample.
    pub noise: &'a dyn Fn(u32) -> Keyed,
}

/// Those of `samples` (at most those of one pass) that `network` classifies rightly under the attack.
pub(crate) fn survivors(
    network: &Network,
    images: &Images<'_>,
    samples: &[usize],
    strike: Option<&Strike<'_>>,
) -> Result<Vec<usize>, TorchError> {
    let _no_grad = tch::no_grad_guard();
    let (x, y) = images.batch(samples);
    let model = |x: &Tensor| network.logits(x, Mode::Evaluate);
    let right = match strike.filter(|strike| strike.epsilon > 0.0) {
        None => right(&model(&x), &y)?,
        Some(strike) => {
            let kind = strike.attack.noise().unwrap_or(Noise::Box);
            let noise = |run: u32, places: &[usize]| {
                let of: Vec<usize> = places.iter().map(|&place| samples[place]).collect();
                images.noise(kind, &(strike.noise)(run), &of)
            };
            let radius = Radius::All(strike.epsilon);
            let found = search(&model, (&x, &y), &radius, strike.attack, &noise)?;
            found.broken.into_iter().map(|broken| !broken).collect()
        }
    };
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
