//! FGVC-Aircraft 2013b (Maji et al. 2013), labelled by variant, the folder `fgvc-aircraft-2013b` as
//! its archive has it: `data/images/<id>.jpg`, `data/images_variant_{train,val,test}.txt`
//! (`<id> <variant>`, a variant's name may have spaces) and `data/variants.txt`, whose order numbers
//! the classes. The line of 20 pixels at the bottom of each image that names its photographer is
//! left where it is.

use std::collections::HashMap;

use super::{
    listing::{Lister, Listing},
    root::Root,
    text::Lines,
};
use crate::{DataError, split::Part};

/// Lists the folder.
pub(super) fn read(root: &Root, classes: u32) -> Result<Listing, DataError> {
    let mut lister = Lister::new(root, classes);
    let variants = Lines::open(&mut lister, "data/variants.txt")?;
    let numbers: HashMap<&str, i128> = variants.iter().map(|(_, name)| name).zip(0..).collect();
    if u32::try_from(numbers.len()) != Ok(classes) {
        let reason = format!("it has {} different variants, not {classes}", numbers.len());
        return Err(DataError::layout(variants.path(), reason));
    }
    for (part, name) in [
        (Part::Train, "train"),
        (Part::Validation, "val"),
        (Part::Test, "test"),
    ] {
        let lines = Lines::open(&mut lister, &format!("data/images_variant_{name}.txt"))?;
        for line in lines.pairs() {
            let (place, id, variant) = line?;
            let label = numbers.get(variant).ok_or_else(|| {
                let reason = format!("{place} has the variant `{variant}`, which is none");
                DataError::damaged(lines.path(), reason)
            })?;
            lister.add(part, &format!("data/images/{id}.jpg"), *label, &place)?;
        }
    }
    Ok(lister.finish())
}
