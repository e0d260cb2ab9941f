//! Digests of files, streamed, and remembered as long as a file stays as it was.

use std::{
    collections::HashMap,
    fs,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use temper_core::{Digest, DigestBuilder};

use crate::DataError;

const CHUNK: usize = 1 << 20;

/// The digests of the files that this process has read. A worker that runs hundreds of jobs on one
/// dataset reads its files once.
#[derive(Debug, Default)]
pub(crate) struct Digests(Mutex<HashMap<PathBuf, Known>>);

#[derive(Debug, Clone, Copy)]
struct Known {
    length: u64,
    modified: SystemTime,
    digest: Digest,
}

impl Digests {
    /// SHA-256 of the file.
    pub(crate) fn of(&self, path: &Path) -> Result<Digest, DataError> {
        let (length, modified) = stamp(path)?;
        if let Some(known) = self.lock().get(path)
            && (known.length, known.modified) == (length, modified)
        {
            return Ok(known.digest);
        }
        let digest = read(path)?;
        // A file that changed while it was read is not remembered: its stamp says nothing.
        if stamp(path)? == (length, modified) {
            self.lock().insert(
                path.to_owned(),
                Known {
                    length,
                    modified,
                    digest,
                },
            );
        }
        Ok(digest)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Length and time of change. Only of regular files: opening a pipe could wait for ever.
fn stamp(path: &Path) -> Result<(u64, SystemTime), DataError> {
    let metadata = fs::metadata(path).map_err(DataError::io(path))?;
    if !metadata.is_file() {
        return Err(DataError::layout(path, "it is no regular file"));
    }
    let modified = metadata.modified().map_err(DataError::io(path))?;
    Ok((metadata.len(), modified))
}

fn read(path: &Path) -> Result<Digest, DataError> {
    let mut file = fs::File::open(path).map_err(DataError::io(path))?;
    let mut builder = DigestBuilder::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(builder.finish()),
            Ok(count) => builder.update(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(DataError::io(path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_read_again_only_when_its_stamp_changes() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        fs::write(&path, "one")?;
        let stamp = fs::metadata(&path)?.modified()?;
        let digests = Digests::default();
        assert_eq!(digests.of(&path)?, Digest::of(b"one"));
        fs::write(&path, "two")?;
        fs::File::options()
            .write(true)
            .open(&path)?
            .set_modified(stamp)?;
        assert_eq!(digests.of(&path)?, Digest::of(b"one"), "read again");
        let later = stamp + std::time::Duration::from_secs(5);
        fs::File::options()
            .write(true)
            .open(&path)?
            .set_modified(later)?;
        assert_eq!(digests.of(&path)?, Digest::of(b"two"), "not read again");
        Ok(())
    }

    #[test]
    fn folder_is_no_file() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        assert!(matches!(
            Digests::default().of(folder.path()),
            Err(DataError::Layout { .. })
        ));
        Ok(())
    }
}
