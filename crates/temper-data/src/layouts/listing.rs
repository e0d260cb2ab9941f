//! What a reader of a layout yields.

use std::{
    collections::HashSet,
    fs, mem,
    path::{Path, PathBuf},
};

use temper_core::{Digest, DigestBuilder};

use super::root::Root;
use crate::{
    DataError, ImageFault, Place,
    digests::Digests,
    split::{self, Part, RawImage, Sink, Split},
};

/// Largest image file that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;

/// A dataset's folder, listed. Where there are no official splits all images are in the training
/// split.
#[derive(Debug)]
pub(crate) struct Listing {
    folder: PathBuf,
    splits: [FileSplit; Part::ALL.len()],
    /// The files that say which images there are and what they show.
    lists: Vec<PathBuf>,
}

/// A split in files of their own.
#[derive(Debug, Default)]
pub(crate) struct FileSplit {
    images: Vec<PathBuf>,
    labels: Vec<i64>,
}

/// Gathers a listing from lists of images.
pub(super) struct Lister<'a> {
    root: &'a Root,
    classes: u32,
    listing: Listing,
    named: HashSet<PathBuf>,
}

impl Listing {
    /// The manifest's digest: SHA-256 over the lines `<sha256>  <path>\n` of all images and lists,
    /// sorted by bytes; the path is relative to the dataset's folder. For class folders the same
    /// as, for names without specials,
    /// `find train test -type f | xargs sha256sum | LC_ALL=C sort | sha256sum`.
    pub(crate) fn manifest(&self, digests: &Digests) -> Result<Digest, DataError> {
        let images = self.splits.iter().flat_map(|split| &split.images);
        let mut lines = Vec::new();
        for file in images.chain(&self.lists) {
            let relative = file.strip_prefix(&self.folder).unwrap_or(file);
            lines.push(format!("{}  {}\n", digests.of(file)?, relative.display()));
        }
        lines.sort_unstable();
        let mut builder = DigestBuilder::default();
        for line in lines {
            builder.update(line.as_bytes());
        }
        Ok(builder.finish())
    }

    /// Checks the manifest.
    pub(crate) fn verify(&self, expected: Digest, digests: &Digests) -> Result<(), DataError> {
        let found = self.manifest(digests)?;
        if found != expected {
            return Err(DataError::DigestMismatch {
                path: self.folder.clone(),
                expected,
                found,
            });
        }
        Ok(())
    }

    /// The dataset's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Images of an official split.
    pub(crate) fn len(&self, part: Part) -> usize {
        self.splits[part as usize].images.len()
    }

    /// Hands out an official split, which is empty after that.
    pub(crate) fn take(&mut self, part: Part) -> FileSplit {
        mem::take(&mut self.splits[part as usize])
    }
}

impl<'a> Lister<'a> {
    pub(super) fn new(root: &'a Root, classes: u32) -> Self {
        Self {
            root,
            classes,
            listing: Listing {
                folder: root.folder().to_owned(),
                splits: Default::default(),
                lists: Vec::new(),
            },
            named: HashSet::new(),
        }
    }

    /// The bytes of a list, which thereby becomes part of the manifest, and its path.
    pub(super) fn list(&mut self, relative: &str) -> Result<(PathBuf, Vec<u8>), DataError> {
        let (path, bytes) = self.root.list(relative)?;
        self.listing.lists.push(path.clone());
        Ok((path, bytes))
    }

    /// The first of these lists that is there, as [`Self::list`] gives it; else the error about
    /// the first.
    pub(super) fn any_list(&mut self, relative: &[&str]) -> Result<(PathBuf, Vec<u8>), DataError> {
        let there = |name: &&&str| self.root.folder().join(name).exists();
        let first = relative.iter().find(there).or(relative.first());
        self.list(first.copied().unwrap_or_default())
    }

    /// Adds an image that a list names at `place`.
    pub(super) fn add(
        &mut self,
        part: Part,
        image: &str,
        label: i128,
        place: &Place,
    ) -> Result<(), DataError> {
        let label = split::label(label, self.classes, || place.clone())?;
        if image.contains(char::is_control) {
            let reason = format!("{place} names it, but a manifest cannot hold control characters");
            return Err(DataError::layout(image, reason));
        }
        let path = self.root.resolve(image)?;
        if !path.is_file() {
            let reason = format!("{place} names it, but it is not there, or no file");
            return Err(DataError::layout(path, reason));
        }
        if !self.named.insert(path.clone()) {
            let reason = format!("{place} names it, which was named before");
            return Err(DataError::layout(path, reason));
        }
        self.push(part, path, label);
        Ok(())
    }

    /// Adds an image that is known to be there, with a label that is known to be a class.
    pub(super) fn push(&mut self, part: Part, path: PathBuf, label: i64) {
        let split = &mut self.listing.splits[part as usize];
        split.images.push(path);
        split.labels.push(label);
    }

    pub(super) fn finish(self) -> Listing {
        self.listing
    }
}

impl Split for FileSplit {
    fn labels(&self) -> &[i64] {
        &self.labels
    }

    fn read(&self, chosen: &[usize], sink: &mut Sink<'_>) -> Result<(), DataError> {
        for (position, &index) in chosen.iter().enumerate() {
            let path = &self.images[index];
            let length = fs::metadata(path).map_err(DataError::io(path))?.len();
            if length > MAX_FILE {
                return Err(DataError::Image {
                    place: self.place(index),
                    source: ImageFault::Oversized(length),
                });
            }
            let encoded = fs::read(path).map_err(DataError::io(path))?;
            sink(position, RawImage::Encoded(encoded))?;
        }
        Ok(())
    }

    fn place(&self, index: usize) -> Place {
        Place::File(self.images[index].clone())
    }
}
