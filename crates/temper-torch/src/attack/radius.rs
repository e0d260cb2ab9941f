//! Lengths in pixel units, one for a batch or one an image.

use tch::{Device, Tensor};

use crate::TorchError;

/// The epsilon of a batch, in pixel units.
#[derive(Debug, Clone, PartialEq)]
pub enum Radius {
    /// One for all images; its operations are with a number, which is faster.
    All(f64),
    /// One for each, in the order of the batch. The results are those of [`Radius::All`].
    Each(Vec<f64>),
}

impl Radius {
    /// The epsilon of the image at `place`.
    #[must_use]
    pub fn at(&self, place: usize) -> f64 {
        match self {
            Self::All(value) => *value,
            Self::Each(values) => values.get(place).copied().unwrap_or(f64::NAN),
        }
    }

    /// Those of `places`, in that order.
    pub(super) fn select(&self, places: &[usize]) -> Self {
        match self {
            Self::All(value) => Self::All(*value),
            Self::Each(_) => Self::Each(places.iter().map(|&place| self.at(place)).collect()),
        }
    }

    pub(super) fn map(&self, of: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::All(value) => Self::All(of(*value)),
            Self::Each(values) => Self::Each(values.iter().map(|value| of(*value)).collect()),
        }
    }

    /// Refuses what is no length, or not one for each of `count` images.
    pub(super) fn check(&self, count: usize) -> Result<(), TorchError> {
        let values = match self {
            Self::All(value) => std::slice::from_ref(value),
            Self::Each(values) if values.len() == count => values,
            Self::Each(values) => {
                let found = values.len();
                let text = format!("{found} epsilons for {count} images");
                return Err(TorchError::BadInput(text));
            }
        };
        match values.iter().find(|v| !(**v >= 0.0 && v.is_finite())) {
            Some(bad) => Err(TorchError::BadInput(format!(
                "epsilon {bad} is not a strength"
            ))),
            None => Ok(()),
        }
    }

    /// The same where tensors are.
    pub(super) fn lengths(&self, device: Device) -> Lengths {
        match self {
            Self::All(value) => Lengths::All(*value),
            Self::Each(values) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "libtorch rounds numbers that meet single precision in the same way"
                )]
                let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
                let tensor = Tensor::from_slice(&values).reshape([-1, 1, 1, 1]);
                Lengths::Each(tensor.to_device(device))
            }
        }
    }
}

/// A [`Radius`] in computations with images `f32[n, c, h, w]`.
pub(super) enum Lengths {
    All(f64),
    /// `f32[n, 1, 1, 1]`.
    Each(Tensor),
}

impl Lengths {
    pub fn select(&self, index: &Tensor) -> Self {
        match self {
            Self::All(value) => Self::All(*value),
            Self::Each(values) => Self::Each(values.index_select(0, index)),
        }
    }

    /// `images * lengths`.
    pub fn times(&self, images: &Tensor) -> Tensor {
        match self {
            Self::All(value) => images * *value,
            Self::Each(values) => images * values,
        }
    }

    /// The same in place.
    pub fn scale(&self, images: &mut Tensor) {
        let _ = match self {
            Self::All(value) => images.g_mul_scalar_(*value),
            Self::Each(values) => images.g_mul_(values),
        };
    }

    /// Clamps perturbations to `[-length, length]`, in place.
    pub fn clamp(&self, delta: &mut Tensor) {
        let _ = match self {
            Self::All(value) => delta.clamp_(-*value, *value),
            Self::Each(values) => delta.clamp_tensor_(Some(&-values), Some(values)),
        };
    }

    /// Rescales perturbations of norms `f32[n, 1, 1, 1]` down to the lengths, in place.
    pub fn shorten(&self, delta: &mut Tensor, norms: &Tensor) {
        // Without the lower bound, nothing would be scaled by 0/0 at length 0.
        // The reciprocal first, as PyTorch divides a number by a tensor.
        let factor = self.times(&norms.clamp_min(1e-30).reciprocal());
        let _ = delta.g_mul_(&factor.clamp_max(1.0));
    }

    /// What pixels in `[0, 1]` within the lengths of `x` lie between.
    pub fn interval(&self, x: &Tensor) -> (Tensor, Tensor) {
        let (low, high) = match self {
            Self::All(value) => (x - *value, x + *value),
            Self::Each(values) => (x - values, x + values),
        };
        (low.clamp_min(0.0), high.clamp_max(1.0))
    }

    /// `f32[n, 1, 1, 1]`, times `factor`, of the batch of `x`.
    pub fn column(&self, x: &Tensor, factor: f64) -> Tensor {
        match self {
            Self::All(value) => {
                let count = x.size().first().copied().unwrap_or(0);
                let options = (tch::Kind::Float, x.device());
                Tensor::full([count, 1, 1, 1], *value * factor, options)
            }
            Self::Each(values) => values * factor,
        }
    }
}
