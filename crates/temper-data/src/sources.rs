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
    catalog::{Commit, File, PinnedDataset, PinnedModel, Source},
    random::{Keyed, Purpose},
    spec::DataSettings,
};

use temper_hub::{BlockingHub, RepoKind};

use crate::{
    DataError, ImageSet, TrainingSplits,
    cache::Cache,
    digests::Digests,
    draw::Strata,
    folder::Folder,
    idx::IdxSplit,
    memo::Memo,
    mirror::{Mirrors, Repository},
    selected::Samples,
    shards::ShardedSplit,
    split::{Part, Split},
};

/// Where this process finds images and weights. Remembers which files it has verified and the last
/// few sets that it made; share one among all jobs.
#[derive(Debug)]
pub struct Sources {
    mirrors: Mirrors,
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) digests: Digests,
    pub(crate) cache: Option<Cache>,
    hub: Option<BlockingHub>,
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

    /// The training and validation images, both drawn stratified from the official training split:
    /// the validation images first, the training images from the rest (0: all that are left).
    /// The files' digests are verified, unless the cache has the images; only drawn images are
    /// decoded, and resized to `data.image_size` squares.
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
        let samples = Samples::of(self, dataset, Part::Train, data.image_size)?;
        let mut strata = strata(samples.labels(), Part::Train, data.split_seed);
        let wanted = |purpose| Wanted {
            dataset: &dataset.name,
            part: Part::Train,
            purpose,
        };
        let validation = data.validation_samples as usize;
        let validation = draw(&mut strata, validation, &wanted("validation"))?;
        let train = count_or_all(data.train_samples, &strata);
        let train = draw(&mut strata, train, &wanted("training"))?;
        let [train, validation] = samples.sets([train, validation])?;
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

    /// Opens one split, its files verified; the other split's files need not be there.
    pub(crate) fn open(
        &self,
        dataset: &PinnedDataset,
        part: Part,
    ) -> Result<Box<dyn Split>, DataError> {
        let classes = dataset.classes;
        match &dataset.source {
            Source::Idx {
                repository,
                train_images,
                train_labels,
                test_images,
                test_labels,
                ..
            } => {
                let (images, labels) = match part {
                    Part::Train => (train_images, train_labels),
                    Part::Test => (test_images, test_labels),
                };
                let repository =
                    self.repository(RepoKind::Dataset, repository, dataset.source.commit());
                let labels = repository.verified(labels)?;
                Ok(Box::new(IdxSplit::open(
                    repository.verified(images)?,
                    &labels,
                    classes,
                )?))
            }
            Source::Parquet {
                repository,
                train,
                test,
                image_column,
                label_column,
                ..
            } => {
                let repository =
                    self.repository(RepoKind::Dataset, repository, dataset.source.commit());
                let files = match part {
                    Part::Train => train,
                    Part::Test => test,
                };
                let paths: Result<_, _> =
                    files.iter().map(|file| repository.verified(file)).collect();
                Ok(Box::new(ShardedSplit::open(
                    paths?,
                    image_column,
                    label_column,
                    classes,
                )?))
            }
            Source::Folder { path, manifest, .. } => {
                let manifest = manifest.ok_or_else(|| DataError::Unpinned(path.into()))?;
                let folder = Folder::open(&self.folders, path, classes)?;
                folder.verify(manifest, &self.digests)?;
                Ok(Box::new(folder.into_split(part)))
            }
        }
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
    // Samples of both splits count from 0: the round keeps their draws apart.
    let round = match part {
        Part::Train => 0,
        Part::Test => 1,
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
