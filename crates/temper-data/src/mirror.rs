//! Files of hub repositories: below mirror folders, which are laid out as the hub's repositories
//! (`models/<owner>/<name>/…` and `datasets/<owner>/<name>/…`), else from the hub and its cache.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use temper_core::{
    Digest,
    catalog::{Commit, DEFAULT_REVISION, File},
};
use temper_hub::{BlockingHub, HubConfig, HubError, Progress, RepoKind, Wanted, local_commit};

use crate::{DataError, digests::Digests, split};

/// The mirror folders of this process, searched in order.
#[derive(Debug)]
pub(crate) struct Mirrors(pub(crate) Vec<PathBuf>);

/// A repository within the mirrors and on the hub.
#[derive(Debug, Clone)]
pub(crate) struct Repository<'a> {
    pub(crate) mirrors: &'a Mirrors,
    pub(crate) hub: Option<&'a BlockingHub>,
    pub(crate) digests: &'a Digests,
    pub(crate) kind: RepoKind,
    /// `owner/name`.
    pub(crate) name: &'a str,
    /// What the repository is pinned to, if it is.
    pub(crate) commit: Option<Commit>,
}

impl Repository<'_> {
    /// The first copy of the file that has its digest, or where none is known its commit; fetched
    /// from the hub where no mirror has one.
    pub(crate) fn verified(&self, file: &File) -> Result<PathBuf, DataError> {
        if file.sha256.is_none() && self.commit.is_none() {
            return Err(DataError::Unpinned(self.relative(&file.path)));
        }
        let mut first_error = None;
        for (root, path) in self.copies(&file.path)? {
            match self.verify(&root, &path, file) {
                Ok(()) => return Ok(path),
                // A damaged copy may hide a good one in the next mirror.
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            Some(error) => Err(error),
            None => self.fetch(file),
        }
    }

    /// The first copy in a mirror.
    pub(crate) fn find(&self, file: &str) -> Result<Option<PathBuf>, DataError> {
        Ok(self.copies(file)?.next().map(|(_, path)| path))
    }

    /// The digest of the first copy of the file in a mirror.
    pub(crate) fn digest(&self, file: &str) -> Result<Digest, DataError> {
        match self.find(file)? {
            Some(copy) => self.digests.of(&copy),
            None => Err(self.not_found(file, None)),
        }
    }

    /// The files of the repository that fit a pattern, in the byte order of their paths: those of
    /// the first mirror that has any.
    pub(crate) fn matching(&self, pattern: &File) -> Result<Vec<String>, DataError> {
        let relative = self.relative("");
        split::check_relative(Path::new(&pattern.path))?;
        split::check_relative(&relative)?;
        // Only what lies below the last folder before the `*` can fit.
        let start = pattern.path.split('*').next().unwrap_or_default();
        let folder = start.rsplit_once('/').map_or("", |(folder, _)| folder);
        for root in &self.mirrors.0 {
            let repository = root.join(&relative);
            let mut found = Vec::new();
            collect(&repository, folder, pattern, &mut found)?;
            if !found.is_empty() {
                found.sort_unstable();
                return Ok(found);
            }
        }
        Err(self.not_found(&pattern.path, None))
    }

    /// A copy is the file if it has the digest, or if the hub's own client noted that it came from
    /// the commit.
    fn verify(&self, root: &Path, path: &Path, file: &File) -> Result<(), DataError> {
        let Some(expected) = file.sha256 else {
            let noted = local_commit(&self.folder(root), &file.path);
            let commit = self.commit.as_ref().map(Commit::as_str);
            return if noted.as_deref() == commit {
                Ok(())
            } else {
                Err(DataError::CommitUnknown {
                    path: path.to_owned(),
                    commit: commit.unwrap_or_default().to_owned(),
                })
            };
        };
        self.check(path, expected)
    }

    fn check(&self, path: &Path, expected: Digest) -> Result<(), DataError> {
        let found = self.digests.of(path)?;
        if found != expected {
            return Err(DataError::DigestMismatch {
                path: path.to_owned(),
                expected,
                found,
            });
        }
        Ok(())
    }

    /// The file from the hub, or from the hub's cache.
    fn fetch(&self, file: &File) -> Result<PathBuf, DataError> {
        let Some(hub) = self.hub else {
            return Err(self.not_found(&file.path, None));
        };
        let wrap = |error| self.not_found(&file.path, Some(error));
        let commit = match &self.commit {
            Some(commit) => commit.to_string(),
            // Known by its digest alone: what the branch holds today may be it.
            None => {
                hub.resolve(self.kind, self.name, DEFAULT_REVISION)
                    .map_err(wrap)?
                    .commit
            }
        };
        let wanted = Wanted {
            kind: self.kind,
            repo: self.name,
            commit: &commit,
            file: &file.path,
            // Our own digests are remembered from job to job.
            expected: None,
        };
        let told = AtomicU64::new(0);
        let path = hub
            .fetch(&wanted, &|progress| tell(&progress, &told))
            .map_err(wrap)?;
        if let Some(expected) = file.sha256 {
            self.check(&path, expected)?;
        }
        Ok(path)
    }

    /// Mirror roots that have the file, with its path.
    fn copies(&self, file: &str) -> Result<impl Iterator<Item = (PathBuf, PathBuf)>, DataError> {
        let relative = self.relative(file);
        split::check_relative(Path::new(file))?;
        split::check_relative(&relative)?;
        let path = move |root: &PathBuf| (root.clone(), root.join(&relative));
        let roots = self.mirrors.0.iter().map(path);
        Ok(roots.filter(|(_, path)| path.exists()))
    }

    fn relative(&self, file: &str) -> PathBuf {
        self.folder(Path::new("")).join(file)
    }

    /// The repository's folder below a root.
    pub(crate) fn folder(&self, root: &Path) -> PathBuf {
        let kind = match self.kind {
            RepoKind::Model => "models",
            RepoKind::Dataset => "datasets",
        };
        root.join(kind).join(self.name)
    }

    /// Whether the files, patterns among them, are all below a mirror root.
    pub(crate) fn holds(&self, root: &Path, files: &[&File]) -> bool {
        let holds = |file: &&File| {
            let mut found = Vec::new();
            collect(&self.folder(root), "", file, &mut found).is_ok() && !found.is_empty()
        };
        files.iter().all(holds)
    }

    /// Paths of the repository's files at `revision` in the hub's cache; the network is not asked.
    pub(crate) fn cached(&self, revision: &str) -> Vec<String> {
        let offline = |hub: &BlockingHub| {
            let config = HubConfig {
                offline: true,
                ..hub.config().clone()
            };
            BlockingHub::new(config)?.resolve(self.kind, self.name, revision)
        };
        let found = self.hub.map(offline).and_then(Result::ok);
        let files = found.map(|snapshot| snapshot.files).unwrap_or_default();
        files.into_iter().map(|file| file.path).collect()
    }

    pub(crate) fn not_found(&self, file: &str, source: Option<HubError>) -> DataError {
        DataError::NotFound {
            path: self.relative(file),
            roots: split::listed(&self.mirrors.0),
            source: source.map(Box::new),
        }
    }
}

/// Logs each tenth of a download.
fn tell(progress: &Progress<'_>, told: &AtomicU64) {
    let total = progress.total.unwrap_or(0);
    let Some(tenth) = (10 * progress.done).checked_div(total) else {
        return;
    };
    if told.fetch_max(tenth, Ordering::Relaxed) < tenth {
        let megabytes = total / 1_000_000;
        tracing::info!(
            file = progress.file,
            megabytes,
            percent = 10 * tenth,
            "downloading"
        );
    }
}

/// How deep a repository's folders may nest: links could make a circle of them.
const MAX_DEPTH: usize = 16;

/// Adds the files below `folder` of the repository that fit.
fn collect(
    repository: &Path,
    folder: &str,
    pattern: &File,
    found: &mut Vec<String>,
) -> Result<(), DataError> {
    let path = repository.join(folder);
    if !path.is_dir() || folder.split('/').count() > MAX_DEPTH {
        return Ok(());
    }
    for entry in fs::read_dir(&path).map_err(DataError::io(&path))? {
        let entry = entry.map_err(DataError::io(&path))?;
        // A name that is not UTF-8 fits no pattern.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let relative = if folder.is_empty() {
            name
        } else {
            format!("{folder}/{name}")
        };
        let path = repository.join(&relative);
        if path.is_dir() {
            collect(repository, &relative, pattern, found)?;
        } else if pattern.fits(&relative) && path.is_file() {
            found.push(relative);
        }
    }
    Ok(())
}
