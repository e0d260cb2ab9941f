//! Class folders: `train/<class>/<image>`, `test/<class>/<image>` and, where there is one,
//! `validation/<class>/<image>`. Each split is ordered by class, then by name, both in byte order.

use super::{
    listing::{Lister, Listing},
    root::{Root, entries, is_image},
};
use crate::{DataError, split::Part};

/// Lists the folder.
pub(super) fn read(root: &Root, classes: u32) -> Result<Listing, DataError> {
    let names = class_names(root, Part::Train)?;
    let mut parts = vec![Part::Train, Part::Test];
    if root.folder().join(Part::Validation.name()).is_dir() {
        parts.insert(1, Part::Validation);
    }
    for part in &parts[1..] {
        if class_names(root, *part)? != names {
            let part = part.name();
            let reason = format!("the class folders of `train` and `{part}` have different names");
            return Err(DataError::layout(root.folder(), reason));
        }
    }
    if u32::try_from(names.len()) != Ok(classes) {
        let reason = format!("it has {} class folders, not {classes}", names.len());
        return Err(DataError::layout(root.folder(), reason));
    }
    let mut lister = Lister::new(root, classes);
    for part in parts {
        add_split(&mut lister, root, part, &names)?;
    }
    Ok(lister.finish())
}

/// The names of the class folders, in byte order: class 0 first.
fn class_names(root: &Root, part: Part) -> Result<Vec<String>, DataError> {
    let path = root.folder().join(part.name());
    if !path.is_dir() {
        let reason = "it is no folder: a dataset folder holds train/<class>/<image> and \
                      test/<class>/<image>";
        return Err(DataError::layout(path, reason));
    }
    root.check_entry(&path)?;
    let mut names = entries(&path)?;
    names.retain(|name| path.join(name).is_dir());
    Ok(names)
}

fn add_split(
    lister: &mut Lister<'_>,
    root: &Root,
    part: Part,
    classes: &[String],
) -> Result<(), DataError> {
    for (label, class) in (0_i64..).zip(classes) {
        let folder = root.folder().join(part.name()).join(class);
        root.check_entry(&folder)?;
        for name in entries(&folder)? {
            let path = folder.join(name);
            if path.is_dir() {
                let reason = "it is a folder, but images lie directly in their class's folder";
                return Err(DataError::layout(path, reason));
            }
            if is_image(&path) {
                root.check_entry(&path)?;
                lister.push(part, path, label);
            }
        }
    }
    Ok(())
}
