//! Decoded images.

use std::{fmt, ops::Deref, sync::Arc};

use crate::DataError;

/// Labelled square images, decoded, in the order of their indices in the official split. The
/// pixels are shared and never change: a clone costs the labels alone.
#[derive(Clone)]
pub struct ImageSet {
    /// Side in pixels.
    pub size: u32,
    /// Number of classes.
    pub classes: u32,
    /// `i64[n]`, each in `0..classes`.
    pub labels: Vec<i64>,
    pixels: Pixels,
}

/// The images of a training job.
#[derive(Debug, Clone)]
pub struct TrainingSplits {
    /// What the model learns from; never empty.
    pub train: Arc<ImageSet>,
    /// What is measured each epoch; disjoint from `train`.
    pub validation: Arc<ImageSet>,
}

/// An array of squares, planar red, green, blue: `u8[rows, 3, size, size]`, and the row of each
/// image in it.
#[derive(Clone)]
pub(crate) struct Pixels {
    pub(crate) array: Arc<dyn Deref<Target = [u8]> + Send + Sync>,
    pub(crate) rows: Arc<[usize]>,
    /// Bytes that the array takes of this process's own memory.
    pub(crate) resident: usize,
}

impl ImageSet {
    /// A set whose pixels are `pixels`: planar red, green, blue, `u8[n, 3, size, size]`, for as
    /// many images as there are labels.
    ///
    /// # Errors
    /// [`DataError::Settings`] when the pixels are too few or too many.
    pub fn new(
        size: u32,
        classes: u32,
        pixels: Vec<u8>,
        labels: Vec<i64>,
    ) -> Result<Self, DataError> {
        let (images, found) = (labels.len(), pixels.len());
        if images.checked_mul(image_bytes(size)) != Some(found) {
            return Err(DataError::Settings(format!(
                "{found} bytes are not the pixels of {images} images of {size} x {size} pixels"
            )));
        }
        Ok(Self::of(
            size,
            classes,
            Pixels::owned(pixels, images),
            labels,
        ))
    }

    /// A set of rows, which must lie within the array.
    pub(crate) fn of(size: u32, classes: u32, pixels: Pixels, labels: Vec<i64>) -> Self {
        Self {
            size,
            classes,
            labels,
            pixels,
        }
    }

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

    /// Image `i`, planar: `u8[3, size, size]`, 0 to 255. A view, not a copy.
    ///
    /// # Panics
    /// When there is no such image.
    #[must_use]
    pub fn image(&self, i: usize) -> &[u8] {
        let bytes = image_bytes(self.size);
        let start = self.pixels.rows[i] * bytes;
        &self.pixels.array[start..start + bytes]
    }

    /// All images, as [`Self::image`] gives them.
    #[must_use]
    pub fn images(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|i| self.image(i))
    }

    /// Bytes that the set holds in this process's own memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.pixels.resident + size_of_val(self.labels.as_slice())
    }
}

impl Pixels {
    /// Pixels in memory, all rows of them.
    pub(crate) fn owned(pixels: Vec<u8>, images: usize) -> Self {
        Self {
            resident: pixels.len(),
            array: Arc::new(pixels),
            rows: (0..images).collect(),
        }
    }
}

/// By what the sets show, wherever their pixels lie.
impl PartialEq for ImageSet {
    fn eq(&self, other: &Self) -> bool {
        let about = |set: &Self| (set.size, set.classes);
        about(self) == about(other)
            && self.labels == other.labels
            && self.images().eq(other.images())
    }
}

impl Eq for ImageSet {}

impl fmt::Debug for ImageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageSet")
            .field("size", &self.size)
            .field("classes", &self.classes)
            .field("images", &self.len())
            .finish_non_exhaustive()
    }
}

/// Bytes of one image.
pub(crate) fn image_bytes(size: u32) -> usize {
    let size = size as usize;
    size.saturating_mul(size).saturating_mul(3)
}
