//! The way in: from what a job names to pixels and weights.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use temper_core::{
    Digest,
    catalog::{Commit, File, PinnedDataset, PinnedModel},
    random::{Keyed, Purpose},
    spec::DataSettings,
};

use temper_hub::{BlockingHub, RepoKind};

use crate::{
    DataError, ImageSet, TrainingSplits,
    cache::Cache,
    digests::Digests,
    draw::Strata,
    memo::Memo,
    mirror::{Mirrors, Repository},
    open::has_validation,
    selected::Samples,
    split::Part,
};

/// Where this process finds images and weights. Remembers which files it has verified and the last
/// few sets that it made; share one among all jobs.
#[derive(Debug)]
pub struct Sources {
    mirrors: Mirrors,
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) digests: Digests,
    pub(crate) cache: Option<Cache>,
    pub(crate) hub: Option<BlockingHub>,
    pub(crate) decoded: AtomicU64,
    training: Memo<(Digest, DataSettings), TrainingSplits>,
    tests: Memo<(Digest, TestRequest), Arc<ImageSet>>,
}

/// What determines a draw of the test split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TestRequest {
    image_size: u32,
    split_seed: u64,
    samples: u32,
}

/// What a draw is for, as errors name it.
struct Wanted<'a> {
    dataset: &'a str,
    part: Part,
    purpose: &'static str,
}

impl Sources {
    /// Mirror folders hold `models/<owner>/<name>/…` and `datasets/<owner>/<name>/…`; folder roots
    /// hold image folders. Both are searched in order.
    #[must_use]
    pub fn new(mirrors: Vec<PathBuf>, folders: Vec<PathBuf>) -> Self {
        Self {
            mirrors: Mirrors(mirrors),
            folders,
            digests: Digests::default(),
            cache: None,
            hub: None,
            decoded: AtomicU64::new(0),
            training: Memo::new(),
            tests: Memo::new(),
        }
    }

    /// Asks this hub for what no mirror folder holds.
    #[must_use]
    pub fn with_hub(mut self, hub: BlockingHub) -> Self {
        self.hub = Some(hub);
        self
    }

    /// Keeps decoded images in `pixels/` below this folder, which is made when it is first needed,
    /// and takes them from there, shared with every process that uses the folder. Without it they
    /// are kept in this process's memory.
    #[must_use]
    pub fn with_cache(mut self, folder: &Path) -> Self {
        self.cache = Some(Cache::new(folder));
        self
    }

    /// Images that this process has decoded so far, rather than taken from the cache.
    #[must_use]
    pub fn decoded(&self) -> u64 {
        self.decoded.load(Ordering::Relaxed)
    }

    /// The safetensors file of a model, its digest verified.
    ///
    /// # Errors
    /// When no mirror has the file, or none with that digest.
    pub fn weights(&self, model: &PinnedModel) -> Result<PathBuf, DataError> {
        let file = File {
            path: model.file.clone(),
            sha256: model.sha256,
        };
        self.repository(RepoKind::Model, &model.repository, model.commit.clone())
            .verified(&file)
    }

    /// The training and validation images, drawn stratified: the validation images from the
    /// official validation split, or where there is none first of all from the training split; the
    /// training images from what is left of the training split (0: all). The files' digests are
    /// verified, unless the cache has the images; only drawn images are decoded, and resized to
    /// `data.image_size` squares.
    ///
    /// # Errors
    /// When files are missing, damaged or not as pinned, a drawn image is unreadable, a label is
    /// no class, too few images are there, or the cache has no room.
    pub fn training(
        &self,
        dataset: &PinnedDataset,
        data: &DataSettings,
    ) -> Result<TrainingSplits, DataError> {
        let key = (dataset.digest(), *data);
        if let Some(splits) = self.training.get(&key) {
            return Ok(splits);
        }
        let samples = |part| Samples::of(self, dataset, part, data.image_size);
        let of_train = samples(Part::Train)?;
        let mut left = strata(of_train.labels(), Part::Train, data.split_seed);
        let wanted = |part, purpose| Wanted {
            dataset: &dataset.name,
            part,
            purpose,
        };
        let count = data.validation_samples as usize;
        let all_left = |strata: &Strata| count_or_all(data.train_samples, strata);
        let (train, validation) = if has_validation(dataset) {
            let part = Part::Validation;
            let official = samples(part)?;
            let mut strata = strata(official.labels(), part, data.split_seed);
            let validation = draw(&mut strata, count, &wanted(part, "validation"))?;
            let train = all_left(&left);
            let train = draw(&mut left, train, &wanted(Part::Train, "training"))?;
            let [validation] = official.sets([validation])?;
            let [train] = of_train.sets([train])?;
            (train, validation)
        } else {
            let validation = draw(&mut left, count, &wanted(Part::Train, "validation"))?;
            let train = all_left(&left);
            let train = draw(&mut left, train, &wanted(Part::Train, "training"))?;
            let [train, validation] = of_train.sets([train, validation])?;
            (train, validation)
        };
        let bytes = train.bytes() + validation.bytes();
        let splits = TrainingSplits {
            train: train.into(),
            validation: validation.into(),
        };
        self.training.put(key, splits.clone(), bytes);
        Ok(splits)
    }

    /// A stratified draw of `samples` images (0: all) of the official test split; of `data`, only
    /// the size and the seed matter.
    ///
    /// # Errors
    /// As [`Self::training`].
    pub fn test(
        &self,
        dataset: &PinnedDataset,
        data: &DataSettings,
        samples: u32,
    ) -> Result<Arc<ImageSet>, DataError> {
        let &DataSettings {
            image_size,
            split_seed,
            ..
        } = data;
        let key = (
            dataset.digest(),
            TestRequest {
                image_size,
                split_seed,
                samples,
            },
        );
        if let Some(set) = self.tests.get(&key) {
            return Ok(set);
        }
        let all = Samples::of(self, dataset, Part::Test, image_size)?;
        let mut strata = strata(all.labels(), Part::Test, split_seed);
        let count = count_or_all(samples, &strata);
        let wanted = Wanted {
            dataset: &dataset.name,
            part: Part::Test,
            purpose: "test",
        };
        let chosen = draw(&mut strata, count, &wanted)?;
        let [set] = all.sets([chosen])?.map(Arc::new);
        self.tests.put(key, Arc::clone(&set), set.bytes());
        Ok(set)
    }

    /// A hub repository, at `commit` where it is pinned to one.
    pub(crate) fn repository<'a>(
        &'a self,
        kind: RepoKind,
        name: &'a str,
        commit: Option<Commit>,
    ) -> Repository<'a> {
        Repository {
            mirrors: &self.mirrors,
            hub: self.hub.as_ref(),
            commit,
            digests: &self.digests,
            kind,
            name,
        }
    }
}

fn strata(labels: &[i64], part: Part, seed: u64) -> Strata {
    // Samples of all splits count from 0: the round keeps their draws apart. Round 2 is
    // the pools'.
    let round = match part {
        Part::Train => 0,
        Part::Test => 1,
        Part::Validation => 3,
    };
    Strata::new(labels, &Keyed::new(seed, Purpose::Split, round, 0))
}

/// The count that 0 stands for is all that are left, but at least one.
fn count_or_all(samples: u32, strata: &Strata) -> usize {
    if samples == 0 {
        strata.left().max(1)
    } else {
        samples as usize
    }
}

fn draw(strata: &mut Strata, count: usize, wanted: &Wanted) -> Result<Vec<usize>, DataError> {
    strata.draw(count).ok_or_else(|| DataError::TooFewSamples {
        dataset: wanted.dataset.to_owned(),
        split: wanted.part.name(),
        purpose: wanted.purpose,
        wanted: count,
        available: strata.left(),
        classes: strata.describe(),
    })
}
