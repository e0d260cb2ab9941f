//! From what a job names to a split that can be read: its files verified, its images counted.

use temper_core::catalog::{File, Layout, PinnedDataset, Source};

use temper_hub::RepoKind;

use crate::{
    DataError, Sources,
    idx::IdxSplit,
    layouts::Described,
    pool,
    shards::{self, ClassNames, Columns, ShardedSplit},
    split::{Part, Split},
};

/// Official splits, in the order of [`Part::ALL`].
pub(crate) type Parts = Vec<(Part, Box<dyn Split>)>;

impl Sources {
    /// Opens one split, its files verified and its images counted. The other splits' files need
    /// not be there, but where class names or a pool run through all of them.
    pub(crate) fn open(
        &self,
        dataset: &PinnedDataset,
        part: Part,
    ) -> Result<Box<dyn Split>, DataError> {
        let counts = dataset.counts;
        if let Some(expected) = counts.all {
            let parts = self.open_parts(dataset, &Part::ALL)?;
            let pool = pool::concatenated(parts);
            check_count(dataset, "all", Some(expected), pool.as_ref())?;
            return pool::drawn(dataset, pool, part);
        }
        let mut parts = self.open_parts(dataset, &[part])?;
        let (_, split) = parts.pop().ok_or_else(|| no_such_split(dataset, part))?;
        let expected = match part {
            Part::Train => counts.train,
            Part::Validation => counts.validation,
            Part::Test => counts.test,
        };
        check_count(dataset, part.name(), expected, split.as_ref())?;
        Ok(split)
    }

    /// Opens the wanted ones of the official splits that there are, their files verified.
    pub(crate) fn open_parts(
        &self,
        dataset: &PinnedDataset,
        wanted: &[Part],
    ) -> Result<Parts, DataError> {
        match &dataset.source {
            Source::Idx { .. } => self.open_idx(dataset, wanted),
            Source::Parquet { .. } => self.open_shards(dataset, wanted),
            Source::Folder { .. } => self.open_folder(dataset, wanted),
        }
    }

    fn open_idx(&self, dataset: &PinnedDataset, wanted: &[Part]) -> Result<Parts, DataError> {
        let Source::Idx {
            repository,
            train_images,
            train_labels,
            test_images,
            test_labels,
            ..
        } = &dataset.source
        else {
            return Ok(Vec::new());
        };
        let repository = self.repository(RepoKind::Dataset, repository, dataset.source.commit());
        let mut parts = Parts::new();
        for part in wanted {
            let (images, labels) = match part {
                Part::Train => (train_images, train_labels),
                Part::Validation => continue,
                Part::Test => (test_images, test_labels),
            };
            let labels = repository.verified(labels)?;
            let images = repository.verified(images)?;
            let split = IdxSplit::open(images, &labels, dataset.classes)?;
            parts.push((*part, Box::new(split)));
        }
        Ok(parts)
    }

    fn open_shards(&self, dataset: &PinnedDataset, wanted: &[Part]) -> Result<Parts, DataError> {
        let Source::Parquet {
            repository,
            train,
            validation,
            test,
            image_column,
            label_column,
            ..
        } = &dataset.source
        else {
            return Ok(Vec::new());
        };
        let repository = self.repository(RepoKind::Dataset, repository, dataset.source.commit());
        let files = |part: Part| match part {
            Part::Train => train,
            Part::Validation => validation,
            Part::Test => test,
        };
        let paths = |files: &[File]| -> Result<Vec<_>, DataError> {
            files.iter().map(|file| repository.verified(file)).collect()
        };
        let there = |part: &&Part| **part != Part::Validation || !validation.is_empty();
        let mut parts = Vec::new();
        for part in wanted.iter().filter(there) {
            parts.push((*part, paths(files(*part))?));
        }
        let first = parts.iter().flat_map(|(_, paths)| paths).next();
        let names = match first {
            Some(path) if shards::has_names(path, label_column)? => {
                let all = Part::ALL.map(|part| paths(files(part)));
                let all: Result<Vec<_>, _> = all.into_iter().collect();
                Some(ClassNames::collect(
                    &all?.concat(),
                    label_column,
                    dataset.classes,
                )?)
            }
            _ => None,
        };
        let columns = Columns {
            image: image_column,
            label: label_column,
            names: names.as_ref(),
            classes: dataset.classes,
        };
        let open = |(part, paths)| -> Result<(Part, Box<dyn Split>), DataError> {
            Ok((part, Box::new(ShardedSplit::open(paths, &columns)?)))
        };
        parts.into_iter().map(open).collect()
    }

    fn open_folder(&self, dataset: &PinnedDataset, wanted: &[Part]) -> Result<Parts, DataError> {
        let Source::Folder {
            path,
            layout,
            list,
            manifest,
        } = &dataset.source
        else {
            return Ok(Vec::new());
        };
        let manifest = manifest.ok_or_else(|| DataError::Unpinned(path.into()))?;
        let described = Described {
            path,
            layout: *layout,
            list: list.as_deref(),
            classes: dataset.classes,
            counts: dataset.counts,
        };
        let mut listing = described.open(&self.folders)?;
        listing.verify(manifest, &self.digests)?;
        let validation = listing.len(Part::Validation);
        if validation > 0 && dataset.counts.all.is_none() && !has_validation(dataset) {
            let reason = format!(
                "it has an official validation split, so its entry must say so: \
                 `counts.validation = {validation}`, or pin it anew"
            );
            return Err(DataError::layout(listing.folder(), reason));
        }
        let mut parts = Parts::new();
        for part in wanted {
            if *part != Part::Validation || validation > 0 || has_validation(dataset) {
                parts.push((*part, Box::new(listing.take(*part))));
            }
        }
        Ok(parts)
    }
}

/// Whether there is an official validation split; told without looking at any file.
pub(crate) fn has_validation(dataset: &PinnedDataset) -> bool {
    let shipped = match &dataset.source {
        Source::Idx { .. } => false,
        Source::Parquet { validation, .. } => !validation.is_empty(),
        Source::Folder { layout, .. } => *layout == Layout::FgvcAircraft,
    };
    dataset.counts.all.is_none() && (shipped || dataset.counts.validation.is_some())
}

fn check_count(
    dataset: &PinnedDataset,
    split: &'static str,
    expected: Option<u32>,
    opened: &dyn Split,
) -> Result<(), DataError> {
    let found = opened.labels().len();
    match expected {
        Some(expected) if usize::try_from(expected) != Ok(found) => Err(DataError::Count {
            dataset: dataset.name.clone(),
            split,
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

fn no_such_split(dataset: &PinnedDataset, part: Part) -> DataError {
    DataError::Count {
        dataset: dataset.name.clone(),
        split: part.name(),
        expected: dataset.counts.validation.unwrap_or(0),
        found: 0,
    }
}
