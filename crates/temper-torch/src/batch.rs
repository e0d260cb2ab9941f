//! Batches of images, and what is random about them, as tensors on a device.

use tch::{Kind, Tensor};
use temper_core::random::{Keyed, Noise};
use temper_data::ImageSet;

use crate::{TorchError, attack::images_of_pass, engine::Device};

/// A checked image set and where its batches go.
pub(crate) struct Images<'a> {
    set: &'a ImageSet,
    device: Device,
}

impl<'a> Images<'a> {
    /// Checks `set`, called `name` in errors, against what the job wants.
    pub fn new(
        name: &str,
        set: &'a ImageSet,
        (size, classes): (u32, u32),
        device: Device,
    ) -> Result<Self, TorchError> {
        let bad = |what: String| Err(TorchError::BadInput(format!("{name} images: {what}")));
        if set.size != size {
            return bad(format!("{} pixels a side, the job wants {size}", set.size));
        }
        let known = 0..i64::from(classes);
        if let Some(label) = set.labels.iter().find(|label| !known.contains(label)) {
            return bad(format!("label {label} is not one of {classes} classes"));
        }
        Ok(Self { set, device })
    }

    /// Images in the set.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// How many of them are shown to a model at once.
    pub fn of_pass(&self) -> usize {
        images_of_pass(self.set.size)
    }

    /// Pixels `f32[n, 3, s, s]` in `[0, 1]` and labels `i64[n]` of `samples`.
    pub fn batch(&self, samples: &[usize]) -> (Tensor, Tensor) {
        let (pixels, labels) = gather(self.set, samples);
        self.to_device(&pixels, &labels)
    }

    /// The same of what [`gather`] gave.
    pub fn to_device(&self, pixels: &[u8], labels: &[i64]) -> (Tensor, Tensor) {
        // To the device as bytes: a quarter of the way to go.
        let pixels = self.squares(&Tensor::from_slice(pixels));
        (
            pixels.to_kind(Kind::Float) / 255.0,
            Tensor::from_slice(labels).to_device(self.device.tch()),
        )
    }

    /// Noise `f32[n, 3, s, s]` of a kind, each sample's of its own stream.
    pub fn noise(&self, kind: Noise, keyed: &Keyed, samples: &[usize]) -> Tensor {
        self.noise_to_device(&noise(self.set, kind, keyed, samples))
    }

    /// The same of what [`noise()`] gave.
    pub fn noise_to_device(&self, noise: &[f32]) -> Tensor {
        self.squares(&Tensor::from_slice(noise))
    }

    fn squares(&self, values: &Tensor) -> Tensor {
        let side = i64::from(self.set.size);
        let squares = values.reshape([-1, 3, side, side]);
        squares.to_device(self.device.tch())
    }
}

/// Pixels `u8[n, 3, s, s]` and labels of `samples`.
pub(crate) fn gather(set: &ImageSet, samples: &[usize]) -> (Vec<u8>, Vec<i64>) {
    let mut pixels = Vec::with_capacity(samples.len() * numbers(set));
    for &sample in samples {
        pixels.extend_from_slice(set.image(sample));
    }
    let labels = samples.iter().map(|&sample| set.labels[sample]).collect();
    (pixels, labels)
}

/// Noise `f32[n, 3, s, s]` of a kind for `samples` of `set`, each sample's of its own stream.
pub(crate) fn noise(set: &ImageSet, kind: Noise, keyed: &Keyed, samples: &[usize]) -> Vec<f32> {
    let length = numbers(set);
    let mut values = vec![0.0; samples.len() * length];
    for (&sample, part) in samples.iter().zip(values.chunks_mut(length)) {
        keyed.stream(sample as u64).fill(kind, part);
    }
    values
}

/// Numbers of one image.
fn numbers(set: &ImageSet) -> usize {
    let side = set.size as usize;
    3 * side * side
}

#[cfg(test)]
mod tests {
    use temper_core::random::Purpose;

    use super::*;

    fn set() -> ImageSet {
        let pixels = (0..5 * 3 * 4 * 4)
            .map(|i| u8::try_from(i % 256).unwrap())
            .collect();
        ImageSet::new(4, 3, pixels, vec![0, 1, 2, 0, 1]).unwrap()
    }

    #[test]
    fn batch_holds_the_samples_asked_for_in_their_order() {
        let set = set();
        let images = Images::new("test", &set, (4, 3), Device::CPU).unwrap();
        let (x, y) = images.batch(&[4, 1]);
        assert_eq!(x.size(), [2, 3, 4, 4]);
        assert_eq!(Vec::<i64>::try_from(y).unwrap(), [1, 1]);
        assert_eq!(x.get(1), images.batch(&[1]).0.get(0));
        assert!((x.double_value(&[1, 0, 0, 2]) - 50.0 / 255.0).abs() < 1e-7);
    }

    #[test]
    fn noise_belongs_to_the_sample_not_to_its_place() {
        let set = set();
        let images = Images::new("test", &set, (4, 3), Device::CPU).unwrap();
        let keyed = Keyed::new(3, Purpose::TrainNoise, 0, 0);
        let together = images.noise(Noise::Box, &keyed, &[0, 1, 2, 3]);
        assert_eq!(
            together.get(2),
            images.noise(Noise::Box, &keyed, &[2]).get(0)
        );
    }

    #[test]
    fn sets_that_the_job_cannot_use_are_refused() {
        let refused = |change: &dyn Fn(&mut ImageSet)| {
            let mut set = set();
            change(&mut set);
            let result = Images::new("training", &set, (4, 3), Device::CPU);
            matches!(result, Err(TorchError::BadInput(text)) if text.contains("training"))
        };
        assert!(refused(&|set| set.size = 5));
        assert!(refused(&|set| set.labels[2] = 3));
        assert!(refused(&|set| set.labels[2] = -1));
    }
}
