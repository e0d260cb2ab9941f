//! The layouts in which datasets' authors ship them, made small by the crate's own builders.

use std::{fs, path::Path};

use temper_core::catalog::{Catalog, Counts, DatasetEntry, Layout, PinnedDataset, Source};
use temper_data::{
    DataError, Sources,
    testing::{Plan, colour, write_layout},
};
use tempfile::TempDir;

use crate::support::{assert_matches, bad_input, entry, pinned_entry, settings};

pub(crate) const PLAN: Plan = Plan {
    classes: 5,
    train: 4,
    validation: 0,
    test: 2,
    side: 12,
};

/// The layouts with official splits.
const SPLIT: [Layout; 6] = [
    Layout::ClassFolders,
    Layout::List,
    Layout::Cub200,
    Layout::StanfordDogs,
    Layout::StanfordCars,
    Layout::FgvcAircraft,
];

pub(crate) fn made(layout: Layout, plan: Plan) -> anyhow::Result<TempDir> {
    let root = tempfile::tempdir()?;
    write_layout(&root.path().join("made"), layout, plan)?;
    Ok(root)
}

pub(crate) fn sources(root: &Path) -> Sources {
    Sources::new(vec![], vec![root.to_owned()])
}

pub(crate) fn described(layout: Layout, plan: Plan) -> DatasetEntry {
    let source = Source::Folder {
        path: "made".to_owned(),
        layout,
        list: (layout == Layout::List).then(|| "list.csv".to_owned()),
        manifest: None,
    };
    DatasetEntry {
        counts: plan.counts(layout),
        ..entry(plan.classes, source)
    }
}

fn dataset(root: &Path, layout: Layout, plan: Plan) -> anyhow::Result<PinnedDataset> {
    pinned_entry(&sources(root), described(layout, plan))
}

/// What pinning says is wrong.
pub(crate) fn fault(root: &Path, layout: Layout, names: &str) -> anyhow::Result<DataError> {
    match dataset(root, layout, PLAN) {
        Ok(_) => anyhow::bail!("{}: pinned", layout.name()),
        Err(error) => Ok(bad_input::<()>(Err(error.downcast()?), names)),
    }
}

/// The class and the split that a picture was made for, by its red and green.
pub(crate) fn origin(image: &[u8]) -> (i64, u8) {
    let plane = image.len() / 3;
    (i64::from((image[0] + 5) / 10), (image[plane] + 40) / 80)
}

#[test]
fn every_layout_yields_its_images_with_their_labels_and_splits() -> anyhow::Result<()> {
    for layout in SPLIT {
        let root = made(layout, PLAN)?;
        let (sources, dataset) = (sources(root.path()), dataset(root.path(), layout, PLAN)?);
        let train = sources.training(&dataset, &settings(4, 0, 0))?.train;
        let test = sources.test(&dataset, &settings(4, 0, 0), 0)?;
        let name = layout.name();
        assert_eq!((train.len(), test.len()), (20, 10), "{name}");
        for (set, split) in [(&train, 0), (&test, 2)] {
            for (image, label) in set.images().zip(&set.labels) {
                assert_eq!(origin(image), (*label, split), "{name}");
            }
            for class in 0..5 {
                let images = set.labels.iter().filter(|label| **label == class).count();
                assert_eq!(images * 5, set.len(), "{name}: class {class}");
            }
        }
    }
    Ok(())
}

#[test]
fn official_validation_split_is_drawn_from_and_training_keeps_all_of_its_own() -> anyhow::Result<()>
{
    let plan = Plan {
        validation: 3,
        ..PLAN
    };
    for layout in [Layout::ClassFolders, Layout::List, Layout::FgvcAircraft] {
        let root = made(layout, plan)?;
        let (sources, mut dataset) = (sources(root.path()), dataset(root.path(), layout, plan)?);
        let splits = sources.training(&dataset, &settings(4, 0, 10))?;
        assert_eq!((splits.train.len(), splits.validation.len()), (20, 10));
        let origins = |set: &temper_data::ImageSet| -> Vec<u8> {
            set.images().map(|image| origin(image).1).collect()
        };
        assert_eq!(origins(&splits.train), [0; 20]);
        assert_eq!(origins(&splits.validation), [1; 10]);
        for class in 0..5 {
            let images = splits
                .validation
                .labels
                .iter()
                .filter(|label| **label == class);
            assert_eq!(images.count(), 2, "stratified");
        }
        let error = bad_input(sources.training(&dataset, &settings(4, 0, 16)), "made");
        assert_matches!(
            error,
            DataError::TooFewSamples {
                split: "validation",
                available: 15,
                ..
            }
        );
        // Pinning says that there is such a split; whoever hides it is told.
        assert_eq!(dataset.counts.validation, Some(15));
        dataset.counts.validation = None;
        let result = sources.training(&dataset, &settings(4, 1, 5));
        if layout == Layout::FgvcAircraft {
            assert_eq!(origins(&result?.validation), [1; 5]);
        } else {
            bad_input(result, "counts.validation = 15");
        }
    }
    Ok(())
}

#[test]
fn pinning_tells_of_an_official_validation_split_that_the_entry_does_not_mention()
-> anyhow::Result<()> {
    let plan = Plan {
        validation: 3,
        ..PLAN
    };
    let root = made(Layout::ClassFolders, plan)?;
    let silent = DatasetEntry {
        counts: Counts::default(),
        ..described(Layout::ClassFolders, plan)
    };
    let dataset = pinned_entry(&sources(root.path()), silent)?;
    let expected = Counts {
        validation: Some(15),
        ..Counts::default()
    };
    assert_eq!(dataset.counts, expected);
    Ok(())
}

#[test]
fn counts_that_do_not_hold_are_said_with_what_was_found() -> anyhow::Result<()> {
    for layout in SPLIT {
        let root = made(layout, PLAN)?;
        let mut dataset = dataset(root.path(), layout, PLAN)?;
        dataset.counts.train = Some(21);
        let sources = sources(root.path());
        let error = bad_input(sources.training(&dataset, &settings(4, 0, 0)), "made");
        assert!(
            error.to_string().contains("20 images (split: train)"),
            "{error}"
        );
        assert_matches!(
            error,
            DataError::Count {
                split: "train",
                expected: 21,
                found: 20,
                ..
            }
        );
        assert!(sources.test(&dataset, &settings(4, 0, 0), 0).is_ok());
        dataset.counts.test = Some(9);
        let sources = self::sources(root.path());
        let error = bad_input(sources.test(&dataset, &settings(4, 0, 0), 0), "made");
        assert_matches!(
            error,
            DataError::Count {
                split: "test",
                expected: 9,
                found: 10,
                ..
            }
        );
    }
    Ok(())
}

/// The lists of each layout, an image that they name, and what an error calls it.
const LISTS: [(Layout, &[&str], &str); 5] = [
    (Layout::List, &["list.csv"], "pictures/train-0-0.jpg"),
    (
        Layout::Cub200,
        &[
            "images.txt",
            "image_class_labels.txt",
            "train_test_split.txt",
        ],
        "images/001.Made_Bird/Made_Bird_0001_101.jpg",
    ),
    (
        Layout::StanfordDogs,
        &["train_list.mat", "test_list.mat"],
        "Images/n02085620-Made_dog/n02085620_0.jpg",
    ),
    (
        Layout::StanfordCars,
        &[
            "devkit/cars_train_annos.mat",
            "cars_test_annos_withlabels.mat",
        ],
        "cars_train/00001.jpg",
    ),
    (
        Layout::FgvcAircraft,
        &[
            "data/variants.txt",
            "data/images_variant_train.txt",
            "data/images_variant_val.txt",
            "data/images_variant_test.txt",
        ],
        "data/images/1000001.jpg",
    ),
];

#[test]
fn missing_list_is_named() -> anyhow::Result<()> {
    for (layout, lists, _) in LISTS {
        for list in lists {
            let root = made(layout, PLAN)?;
            fs::remove_file(root.path().join("made").join(list))?;
            assert_matches!(fault(root.path(), layout, list)?, DataError::Layout { .. });
        }
    }
    Ok(())
}

#[test]
fn image_that_a_list_names_and_that_is_not_there_is_named_with_its_place() -> anyhow::Result<()> {
    for (layout, _, image) in LISTS {
        let root = made(layout, PLAN)?;
        fs::remove_file(root.path().join("made").join(image))?;
        let error = fault(root.path(), layout, image)?;
        assert!(
            error.to_string().contains("names it, but it is not there"),
            "{error}"
        );
        assert_matches!(error, DataError::Layout { .. });
    }
    Ok(())
}

#[test]
fn manifest_covers_images_and_lists() -> anyhow::Result<()> {
    for (layout, lists, image) in LISTS {
        for file in lists.iter().chain([&image]) {
            let root = made(layout, PLAN)?;
            let dataset = dataset(root.path(), layout, PLAN)?;
            let path = root.path().join("made").join(file);
            let mut bytes = fs::read(&path)?;
            // Both text and MAT files are the same with it.
            match bytes.get(..6) {
                Some(b"MATLAB") => bytes[100] = b'x',
                _ => bytes.push(b'\n'),
            }
            fs::write(&path, bytes)?;
            let result = sources(root.path()).test(&dataset, &settings(4, 0, 0), 0);
            assert_matches!(bad_input(result, "made"), DataError::DigestMismatch { .. });
        }
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn links_out_of_the_root_are_refused_in_every_layout() -> anyhow::Result<()> {
    use std::os::unix::fs::symlink;
    for (layout, lists, image) in LISTS {
        let outside = made(layout, PLAN)?;
        let folder = Path::new(image)
            .parent()
            .and_then(Path::to_str)
            .unwrap_or_default();
        for link in [lists[0], image, folder] {
            let root = made(layout, PLAN)?;
            let path = root.path().join("made").join(link);
            if path.is_dir() {
                fs::remove_dir_all(&path)?;
            } else {
                fs::remove_file(&path)?;
            }
            symlink(outside.path().join("made").join(link), &path)?;
            assert_matches!(
                fault(root.path(), layout, link)?,
                DataError::OutsideRoot { .. }
            );
        }
    }
    Ok(())
}

#[test]
fn test_annotations_of_cars_are_found_in_the_devkit_as_well() -> anyhow::Result<()> {
    let root = made(Layout::StanfordCars, PLAN)?;
    let made = root.path().join("made");
    fs::rename(
        made.join("cars_test_annos_withlabels.mat"),
        made.join("devkit/cars_test_annos_withlabels.mat"),
    )?;
    assert!(dataset(root.path(), Layout::StanfordCars, PLAN).is_ok());
    Ok(())
}

#[test]
fn original_is_pinned_before_the_source_where_it_is_there() -> anyhow::Result<()> {
    let root = made(Layout::Cub200, PLAN)?;
    fs::rename(root.path().join("made"), root.path().join("CUB_200_2011"))?;
    let mut cub200 = Catalog::built_in()?.datasets["cub200"].clone();
    cub200.classes = PLAN.classes;
    cub200.counts = PLAN.counts(Layout::Cub200);
    let sources = sources(root.path());
    let dataset = pinned_entry(&sources, cub200.clone())?;
    assert_matches!(
        &dataset.source,
        Source::Folder {
            layout: Layout::Cub200,
            manifest: Some(_),
            ..
        }
    );
    assert_eq!(
        sources.training(&dataset, &settings(4, 0, 0))?.train.len(),
        20
    );
    // Without it the mirror is looked at.
    fs::remove_dir_all(root.path().join("CUB_200_2011"))?;
    let Err(error) = pinned_entry(&sources, cub200) else {
        anyhow::bail!("pinned")
    };
    let repository = "bentrevett/caltech-ucsd-birds-200-2011";
    assert_matches!(
        bad_input::<()>(Err(error.downcast()?), repository),
        DataError::NotFound { .. }
    );
    Ok(())
}

#[test]
fn colours_tell_pictures_apart() {
    assert_eq!(colour(3, 2, 1), [30, 160, 12]);
}
