//! A dataset's folder below a folder root, out of which nothing may lead.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::{DataError, split};

/// Largest list that is read, in bytes.
const MAX_LIST: u64 = 32 << 20;

/// A dataset's folder and the root that it lies below.
#[derive(Debug)]
pub(super) struct Root {
    /// The root, without symbolic links.
    base: PathBuf,
    folder: PathBuf,
    /// Folders that are known to lie within the root.
    inside: RefCell<HashSet<PathBuf>>,
}

impl Root {
    /// The folder `path` below the first of the roots that has it.
    pub(super) fn open(roots: &[PathBuf], path: &str) -> Result<Self, DataError> {
        let relative = Path::new(path);
        split::check_relative(relative)?;
        let root = roots
            .iter()
            .find(|root| root.join(relative).exists())
            .ok_or_else(|| DataError::FolderNotFound {
                path: relative.to_owned(),
                roots: split::listed(roots),
            })?;
        let opened = Self {
            folder: root.join(relative),
            base: fs::canonicalize(root).map_err(DataError::io(root))?,
            inside: RefCell::default(),
        };
        opened.check_inside(&opened.folder)?;
        Ok(opened)
    }

    /// The dataset's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a relative path within the folder leads; it need not be there.
    pub(super) fn resolve(&self, relative: &str) -> Result<PathBuf, DataError> {
        let relative = Path::new(relative);
        split::check_relative(relative)?;
        let path = self.folder.join(relative);
        if let Some(parent) = path.parent()
            && !self.inside.borrow().contains(parent)
            && parent.exists()
        {
            self.check_inside(parent)?;
            self.inside.borrow_mut().insert(parent.to_owned());
        }
        if path.is_symlink() && path.exists() {
            self.check_inside(&path)?;
        }
        Ok(path)
    }

    /// The bytes of a list of images, and where it lies.
    pub(super) fn list(&self, relative: &str) -> Result<(PathBuf, Vec<u8>), DataError> {
        let path = self.resolve(relative)?;
        // Opening a pipe could wait for ever.
        if !path.is_file() {
            let reason = "it is no file, but the layout has its list of images there";
            return Err(DataError::layout(path, reason));
        }
        let file = fs::File::open(&path).map_err(DataError::io(&path))?;
        let mut bytes = Vec::new();
        file.take(MAX_LIST + 1)
            .read_to_end(&mut bytes)
            .map_err(DataError::io(&path))?;
        if bytes.len() as u64 > MAX_LIST {
            let reason = format!("it has more than {MAX_LIST} bytes, too many for a list");
            return Err(DataError::layout(path, reason));
        }
        Ok((path, bytes))
    }

    /// Refuses an entry that leads out of the root; what holds it was checked before.
    pub(super) fn check_entry(&self, path: &Path) -> Result<(), DataError> {
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
        if !target.starts_with(&self.base) {
            return Err(DataError::OutsideRoot {
                path: path.to_owned(),
                root: self.base.clone(),
            });
        }
        Ok(())
    }
}

/// The names in a folder, in byte order, without hidden ones.
pub(super) fn entries(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io(folder))? {
        let entry = entry.map_err(DataError::io(folder))?;
        let name = entry.file_name().into_string().map_err(|_| {
            let reason = "its name is not UTF-8, which a manifest needs";
            DataError::layout(entry.path(), reason)
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

/// Whether a name ends as those of images do.
pub(super) fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        ["jpg", "jpeg", "png", "webp"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}
