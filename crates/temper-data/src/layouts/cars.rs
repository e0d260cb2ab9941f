//! Stanford Cars (Krause et al. 2013), its archives unpacked into one folder: `cars_train/` and
//! `cars_test/` with the images, `devkit/cars_train_annos.mat`, and
//! `cars_test_annos_withlabels.mat` beside the folders or in `devkit/`. Each list is a struct array
//! `annotations` with, among others, the fields `fname` and `class` (from 1). Samples are in the
//! lists' order; images are whole, not cropped to their bounding boxes.

use super::{
    listing::{Lister, Listing},
    mat::Mat,
    root::Root,
};
use crate::{DataError, Place, split::Part};

/// Lists the folder.
pub(super) fn read(root: &Root, classes: u32) -> Result<Listing, DataError> {
    let mut lister = Lister::new(root, classes);
    let train = ["devkit/cars_train_annos.mat"];
    let test = [
        "cars_test_annos_withlabels.mat",
        "devkit/cars_test_annos_withlabels.mat",
    ];
    for (part, folder, lists) in [
        (Part::Train, "cars_train", train.as_slice()),
        (Part::Test, "cars_test", &test),
    ] {
        let (path, bytes) = lister.any_list(lists)?;
        let annotations = Mat::read(path.clone(), &bytes)?;
        let images = annotations.field_texts("annotations", "fname")?;
        let labels = annotations.field_integers("annotations", "class")?;
        for (index, (image, label)) in images.into_iter().zip(labels).enumerate() {
            let place = Place::Index(path.clone(), index);
            lister.add(part, &format!("{folder}/{image}"), label - 1, &place)?;
        }
    }
    Ok(lister.finish())
}
