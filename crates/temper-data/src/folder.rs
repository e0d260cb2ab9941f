//! Image folders: `train/<class>/<image>` and `test/<class>/<image>`. Images end in jpg, jpeg,
//! png or webp; other files are passed over, and so is all whose name starts with a dot.

use std::{
    fs,
    path::{Path, PathBuf},
};

use temper_core::{Digest, DigestBuilder};

use crate::{
    DataError, ImageFault, Place,
    digests::Digests,
    split::{self, Part, RawImage, Sink, Split},
};

/// Largest image file that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;

/// A dataset folder, listed.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    train: FolderSplit,
    test: FolderSplit,
}

/// A split of it, ordered by class, then by name, both in byte order.
#[derive(Debug, Default)]
pub(crate) struct FolderSplit {
    images: Vec<PathBuf>,
    labels: Vec<i64>,
}

/// A folder root and what is listed below it.
struct Listing {
    /// The root, without symbolic links.
    root: PathBuf,
    /// The dataset's folder.
    folder: PathBuf,
}

impl Folder {
    /// Lists the folder `path` below the first of the roots that has it.
    pub(crate) fn open(roots: &[PathBuf], path: &str, classes: u32) -> Result<Self, DataError> {
        let relative = Path::new(path);
        split::check_relative(relative)?;
        let root = roots
            .iter()
            .find(|root| root.join(relative).exists())
            .ok_or_else(|| DataError::FolderNotFound {
                path: relative.to_owned(),
                roots: split::listed(roots),
            })?;
        let folder = root.join(relative);
        let root = fs::canonicalize(root).map_err(DataError::io(root))?;
        let listing = Listing { root, folder };
        listing.check_inside(&listing.folder)?;
        let names = listing.classes(Part::Train)?;
        if listing.classes(Part::Test)? != names {
            let reason = "the class folders of `train` and `test` have different names";
            return Err(DataError::layout(listing.folder, reason));
        }
        if u32::try_from(names.len()) != Ok(classes) {
            let reason = format!("it has {} class folders, not {classes}", names.len());
            return Err(DataError::layout(listing.folder, reason));
        }
        let train = listing.split(Part::Train, &names)?;
        let test = listing.split(Part::Test, &names)?;
        Ok(Self {
            path: listing.folder,
            train,
            test,
        })
    }

    /// The manifest's digest: SHA-256 over the lines `<sha256>  <path>\n` of all images, sorted by
    /// bytes; the path is relative to the dataset's folder. The same as, for names without
    /// specials, `find train test -type f | xargs sha256sum | LC_ALL=C sort | sha256sum`.
    pub(crate) fn manifest(&self, digests: &Digests) -> Result<Digest, DataError> {
        let mut lines = Vec::new();
        for image in self.train.images.iter().chain(&self.test.images) {
            let relative = image.strip_prefix(&self.path).unwrap_or(image);
            lines.push(format!("{}  {}\n", digests.of(image)?, relative.display()));
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
                path: self.path.clone(),
                expected,
                found,
            });
        }
        Ok(())
    }

    pub(crate) fn into_split(self, part: Part) -> FolderSplit {
        match part {
            Part::Train => self.train,
            Part::Test => self.test,
        }
    }
}

impl Split for FolderSplit {
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

impl Listing {
    /// The names of the class folders, in byte order: class 0 first.
    fn classes(&self, part: Part) -> Result<Vec<String>, DataError> {
        let path = self.folder.join(part.name());
        if !path.is_dir() {
            let reason = "a dataset folder holds train/<class>/<image> and test/<class>/<image>";
            return Err(DataError::layout(
                path,
                format!("it is no folder: {reason}"),
            ));
        }
        self.check_entry(&path)?;
        let mut names = entries(&path)?;
        names.retain(|name| path.join(name).is_dir());
        Ok(names)
    }

    fn split(&self, part: Part, classes: &[String]) -> Result<FolderSplit, DataError> {
        let mut split = FolderSplit::default();
        for (label, class) in (0_i64..).zip(classes) {
            let folder = self.folder.join(part.name()).join(class);
            self.check_entry(&folder)?;
            for name in entries(&folder)? {
                let path = folder.join(name);
                if path.is_dir() {
                    let reason = "it is a folder, but images lie directly in their class's folder";
                    return Err(DataError::layout(path, reason));
                }
                if is_image(&path) {
                    self.check_entry(&path)?;
                    split.images.push(path);
                    split.labels.push(label);
                }
            }
        }
        Ok(split)
    }

    /// Refuses an entry that leads out of the root; what holds it was checked before.
    fn check_entry(&self, path: &Path) -> Result<(), DataError> {
        let metadata = fs::symlink_metadata(path).map_err(DataError::io(path))?;
        if metadata.is_symlink() {
            self.check_inside(path)
        } else {
            Ok(())
        }
    }

    /// Refuses a path that a symbolic link leads out of the root.
    fn check_inside(&self, path: &Path) -> Result<(), DataError> {
        let target = fs::canonicalize(path).map_err(DataError::io(path))?;
        if !target.starts_with(&self.root) {
            return Err(DataError::OutsideRoot {
                path: path.to_owned(),
                root: self.root.clone(),
            });
        }
        Ok(())
    }
}

/// The names in a folder, in byte order, without hidden ones.
fn entries(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io(folder))? {
        let entry = entry.map_err(DataError::io(folder))?;
        let name = entry.file_name().into_string().map_err(|_| {
            DataError::layout(
                entry.path(),
                "its name is not UTF-8, which a manifest needs",
            )
        })?;
        if name.contains(char::is_control) {
            let reason = "its name has control characters, which a manifest cannot tell apart";
            return Err(DataError::layout(entry.path(), reason));
        }
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        ["jpg", "jpeg", "png", "webp"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}
