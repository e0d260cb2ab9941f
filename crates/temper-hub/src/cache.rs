//! The folder that the hub's clients share, in any language: `models--owner--name/` with
//! `blobs/<etag>` (the bytes), `snapshots/<commit>/<file>` (links to them), `refs/<revision>` (the
//! commit that a name last meant), and `.locks/` beside
//! (<https://huggingface.co/docs/hub/local-cache>).

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    HubError, RepoFile,
    name::{Commit, FilePath, Repo, Revision},
    verify::Etag,
};

/// How often a lock that another process holds is tried. A thread blocked in the system's own
/// waiting could not be called off.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// One repository's part of the cache.
#[derive(Debug, Clone)]
pub(crate) struct RepoCache {
    root: PathBuf,
    locks: PathBuf,
}

/// A file in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    /// The name of its bytes; opaque where a client without symbolic links put a plain file.
    pub(crate) etag: Etag,
}

impl RepoCache {
    pub(crate) fn new(cache: &Path, repo: &Repo) -> Self {
        Self {
            root: cache.join(repo.folder()),
            locks: cache.join(".locks").join(repo.folder()),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn blob(&self, etag: &Etag) -> PathBuf {
        self.root.join("blobs").join(etag.name())
    }

    pub(crate) fn partial(&self, etag: &Etag) -> PathBuf {
        let name = format!("{}.incomplete", etag.name());
        self.root.join("blobs").join(name)
    }

    fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.root.join("snapshots").join(commit.as_str())
    }

    fn pointer(&self, commit: &Commit, file: &FilePath) -> PathBuf {
        self.snapshot(commit).join(file.as_str())
    }

    /// The file, if it is here whole.
    pub(crate) fn find(&self, commit: &Commit, file: &FilePath) -> Option<Entry> {
        entry(self.pointer(commit, file))
    }

    /// All files of the commit that are here.
    pub(crate) fn files(&self, commit: &Commit) -> Result<Vec<RepoFile>, HubError> {
        let root = self.snapshot(commit);
        let mut files = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let children = match fs::read_dir(&folder) {
                Ok(children) => children,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(HubError::io(folder)(error)),
            };
            for child in children {
                let path = child.map_err(HubError::io(&folder))?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(file) = describe(&root, path) {
                    files.push(file);
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The commit that the revision meant when it was last asked for.
    pub(crate) fn read_ref(&self, revision: &Revision) -> Option<Commit> {
        let path = self.root.join("refs").join(revision.as_str());
        Commit::parse(fs::read_to_string(path).ok()?.trim()).ok()
    }

    /// Notes what the revision means now.
    pub(crate) fn write_ref(&self, revision: &Revision, commit: &Commit) -> Result<(), HubError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if self.read_ref(revision).as_ref() == Some(commit) {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision.as_str());
        // Not below refs/, where every file is a revision.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let draft = self.root.join(format!("tmp_ref_{}_{count}", process::id()));
        make_parent(&path)?;
        fs::write(&draft, commit.as_str())
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|error| {
                // The error that led here is the one to tell.
                let _ = fs::remove_file(&draft);
                HubError::io(path)(error)
            })
    }

    /// Makes the folders that a download writes to.
    pub(crate) fn prepare(&self) -> Result<(), HubError> {
        for folder in [self.root.join("blobs"), self.locks.clone()] {
            fs::create_dir_all(&folder).map_err(HubError::io(&folder))?;
        }
        Ok(())
    }

    /// Waits until no other process downloads these bytes. The lock ends with the returned file,
    /// or with the process.
    pub(crate) async fn lock(&self, etag: &Etag) -> Result<File, HubError> {
        let path = self.locks.join(format!("{}.lock", etag.name()));
        let mut told = false;
        loop {
            if let Some(file) = try_lock(&path).map_err(HubError::io(&path))? {
                return Ok(file);
            }
            if !told {
                tracing::info!(lock = %path.display(), "another process downloads the same file");
                told = true;
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    /// Gives whole and checked bytes their final name. The caller holds the lock.
    pub(crate) fn keep(&self, etag: &Etag) -> Result<(), HubError> {
        let blob = self.blob(etag);
        fs::rename(self.partial(etag), &blob).map_err(HubError::io(blob))
    }

    /// Makes the file of the commit a link to the bytes. The caller holds the lock.
    pub(crate) fn link(
        &self,
        commit: &Commit,
        file: &FilePath,
        etag: &Etag,
    ) -> Result<PathBuf, HubError> {
        let pointer = self.pointer(commit, file);
        if entry(pointer.clone()).is_some_and(|entry| entry.etag == *etag) {
            return Ok(pointer);
        }
        make_parent(&pointer)?;
        // From the file's folder up to the repository's: relative, so that the cache can be moved.
        let mut target: PathBuf = file.parts().map(|_| "..").collect();
        target.extend(["..", "blobs", &etag.name()]);
        // A link into nothing, or to damaged bytes that were there.
        remove(&pointer)?;
        symlink(target, &pointer).map_err(HubError::io(&pointer))?;
        Ok(pointer)
    }
}

/// Removes a file if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HubError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Runs blocking work where it holds up no async task.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(
            error
                .try_into_panic()
                .unwrap_or_else(|error| Box::new(error.to_string())),
        ),
    }
}

fn entry(path: PathBuf) -> Option<Entry> {
    let bytes = path.canonicalize().ok().filter(|bytes| bytes.is_file())?;
    let is_blob = bytes.parent()?.file_name()? == "blobs";
    let name = bytes.file_name()?.to_str()?;
    let etag = if is_blob { Etag::parse(name) } else { None };
    Some(Entry {
        path,
        etag: etag.unwrap_or_else(|| Etag::Opaque(name.to_owned())),
    })
}

fn describe(root: &Path, path: PathBuf) -> Option<RepoFile> {
    let entry = entry(path)?;
    let size = fs::metadata(&entry.path).ok()?.len();
    let (sha256, blob_id) = match entry.etag {
        Etag::Sha256(digest) => (Some(digest), None),
        Etag::Git(name) => (None, Some(name)),
        Etag::Opaque(_) => (None, None),
    };
    Some(RepoFile {
        path: entry.path.strip_prefix(root).ok()?.to_str()?.to_owned(),
        size: Some(size),
        sha256,
        blob_id,
    })
}

fn make_parent(path: &Path) -> Result<(), HubError> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(HubError::io(parent)),
        None => Ok(()),
    }
}

/// The same lock as Python's client takes. None if another holds it, or if the file that was locked
/// is no longer the one of that name: some clients remove it.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let named = match fs::metadata(path) {
        Ok(named) => named,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let locked = file.metadata()?;
    let same = (locked.dev(), locked.ino()) == (named.dev(), named.ino());
    Ok(same.then_some(file))
}
