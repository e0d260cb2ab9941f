//! Stanford Dogs (Khosla et al. 2011), the archives `images.tar` and `lists.tar` unpacked into one
//! folder: `Images/<class>/<image>.jpg`, and `train_list.mat` and `test_list.mat` with the variables
//! `file_list` (a cell array of paths below `Images/`) and `labels` (from 1). Samples are in the
//! lists' order.

use super::{
    listing::{Lister, Listing},
    mat::Mat,
    root::Root,
};
use crate::{DataError, Place, split::Part};

/// Lists the folder.
pub(super) fn read(root: &Root, classes: u32) -> Result<Listing, DataError> {
    let mut lister = Lister::new(root, classes);
    for (part, list) in [
        (Part::Train, "train_list.mat"),
        (Part::Test, "test_list.mat"),
    ] {
        let (path, bytes) = lister.list(list)?;
        let mat = Mat::read(path.clone(), &bytes)?;
        let images = mat.texts("file_list")?;
        let labels = mat.integers("labels")?;
        if images.len() != labels.len() {
            let (images, labels) = (images.len(), labels.len());
            let reason = format!("its `file_list` has {images} entries, its `labels` {labels}");
            return Err(DataError::damaged(path, reason));
        }
        for (index, (image, label)) in images.into_iter().zip(labels).enumerate() {
            let place = Place::Index(path.clone(), index);
            lister.add(part, &format!("Images/{image}"), label - 1, &place)?;
        }
    }
    Ok(lister.finish())
}
