//! From a sweep to its cells and jobs: the product of the axes less what is excluded, with every
//! job that two cells share made once.
//!
//! A sweep may have a million cells, so that nothing of a cell is kept but numbers: what a job does
//! is made when it is asked for.

mod layout;
mod sample;

use std::iter::zip;

pub use layout::{Cell, Job, Kindred, Layout, Measurement, Training};
pub use sample::Sample;

use crate::{
    Digest,
    catalog::{PinnedDataset, PinnedModel},
    key,
    spec::{JobSpec, SweepSpec},
};

/// A sweep laid out, with the key of every job.
#[derive(Debug, Clone, PartialEq)]
pub struct Expansion {
    layout: Layout,
    keys: Vec<Digest>,
}

/// Lays a sweep out. `models` and `datasets` are its axes resolved, in the same order.
#[must_use]
pub fn expand(spec: &SweepSpec, models: &[PinnedModel], datasets: &[PinnedDataset]) -> Expansion {
    Expansion::of(Layout::of(spec, models, datasets))
}

impl Expansion {
    /// Gives the jobs of a layout their keys.
    #[must_use]
    pub fn of(layout: Layout) -> Self {
        let trainings = TrainingKeys::of(&layout);
        let mut keys: Vec<Digest> = Vec::with_capacity(layout.jobs().len());
        for job in layout.jobs() {
            let key = if let (Some(train), Some(measurement)) =
                (job.depends_on, layout.measurement(job))
            {
                // A training comes before what depends on it.
                key::measurement_key(&measurement, keys[train as usize])
            } else {
                trainings.key(&layout, job)
            };
            keys.push(key);
        }
        Self { layout, keys }
    }

    /// Cells and jobs without their keys.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The key of the job with this index.
    ///
    /// # Panics
    /// When there is no such job.
    #[must_use]
    pub fn key(&self, job: u32) -> Digest {
        self.keys[job as usize]
    }

    /// Every job with its key, a training before the evaluations that depend on it.
    #[must_use]
    pub fn jobs(&self) -> impl ExactSizeIterator<Item = (Digest, &Job)> {
        zip(self.keys.iter().copied(), self.layout.jobs())
    }

    /// Every job with its key and what it does, in the same order.
    #[must_use]
    pub fn specs(&self) -> impl ExactSizeIterator<Item = (Digest, JobSpec)> {
        self.jobs()
            .map(|(key, job)| (key, self.layout.job_spec(job)))
    }
}

/// Digests of a layout's datasets, taken once for the keys of all its trainings.
struct TrainingKeys(Vec<Digest>);

impl TrainingKeys {
    fn of(layout: &Layout) -> Self {
        let datasets = layout.datasets().iter();
        Self(datasets.map(PinnedDataset::digest).collect())
    }

    /// Key of a job's training: itself, or the one that it depends on.
    fn key(&self, layout: &Layout, job: &Job) -> Digest {
        let place = layout.cells()[job.cell as usize].place;
        key::training_key_on(&layout.training(job), self.0[place.dataset as usize])
    }
}
