//! From the samples that a draw chose to sets of their pixels: from the cache, or from the files.

use std::{
    cell::OnceCell,
    fs::File,
    sync::{Arc, atomic::Ordering},
};

use temper_core::catalog::PinnedDataset;

use crate::{
    DataError, ImageSet, Sources,
    cache::{Cache, Cached, Key, Room, Selection},
    decoding::{self, Slot},
    image_set::{Pixels, image_bytes},
    split::{Part, Split},
};

/// One official split of a dataset at one size. Its files are opened and verified only when the
/// cache lacks something.
pub(crate) struct Samples<'a> {
    sources: &'a Sources,
    dataset: &'a PinnedDataset,
    part: Part,
    size: u32,
    labels: Vec<i64>,
    split: OnceCell<Box<dyn Split>>,
}

impl<'a> Samples<'a> {
    /// Learns the labels.
    pub(crate) fn of(
        sources: &'a Sources,
        dataset: &'a PinnedDataset,
        part: Part,
        size: u32,
    ) -> Result<Self, DataError> {
        if size == 0 {
            let reason = "image_size must be at least 1 pixel";
            return Err(DataError::Settings(reason.to_owned()));
        }
        let mut samples = Self {
            sources,
            dataset,
            part,
            size,
            labels: Vec::new(),
            split: OnceCell::new(),
        };
        samples.labels = match &sources.cache {
            None => samples.split()?.labels().to_vec(),
            Some(cache) => samples.cached_labels(cache)?,
        };
        Ok(samples)
    }

    /// The label of each sample.
    pub(crate) fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// The sets of several disjoint draws, each of ascending indices. They share one array of
    /// pixels, in which each image lies once.
    pub(crate) fn sets<const N: usize>(
        &self,
        draws: [Vec<usize>; N],
    ) -> Result<[ImageSet; N], DataError> {
        let mut chosen = draws.concat();
        chosen.sort_unstable();
        let whole = match &self.sources.cache {
            Some(cache) => cache.open(&self.key(Selection::All, self.size)),
            None => None,
        };
        let is_whole = whole.is_some() || chosen.len() == self.labels.len();
        let array = match (whole, &self.sources.cache) {
            (Some(whole), _) => mapped(whole),
            (None, Some(cache)) => mapped(self.cached(cache, &chosen)?),
            (None, None) => self.in_memory(&chosen)?,
        };
        // In an array of all samples a sample's row is its index.
        let row = |index: &usize| {
            if is_whole {
                *index
            } else {
                chosen.partition_point(|other| other < index)
            }
        };
        let mut resident = array.resident;
        Ok(draws.map(|draw| {
            let pixels = Pixels {
                array: Arc::clone(&array.array),
                rows: draw.iter().map(row).collect(),
                // Counted once.
                resident: std::mem::take(&mut resident),
            };
            let labels = draw.iter().map(|&index| self.labels[index]).collect();
            ImageSet::of(self.size, self.dataset.classes, pixels, labels)
        }))
    }

    /// The labels in the cache, put there if need be.
    fn cached_labels(&self, cache: &Cache) -> Result<Vec<i64>, DataError> {
        let key = self.key(Selection::All, 0);
        if let Some(cached) = cache.open(&key) {
            return Ok(cached.labels);
        }
        let labels = self.split()?.labels();
        let nothing = |_: &File, _, _: &Room| Ok(());
        Ok(cache.open_or_make(&key, labels, nothing)?.labels)
    }

    /// The pixels of the `chosen` samples in the cache, made if need be.
    fn cached(&self, cache: &Cache, chosen: &[usize]) -> Result<Cached, DataError> {
        let selection = Selection::of(chosen, self.labels.len());
        let labels: Vec<i64> = chosen.iter().map(|&index| self.labels[index]).collect();
        let stride = image_bytes(self.size) as u64;
        let fill = |file: &File, start: u64, room: &Room| {
            let slots = (0_u64..).map(|row| Slot::File(file, start + row * stride, room));
            self.decode(chosen, slots)
        };
        cache.open_or_make(&self.key(selection, self.size), &labels, fill)
    }

    /// The pixels of the `chosen` samples in memory.
    fn in_memory(&self, chosen: &[usize]) -> Result<Pixels, DataError> {
        let (images, size) = (chosen.len(), self.size);
        let stride = image_bytes(size);
        // A product that overflows is refused by the allocator as well.
        let bytes = images.saturating_mul(stride);
        let mut pixels = Vec::new();
        pixels
            .try_reserve_exact(bytes)
            .map_err(|source| DataError::TooLarge {
                images,
                size,
                source,
            })?;
        pixels.resize(bytes, 0);
        self.decode(chosen, pixels.chunks_exact_mut(stride).map(Slot::Memory))?;
        Ok(Pixels::owned(pixels, images))
    }

    fn decode<'s>(
        &self,
        chosen: &[usize],
        slots: impl Iterator<Item = Slot<'s>>,
    ) -> Result<(), DataError> {
        decoding::decode(self.split()?, chosen, self.size, slots)?;
        let count = chosen.len() as u64;
        self.sources.decoded.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// The split's files, verified.
    fn split(&self) -> Result<&dyn Split, DataError> {
        if let Some(split) = self.split.get() {
            return Ok(split.as_ref());
        }
        let split = self.sources.open(self.dataset, self.part)?;
        Ok(self.split.get_or_init(|| split).as_ref())
    }

    fn key(&self, selection: Selection, size: u32) -> Key {
        Key {
            dataset: self.dataset.digest(),
            part: self.part,
            selection,
            size,
        }
    }
}

fn mapped(cached: Cached) -> Pixels {
    Pixels {
        array: cached.pixels,
        rows: [].into(),
        resident: 0,
    }
}
