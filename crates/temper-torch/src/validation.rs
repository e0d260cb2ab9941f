//! What is measured each epoch.

use temper_core::{
    random::{Keyed, Purpose},
    spec::TrainSpec,
};

use crate::{
    Control, Observer, TorchError,
    batch::Images,
    measure::{Strike, survivors},
    models::Network,
};

/// Shares of samples classified rightly, in `[0, 1]`; none where nothing is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Accuracy {
    /// Of the whole validation split.
    pub clean: Option<f64>,
    /// Of its first samples, under attack at the target strength.
    pub robust: Option<f64>,
}

/// Clean accuracy on the validation split, and robust accuracy on its first samples, where those
/// wrong without attack count as wrong; none when the observer says to stop.
pub(crate) fn validate(
    spec: &TrainSpec,
    network: &Network,
    images: &Images<'_>,
    observer: &mut dyn Observer,
) -> Result<Option<Accuracy>, TorchError> {
    let mut right = |samples: &[usize], attack: Option<&Strike<'_>>| {
        let mut right = Vec::new();
        for chunk in samples.chunks(images.of_pass()) {
            if observer.control() != Control::Continue {
                return Ok(None);
            }
            right.extend(survivors(network, images, chunk, attack)?);
        }
        Ok::<_, TorchError>(Some(right))
    };
    let all: Vec<usize> = (0..images.len()).collect();
    let Some(clean) = right(&all, None)? else {
        return Ok(None);
    };
    let attacked = all.len().min(spec.validation.robust_samples as usize);
    let mut accuracy = Accuracy {
        clean: share(clean.len(), all.len()),
        robust: None,
    };
    let epsilon = spec.ramp.target().value();
    if epsilon > 0.0 {
        // The same noise every epoch, so that epochs can be compared.
        let noise = |run| Keyed::new(spec.seed, Purpose::ValidationNoise, 0, run);
        let attack = Strike {
            attack: &spec.validation.attack,
            epsilon,
            noise: &noise,
        };
        let first: Vec<usize> = clean
            .into_iter()
            .filter(|&sample| sample < attacked)
            .collect();
        let Some(robust) = right(&first, Some(&attack))? else {
            return Ok(None);
        };
        accuracy.robust = share(robust.len(), attacked);
    }
    Ok(Some(accuracy))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of samples are far below 2^52"
)]
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
