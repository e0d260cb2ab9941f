//! The search for adversarial images that evaluation runs, with a strength for each sample: PGD
//! within `l_inf`.

use tch::{Kind, Reduction, Tensor};
use temper_core::attack::{Attack, Goal, Norm, Pgd};

use crate::{TorchError, measure};

/// Logits of images.
pub(crate) type Model<'a> = dyn Fn(&Tensor) -> Tensor + 'a;

/// How far perturbations may go, in pixel units of `[0, 1]`.
pub(crate) enum Radius {
    /// Every sample's.
    All(f64),
    /// One a sample.
    Each(Vec<f64>),
}

/// What a search came to, by place in the batch.
pub(crate) struct Found {
    /// Whether the sample was misclassified at some iterate.
    pub broken: Vec<bool>,
    /// Norms of the perturbations at the first such iterate; 0 where there was none.
    pub norms: Vec<f64>,
    /// Passes of one image.
    pub passes: u64,
    /// Whether some gradient of the sample was zero everywhere.
    pub zero_gradients: Vec<bool>,
}

/// The start noise of a restart, `f32[places, c, h, w]`, for places in the batch.
pub(crate) type Noise<'a> = dyn Fn(u32, &[usize]) -> Tensor + 'a;

/// Searches within `radius` of `x`, `f32[n, c, h, w]` in `[0, 1]`, for images that `model` does not
/// give their label, `y` `i64[n]`. A sample's result does not depend on the others.
///
/// # Errors
/// [`TorchError::BadInput`] for settings that cannot be run yet; [`TorchError::NotFinite`].
pub(crate) fn search(
    model: &Model<'_>,
    (x, y): (&Tensor, &Tensor),
    radius: &Radius,
    attack: &Attack,
    noise: &Noise<'_>,
) -> Result<Found, TorchError> {
    let Attack::Pgd(pgd) = attack else {
        return Err(unable(attack));
    };
    if pgd.norm != Norm::Linf || pgd.goal != Goal::Untargeted {
        return Err(unable(attack));
    }
    let count = usize::try_from(y.size()[0]).unwrap_or(0);
    let mut found = Found {
        broken: vec![false; count],
        norms: vec![0.0; count],
        passes: 0,
        zero_gradients: vec![false; count],
    };
    let bound = bound(radius, count, x);
    let places: Vec<usize> = (0..count).collect();
    for restart in 0..pgd.restarts.max(1) {
        let start = match attack.noise() {
            Some(_) => (x + noise(restart, &places) * &bound).clamp(0.0, 1.0),
            None => x.copy(),
        };
        found.run(model, (x, y), (&bound, pgd), start)?;
    }
    Ok(found)
}

impl Found {
    fn run(
        &mut self,
        model: &Model<'_>,
        (x, y): (&Tensor, &Tensor),
        (bound, pgd): (&Tensor, &Pgd),
        mut iterate: Tensor,
    ) -> Result<(), TorchError> {
        let step = bound * pgd.step(1.0, 1.0);
        for _ in 0..pgd.steps {
            let (logits, gradient) = input_gradient(model, &iterate, y);
            self.look(&logits, (x, y), &iterate)?;
            let zero = gradient.abs().amax([1, 2, 3], false).eq(0.0);
            for (seen, zero) in self.zero_gradients.iter_mut().zip(flags(&zero)?) {
                *seen |= zero;
            }
            let moved = &iterate + gradient.sign() * &step - x;
            let moved = moved.maximum(&bound.neg()).minimum(bound);
            iterate = (x + moved).clamp(0.0, 1.0);
        }
        let logits = tch::no_grad(|| model(&iterate));
        self.look(&logits, (x, y), &iterate)
    }

    /// Notes which samples `logits` get wrong that were right before.
    fn look(
        &mut self,
        logits: &Tensor,
        (x, y): (&Tensor, &Tensor),
        iterate: &Tensor,
    ) -> Result<(), TorchError> {
        let right = measure::right(logits, y)?;
        let norms = (iterate - x).abs().amax([1, 2, 3], false);
        let norms = Vec::<f64>::try_from(norms.to_kind(Kind::Double).to_device(tch::Device::Cpu))?;
        for (place, right) in right.into_iter().enumerate() {
            self.passes += 1;
            if !right && !self.broken[place] {
                self.broken[place] = true;
                self.norms[place] = norms[place];
            }
        }
        Ok(())
    }
}

/// The strengths as `f32[n, 1, 1, 1]`.
fn bound(radius: &Radius, count: usize, x: &Tensor) -> Tensor {
    let values = match radius {
        Radius::All(value) => vec![*value; count],
        Radius::Each(values) => values.clone(),
    };
    Tensor::from_slice(&values)
        .to_kind(Kind::Float)
        .reshape([-1, 1, 1, 1])
        .to_device(x.device())
}

/// Logits, detached, and the gradient of the summed cross-entropy in the input alone.
fn input_gradient(model: &Model<'_>, input: &Tensor, y: &Tensor) -> (Tensor, Tensor) {
    tch::with_grad(|| {
        let input = input.detach().set_requires_grad(true);
        let logits = model(&input).to_kind(Kind::Float);
        let loss = logits.cross_entropy_loss(y, None::<&Tensor>, Reduction::Sum, -100, 0.0);
        let gradient = Tensor::run_backward(&[&loss], &[&input], false, false).swap_remove(0);
        (logits.detach(), gradient)
    })
}

fn flags(tensor: &Tensor) -> Result<Vec<bool>, TorchError> {
    let host = tensor.to_kind(Kind::Uint8).to_device(tch::Device::Cpu);
    Ok(Vec::<u8>::try_from(host)?.iter().map(|&v| v == 1).collect())
}

fn unable(attack: &Attack) -> TorchError {
    TorchError::BadInput(format!("{attack} cannot be run yet"))
}
