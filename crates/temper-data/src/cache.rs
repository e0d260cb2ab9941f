//! Decoded pixels on disk, in `pixels/` of the cache folder: made once, then mapped into memory by
//! every process that wants them, so that opening them costs milliseconds and no copy.
//!
//! A file is named by the digest of all that determines its pixels, the dataset's digest among
//! them; it is only made of files that were verified against that, so that whoever finds it
//! need not look at them again. It gets its name when it is whole and on the disk, and is never
//! changed after. All in the folder may be deleted at any time: what is open stays usable, and what
//! is missing is made anew. The time of change of a file is that of its last use.

mod file;
mod map;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use temper_core::{Digest, DigestBuilder};

pub(crate) use self::file::Cached;
use crate::{DataError, image_set::image_bytes, pixels, split::Part};

/// The cache of one folder.
#[derive(Debug)]
pub(crate) struct Cache(PathBuf);

/// What determines the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) dataset: Digest,
    pub(crate) part: Part,
    pub(crate) selection: Selection,
    /// Side of the squares in pixels; 0 for labels without pixels.
    pub(crate) size: u32,
}

/// Which samples of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of them.
    All,
    /// Those with these indices, named by their digest.
    Rows(Digest),
}

/// The room that a file needs, to say so where there is none.
#[derive(Debug)]
pub(crate) struct Room {
    folder: PathBuf,
    needed: u64,
}

impl Selection {
    /// The selection of the `chosen` (ascending) of `total` samples.
    pub(crate) fn of(chosen: &[usize], total: usize) -> Self {
        if chosen.len() == total {
            return Self::All;
        }
        let mut builder = DigestBuilder::default();
        for &index in chosen {
            builder.update(&(index as u64).to_le_bytes());
        }
        Self::Rows(builder.finish())
    }
}

impl Key {
    fn digest(&self) -> Digest {
        Digest::of(self.facts().as_bytes())
    }

    fn facts(&self) -> String {
        let selection = match self.selection {
            Selection::All => "all".to_owned(),
            Selection::Rows(digest) => digest.to_string(),
        };
        format!(
            "dataset {}\npart {}\nselection {selection}\nsize {}\nfilter {}\nversion {}\n",
            self.dataset,
            self.part.name(),
            self.size,
            pixels::SQUARE_FILTER,
            pixels::VERSION
        )
    }
}

impl Cache {
    /// The cache below `folder`, which need not be there yet.
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.join("pixels"))
    }

    /// The file for `key`, if it is there and whole.
    pub(crate) fn open(&self, key: &Key) -> Option<Cached> {
        file::open(&self.path(key, "pixels"), key.digest(), key.size).ok()
    }

    /// The file for `key`; where there is none, or only a damaged one, it is made: for samples with
    /// these labels, `fill` writes the pixels to the file from an offset on. Of several processes
    /// that want one file, one makes it and the others wait.
    pub(crate) fn open_or_make(
        &self,
        key: &Key,
        labels: &[i64],
        fill: impl FnOnce(&File, u64, &Room) -> Result<(), DataError>,
    ) -> Result<Cached, DataError> {
        if let Some(cached) = self.open(key) {
            return Ok(cached);
        }
        fs::create_dir_all(&self.0).map_err(DataError::cache(&self.0))?;
        let lock = self.lock(key)?;
        // Another process may have made it meanwhile.
        if let Some(cached) = self.open(key) {
            return Ok(cached);
        }
        let path = self.path(key, "pixels");
        if lock.is_some() {
            self.remove_leftovers(key);
        }
        let header = file::header(key.digest(), key.size, labels);
        let room = self.room(header.len(), labels.len(), key.size)?;
        let part = tempfile::Builder::new()
            .prefix(&format!("{}.", key.digest()))
            .suffix(".part")
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(&self.0)
            .map_err(|error| room.fault(error))?;
        let offset = header.len() as u64;
        let written = part.as_file().write_all_at(&header, 0);
        written.map_err(|error| room.fault(error))?;
        fill(part.as_file(), offset, &room)?;
        part.as_file()
            .sync_all()
            .map_err(|error| room.fault(error))?;
        part.persist(&path)
            .map_err(|error| room.fault(error.error))?;
        // The name must be on the disk as well; a folder that cannot be synced loses it at worst.
        let _ = File::open(&self.0).and_then(|folder| folder.sync_all());
        file::open(&path, key.digest(), key.size).map_err(DataError::cache(path))
    }

    fn path(&self, key: &Key, extension: &str) -> PathBuf {
        self.0.join(format!("{}.{extension}", key.digest()))
    }

    /// Waits until no other process makes the file. None where the file system has no locks: then
    /// several may make it, each its own, and the last one's stays.
    fn lock(&self, key: &Key) -> Result<Option<File>, DataError> {
        let path = self.path(key, "lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(DataError::cache(&path))?;
        loop {
            match file.lock() {
                Ok(()) => return Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(None),
            }
        }
    }

    /// Removes what killed processes left of the file; whoever holds its lock is the only one at it.
    fn remove_leftovers(&self, key: &Key) {
        let prefix = format!("{}.", key.digest());
        let Ok(entries) = fs::read_dir(&self.0) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix) && name.ends_with(".part") {
                // What stays takes room, no more.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Checks that there is room for a file.
    fn room(&self, header: usize, images: usize, size: u32) -> Result<Room, DataError> {
        let pixels = images.saturating_mul(image_bytes(size));
        let room = Room {
            folder: self.0.clone(),
            needed: header.saturating_add(pixels) as u64,
        };
        let system = rustix::fs::statvfs(&self.0)
            .map_err(|error| DataError::cache(&self.0)(error.into()))?;
        if system.f_bavail.saturating_mul(system.f_frsize) < room.needed {
            return Err(room.full(None));
        }
        Ok(room)
    }
}

impl Room {
    /// What it means that the system refuses to write.
    pub(crate) fn fault(&self, error: io::Error) -> DataError {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => self.full(Some(error)),
            _ => DataError::cache(&self.folder)(error),
        }
    }

    fn full(&self, source: Option<io::Error>) -> DataError {
        DataError::CacheFull {
            folder: self.folder.clone(),
            needed: self.needed,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_makes_another_key() {
        let key = Key {
            dataset: Digest::of(b"dataset"),
            part: Part::Train,
            selection: Selection::All,
            size: 64,
        };
        let dataset = Digest::of(b"another");
        let others = [
            Key { dataset, ..key },
            Key {
                part: Part::Test,
                ..key
            },
            Key {
                selection: Selection::of(&[0, 2], 3),
                ..key
            },
            Key {
                selection: Selection::of(&[1, 2], 3),
                ..key
            },
            Key { size: 65, ..key },
        ];
        let mut digests: Vec<Digest> = others.iter().map(Key::digest).collect();
        digests.push(key.digest());
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 6);
        assert_eq!(Selection::of(&[0, 1, 2], 3), Selection::All);
        // Neither can change in one build: that they are in the key has to do.
        let facts = key.facts();
        assert!(facts.contains(pixels::VERSION) && facts.contains(pixels::SQUARE_FILTER));
    }
}
