//! What of a catalog entry is on this machine, told without reading it or asking the network.

use std::path::PathBuf;

use temper_core::catalog::{DatasetEntry, File, ModelEntry, Source};
use temper_hub::RepoKind;

use crate::{Sources, mirror::Repository};

/// Where an entry's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// In a mirror folder.
    Mirror(PathBuf),
    /// Below a folder root.
    Folder(PathBuf),
    /// In the hub's cache.
    HubCache,
    /// Not all of them are here.
    Absent,
}

impl Sources {
    /// Where a model's file is; whether it is the right one is not looked at.
    #[must_use]
    pub fn find_model(&self, entry: &ModelEntry) -> Presence {
        let repository = self.repository(RepoKind::Model, &entry.repository, None);
        let file = File {
            path: entry.file.clone(),
            sha256: entry.sha256,
        };
        find_files(&repository, &[&file], entry.revision())
    }

    /// Where a dataset's files are; whether they are the right ones is not looked at.
    #[must_use]
    pub fn find_dataset(&self, entry: &DatasetEntry) -> Presence {
        let folder = |path: &str| {
            self.folders
                .iter()
                .map(|root| root.join(path))
                .find(|p| p.is_dir())
        };
        if let Some(original) = &entry.original
            && entry.pinned("").is_none()
            && let Some(path) = folder(&original.path)
        {
            return Presence::Folder(path);
        }
        match &entry.source {
            Source::Folder { path, .. } => folder(path).map_or(Presence::Absent, Presence::Folder),
            source => {
                let Some((name, _)) = source.repository() else {
                    return Presence::Absent;
                };
                let repository = self.repository(RepoKind::Dataset, name, None);
                let files: Vec<&File> = source.files().collect();
                find_files(&repository, &files, source.revision())
            }
        }
    }
}

fn find_files(repository: &Repository<'_>, files: &[&File], revision: &str) -> Presence {
    let mut roots = repository.mirrors.0.iter();
    if let Some(root) = roots.find(|root| repository.holds(root, files)) {
        return Presence::Mirror(repository.folder(root));
    }
    let cached = repository.cached(revision);
    if files
        .iter()
        .all(|file| cached.iter().any(|path| file.fits(path)))
    {
        Presence::HubCache
    } else {
        Presence::Absent
    }
}
