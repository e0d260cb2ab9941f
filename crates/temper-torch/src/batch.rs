//! Batches of images, and what is random about them, as tensors on a device.

use tch::{Kind, Tensor};
use temper_core::random::Keyed;
use temper_data::ImageSet;

use crate::{TorchError, engine::Device};

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

    /// Pixels `f32[n, 3, s, s]` in `[0, 1]` and labels `i64[n]` of `samples`.
    pub fn batch(&self, samples: &[usize]) -> (Tensor, Tensor) {
        let length = 3 * self.side() * self.side();
        let mut bytes = Vec::with_capacity(samples.len() * length);
        for &sample in samples {
            bytes.extend_from_slice(self.set.image(sample));
        }
        let labels: Vec<i64> = samples
            .iter()
            .map(|&sample| self.set.labels[sample])
            .collect();
        let device = self.device.tch();
        // To the device as bytes: a quarter of the way to go.
        let pixels = Tensor::from_slice(&bytes)
            .reshape(self.shape(samples))
            .to_device(device);
        (
            pixels.to_kind(Kind::Float) / 255.0,
            Tensor::from_slice(&labels).to_device(device),
        )
    }

    /// Noise `f32[n, 3, s, s]` in `[-1, 1)`, each sample's of its own stream.
    pub fn noise(&self, keyed: &Keyed, samples: &[usize]) -> Tensor {
        let length = 3 * self.side() * self.side();
        let mut values = vec![0.0; samples.len() * length];
        for (&sample, part) in samples.iter().zip(values.chunks_mut(length)) {
            keyed.stream(sample as u64).fill_symmetric(part);
        }
        Tensor::from_slice(&values)
            .reshape(self.shape(samples))
            .to_device(self.device.tch())
    }

    fn side(&self) -> usize {
        self.set.size as usize
    }

    fn shape(&self, samples: &[usize]) -> [i64; 4] {
        let side = i64::from(self.set.size);
        [
            i64::try_from(samples.len()).unwrap_or(i64::MAX),
            3,
            side,
            side,
        ]
    }
}

/// Mirrors each image of `x` at its vertical axis with probability 1/2, by its own stream.
pub(crate) fn flip(x: &Tensor, keyed: &Keyed, samples: &[usize]) -> Tensor {
    let mirrored: Vec<bool> = samples
        .iter()
        .map(|&sample| keyed.stream(sample as u64).bits() & 1 == 1)
        .collect();
    let mirrored = Tensor::from_slice(&mirrored)
        .reshape([-1, 1, 1, 1])
        .to_device(x.device());
    x.flip([3]).where_self(&mirrored, x)
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
    fn noise_and_flips_belong_to_the_sample_not_to_its_place() {
        let set = set();
        let images = Images::new("test", &set, (4, 3), Device::CPU).unwrap();
        let keyed = Keyed::new(3, Purpose::Flip, 0, 0);
        let together = images.noise(&keyed, &[0, 1, 2, 3]);
        assert_eq!(together.get(2), images.noise(&keyed, &[2]).get(0));
        let all: Vec<usize> = (0..5).collect();
        let flipped = flip(&images.batch(&all).0, &keyed, &all);
        let mut mirrored = 0;
        for sample in all {
            let x = images.batch(&[sample]).0;
            let alone = flip(&x, &keyed, &[sample]).get(0);
            assert_eq!(alone, flipped.get(i64::try_from(sample).unwrap()));
            assert!(alone == x.get(0) || alone == x.get(0).flip([2]));
            mirrored += usize::from(alone != x.get(0));
        }
        assert!((1..5).contains(&mirrored), "{mirrored}");
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
