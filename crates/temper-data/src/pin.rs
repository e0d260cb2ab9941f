//! Pinning: digests for catalog entries whose files are here, else what the hub tells of them.

use temper_core::catalog::{
    Catalog, DatasetEntry, File, Layout, ModelEntry, PinError, Snapshot, Source,
};

use temper_hub::RepoKind;

use crate::{DataError, Sources, layouts::Described, split::Part};

impl Sources {
    /// The entries of the catalog that lack a digest, pinned to the files that are here; and those
    /// that could not be, by name, with the reason. Digests that an entry has already are verified.
    ///
    /// A dataset as its authors ship it (`original`) goes before its `source` where its folder is
    /// below a root; a pattern of file names becomes the files of the first mirror that has any.
    /// Entries that a commit pins get digests too where their files are here. Of entries whose
    /// files are not, the hub is asked, if this process has one: they get its commit, and the
    /// digests that it tells.
    #[must_use]
    pub fn pin(&self, catalog: &Catalog) -> (Catalog, Vec<(String, DataError)>) {
        let mut pinned = Catalog::default();
        let mut failures = Vec::new();
        for (name, entry) in catalog
            .models
            .iter()
            .filter(|(_, entry)| entry.sha256.is_none())
        {
            match self.pin_model(entry) {
                Ok(entry) => drop(pinned.models.insert(name.clone(), entry)),
                Err(DataError::NotFound { .. }) if entry.commit().is_some() => {}
                Err(error) => failures.push((name.clone(), error)),
            }
        }
        for (name, entry) in &catalog.datasets {
            match self.pin_dataset(entry) {
                Ok(Some(entry)) => drop(pinned.datasets.insert(name.clone(), entry)),
                Ok(None) => {}
                Err(DataError::NotFound { .. }) if entry.pinned(name).is_some() => {}
                Err(error) => failures.push((name.clone(), error)),
            }
        }
        (pinned, failures)
    }

    fn pin_model(&self, entry: &ModelEntry) -> Result<ModelEntry, DataError> {
        let repository = self.repository(RepoKind::Model, &entry.repository, None);
        match repository.digest(&entry.file) {
            Ok(digest) => Ok(ModelEntry {
                sha256: Some(digest),
                ..entry.clone()
            }),
            Err(absent) if entry.commit().is_none() => {
                let place = (RepoKind::Model, entry.repository.as_str(), entry.revision());
                self.pin_by_hub(absent, place, |found| entry.pinned_to(found))
            }
            Err(error) => Err(error),
        }
    }

    /// The entry as the hub knows it, where `absent` says that no mirror has it.
    fn pin_by_hub<E>(
        &self,
        absent: DataError,
        (kind, repository, revision): (RepoKind, &str, &str),
        pin: impl FnOnce(&Snapshot) -> Result<E, PinError>,
    ) -> Result<E, DataError> {
        let Some(hub) = &self.hub else {
            return Err(absent);
        };
        let DataError::NotFound { path, roots, .. } = absent else {
            return Err(absent);
        };
        match hub.resolve(kind, repository, revision) {
            Ok(found) => Ok(pin(&found.into())?),
            Err(error) => Err(DataError::NotFound {
                path,
                roots,
                source: Some(Box::new(error)),
            }),
        }
    }

    /// None if nothing lacks a digest.
    fn pin_dataset(&self, entry: &DatasetEntry) -> Result<Option<DatasetEntry>, DataError> {
        if let Some(entry) = self.original(entry) {
            return self.pin_folder(entry).map(Some);
        }
        match &entry.source {
            Source::Folder {
                manifest: Some(_), ..
            } => Ok(None),
            Source::Folder { .. } => self.pin_folder(entry.clone()).map(Some),
            Source::Idx { .. } | Source::Parquet { .. }
                if entry.source.files().all(|file| file.sha256.is_some()) =>
            {
                Ok(None)
            }
            source @ (Source::Idx { .. } | Source::Parquet { .. }) => {
                let pinned = match (self.pin_repository(entry.clone()), source.repository()) {
                    (Err(absent), Some((name, _))) if source.commit().is_none() => {
                        let place = (RepoKind::Dataset, name, source.revision());
                        self.pin_by_hub(absent, place, |found| entry.pinned_to(found))
                    }
                    (pinned, _) => pinned,
                };
                pinned.map(Some)
            }
        }
    }

    /// The entry with its original as the source, if it is not pinned yet and the folder is there.
    fn original(&self, entry: &DatasetEntry) -> Option<DatasetEntry> {
        let original = entry.original.as_ref()?;
        let there = self
            .folders
            .iter()
            .any(|root| root.join(&original.path).is_dir());
        (there && entry.pinned("").is_none()).then(|| DatasetEntry {
            original: None,
            source: Source::Folder {
                path: original.path.clone(),
                layout: original.layout,
                list: None,
                manifest: None,
            },
            ..entry.clone()
        })
    }

    fn pin_folder(&self, mut entry: DatasetEntry) -> Result<DatasetEntry, DataError> {
        let Source::Folder {
            path,
            layout,
            list,
            manifest,
        } = &mut entry.source
        else {
            return Ok(entry);
        };
        let described = Described {
            path,
            layout: *layout,
            list: list.as_deref(),
            classes: entry.classes,
            counts: entry.counts,
        };
        let listing = described.open(&self.folders)?;
        *manifest = Some(listing.manifest(&self.digests)?);
        // An official validation split changes what is drawn from: the entry must tell of it to
        // whoever does not see the folder.
        let validation = listing.len(Part::Validation);
        let counts = &mut entry.counts;
        if validation > 0 && *layout != Layout::FgvcAircraft && counts.all.is_none() {
            counts.validation = counts.validation.or(u32::try_from(validation).ok());
        }
        Ok(entry)
    }

    fn pin_repository(&self, mut entry: DatasetEntry) -> Result<DatasetEntry, DataError> {
        let Some((name, _)) = entry.source.repository() else {
            return Ok(entry);
        };
        let name = name.to_owned();
        let repository = self.repository(RepoKind::Dataset, &name, None);
        for list in entry.source.file_lists_mut() {
            let mut files = Vec::with_capacity(list.len());
            for file in list.drain(..) {
                if file.is_pattern() {
                    let unpinned = |path| File { path, sha256: None };
                    files.extend(repository.matching(&file)?.into_iter().map(unpinned));
                } else {
                    files.push(file);
                }
            }
            *list = files;
        }
        for file in entry.source.files_mut() {
            match file.sha256 {
                Some(_) => drop(repository.verified(file)?),
                None => file.sha256 = Some(repository.digest(&file.path)?),
            }
        }
        Ok(entry)
    }
}
