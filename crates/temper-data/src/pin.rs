//! Pinning: digests for catalog entries whose files are here.

use temper_core::catalog::{Catalog, DatasetEntry, ModelEntry, Source};

use temper_hub::RepoKind;

use crate::{DataError, Sources, folder::Folder};

impl Sources {
    /// The entries of the catalog that lack a digest, pinned to the files that are here; and those
    /// that could not be, by name, with the reason. Digests that an entry has already are verified.
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
                Err(error) => failures.push((name.clone(), error)),
            }
        }
        for (name, entry) in &catalog.datasets {
            match self.pin_dataset(entry) {
                Ok(Some(entry)) => drop(pinned.datasets.insert(name.clone(), entry)),
                Ok(None) => {}
                Err(error) => failures.push((name.clone(), error)),
            }
        }
        (pinned, failures)
    }

    fn pin_model(&self, entry: &ModelEntry) -> Result<ModelEntry, DataError> {
        let digest = self
            .repository(RepoKind::Model, &entry.repository, None)
            .digest(&entry.file)?;
        Ok(ModelEntry {
            sha256: Some(digest),
            ..entry.clone()
        })
    }

    /// None if nothing lacks a digest.
    fn pin_dataset(&self, entry: &DatasetEntry) -> Result<Option<DatasetEntry>, DataError> {
        let mut pinned = entry.clone();
        match &mut pinned.source {
            Source::Folder {
                manifest: Some(_), ..
            } => return Ok(None),
            Source::Folder { path, manifest, .. } => {
                let folder = Folder::open(&self.folders, path, entry.classes)?;
                *manifest = Some(folder.manifest(&self.digests)?);
            }
            Source::Idx { .. } | Source::Parquet { .. }
                if entry.source.files().all(|file| file.sha256.is_some()) =>
            {
                return Ok(None);
            }
            Source::Idx { repository, .. } | Source::Parquet { repository, .. } => {
                let name = repository.clone();
                let repository = self.repository(RepoKind::Dataset, &name, None);
                for file in pinned.source.files_mut() {
                    match file.sha256 {
                        Some(_) => drop(repository.verified(file)?),
                        None => file.sha256 = Some(repository.digest(&file.path)?),
                    }
                }
            }
        }
        Ok(Some(pinned))
    }
}
