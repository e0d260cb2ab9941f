//! CUB-200-2011 (Wah et al. 2011), the folder `CUB_200_2011` as its archive has it:
//! `images.txt` (`<id> <path below images/>`), `image_class_labels.txt` (`<id> <class from 1>`) and
//! `train_test_split.txt` (`<id> <1: train, 0: test>`). Samples are in the order of `images.txt`.

use std::collections::HashMap;

use super::{
    listing::{Lister, Listing},
    root::Root,
    text::{Lines, integer},
};
use crate::{DataError, split::Part};

/// Lists the folder.
pub(super) fn read(root: &Root, classes: u32) -> Result<Listing, DataError> {
    let mut lister = Lister::new(root, classes);
    let images = Lines::open(&mut lister, "images.txt")?;
    let classes = Lines::open(&mut lister, "image_class_labels.txt")?;
    let splits = Lines::open(&mut lister, "train_test_split.txt")?;
    let (labels, parts) = (by_id(&classes)?, by_id(&splits)?);
    let mut count = 0;
    for line in images.pairs() {
        let (place, id, path) = line?;
        let found = |numbers: &HashMap<&str, i128>, lines: &Lines| {
            numbers.get(id).copied().ok_or_else(|| {
                let reason = format!("it has no line for the image `{id}` of {place}");
                DataError::damaged(lines.path(), reason)
            })
        };
        let part = match found(&parts, &splits)? {
            0 => Part::Test,
            1 => Part::Train,
            other => {
                let reason = format!("it puts the image `{id}` into split {other}, not 0 or 1");
                return Err(DataError::damaged(splits.path(), reason));
            }
        };
        // The least number has none below it, and is no class as it is.
        let label = found(&labels, &classes)?.saturating_sub(1);
        lister.add(part, &format!("images/{path}"), label, &place)?;
        count += 1;
    }
    for (numbers, lines) in [(&labels, &classes), (&parts, &splits)] {
        if numbers.len() != count {
            let reason = format!("it has {} images, not {count}", numbers.len());
            return Err(DataError::damaged(lines.path(), reason));
        }
    }
    Ok(lister.finish())
}

/// The number of each image.
fn by_id(lines: &Lines) -> Result<HashMap<&str, i128>, DataError> {
    let mut numbers = HashMap::new();
    for line in lines.pairs() {
        let (place, id, number) = line?;
        if numbers
            .insert(id, integer(lines, &place, number)?)
            .is_some()
        {
            let reason = format!("{place} names the image `{id}` a second time");
            return Err(DataError::damaged(lines.path(), reason));
        }
    }
    Ok(numbers)
}
