//! Decoded images.

use std::sync::Arc;

use image::RgbImage;

use crate::{DataError, ImageFault, pixels};

/// Labelled square images, decoded, in the order of their indices in the official split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSet {
    /// Side in pixels.
    pub size: u32,
    /// Number of classes.
    pub classes: u32,
    /// Planar red, green, blue: `u8[n, 3, size, size]`, 0 to 255.
    pub pixels: Vec<u8>,
    /// `i64[n]`, each in `0..classes`.
    pub labels: Vec<i64>,
}

/// The images of a training job.
#[derive(Debug, Clone)]
pub struct TrainingSplits {
    /// What the model learns from; never empty.
    pub train: Arc<ImageSet>,
    /// What is measured each epoch; disjoint from `train`.
    pub validation: Arc<ImageSet>,
}

impl ImageSet {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Image `i`, planar: `u8[3, size, size]`.
    ///
    /// # Panics
    /// When there is no such image.
    #[must_use]
    pub fn image(&self, i: usize) -> &[u8] {
        let bytes = image_bytes(self.size);
        &self.pixels[i * bytes..(i + 1) * bytes]
    }

    /// Bytes that the set holds in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.pixels.len() + size_of_val(self.labels.as_slice())
    }
}

/// Where readers put the images that they decode, one after the other.
pub(crate) struct Canvas {
    size: u32,
    pixels: Vec<u8>,
}

impl Canvas {
    /// Room for `images` squares of `size` pixels a side.
    pub(crate) fn new(images: usize, size: u32) -> Result<Self, DataError> {
        let mut pixels = Vec::new();
        // A product that overflows is refused by the allocator as well.
        let bytes = images.saturating_mul(image_bytes(size));
        pixels
            .try_reserve_exact(bytes)
            .map_err(|source| DataError::TooLarge {
                images,
                size,
                source,
            })?;
        Ok(Self { size, pixels })
    }

    /// Resizes the image to the square and adds it.
    pub(crate) fn add(&mut self, image: RgbImage) -> Result<(), ImageFault> {
        let square = pixels::square(image, self.size)?;
        pixels::push_planar(&square, &mut self.pixels);
        Ok(())
    }

    /// The pixels, `u8[n, 3, size, size]`.
    pub(crate) fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }
}

fn image_bytes(size: u32) -> usize {
    let size = size as usize;
    size.saturating_mul(size).saturating_mul(3)
}
