//! Caltech-256 (Griffin et al. 2007), the folder `256_ObjectCategories` as its archive has it:
//! `<number>.<class>/<image>`, number 257 being `clutter`. A class's label is its number less 1.
//! There are no official splits: all images are one pool, ordered by class folder, then by name.
//!
//! The archive has two things that are no images, and other readers pass over them as well: the
//! folder `056.dog/greg` and the file `198.spider/RENAME2`. So only files directly in a class's
//! folder count, and only those whose names end as images' do.

use std::collections::HashMap;

use super::{
    listing::{Lister, Listing},
    root::{Root, entries, is_image},
};
use crate::{
    DataError, Place,
    split::{self, Part},
};

/// Lists the folder.
pub(super) fn read(root: &Root, classes: u32) -> Result<Listing, DataError> {
    let mut lister = Lister::new(root, classes);
    let mut seen = HashMap::new();
    for name in entries(root.folder())? {
        let folder = root.folder().join(&name);
        if !folder.is_dir() {
            continue;
        }
        root.check_entry(&folder)?;
        let number = name
            .split_once('.')
            .and_then(|(number, _)| number.parse().ok());
        let number: u32 = number.ok_or_else(|| {
            let reason = "its name is not <number>.<class>, as those of class folders are";
            DataError::layout(&folder, reason)
        })?;
        let place = || Place::File(folder.clone());
        let label = split::label(i128::from(number) - 1, classes, place)?;
        if let Some(other) = seen.insert(number, name) {
            let reason = format!("it has the same number as `{other}`");
            return Err(DataError::layout(folder, reason));
        }
        for name in entries(&folder)? {
            let path = folder.join(name);
            if is_image(&path) && path.is_file() {
                root.check_entry(&path)?;
                lister.push(Part::Train, path, label);
            }
        }
    }
    if u32::try_from(seen.len()) != Ok(classes) {
        let reason = format!("it has {} class folders, not {classes}", seen.len());
        return Err(DataError::layout(root.folder(), reason));
    }
    Ok(lister.finish())
}
