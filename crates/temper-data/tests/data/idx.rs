//! IDX files as made by hand: small, and damaged in each way.

use std::path::Path;

use temper_core::catalog::{PinnedDataset, Source};
use temper_data::{DataError, Sources};
use tempfile::TempDir;

use crate::support::{assert_matches, bad_input, gzipped, pinned, settings, unpinned, write};

/// A repository of 2 x 3 pictures, of which each pixel is the picture's index.
struct Made {
    folder: TempDir,
    images: Vec<u8>,
    labels: Vec<u8>,
}

impl Made {
    fn new(labels: &[u8]) -> anyhow::Result<Self> {
        let count = u32::try_from(labels.len())?;
        let header = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let mut images: Vec<u8> = header(&[0x0803, count, 3, 2]);
        for index in 0..labels.len() {
            images.extend([u8::try_from(index)?; 6]);
        }
        let mut all_labels: Vec<u8> = header(&[0x0801, count]);
        all_labels.extend(labels);
        Ok(Self {
            folder: tempfile::tempdir()?,
            images,
            labels: all_labels,
        })
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn sources(&self) -> Sources {
        Sources::new(vec![self.root().to_owned()], vec![])
    }

    /// Writes the files as they are, and pins them, damaged or not.
    fn dataset(&self, images: &[u8], labels: &[u8], classes: u32) -> anyhow::Result<PinnedDataset> {
        let folder = self.root().join("datasets/o/made");
        write(&folder.join("images.gz"), images)?;
        write(&folder.join("labels.gz"), labels)?;
        let source = Source::Idx {
            repository: "o/made".to_owned(),
            revision: None,
            train_images: unpinned("images.gz"),
            train_labels: unpinned("labels.gz"),
            test_images: unpinned("images.gz"),
            test_labels: unpinned("labels.gz"),
        };
        pinned(
            &Sources::new(vec![self.root().to_owned()], vec![]),
            classes,
            source,
        )
    }
}

#[test]
fn images_keep_their_labels() -> anyhow::Result<()> {
    let made = Made::new(&[2, 0, 1, 1, 0, 2])?;
    let dataset = made.dataset(&gzipped(&made.images)?, &gzipped(&made.labels)?, 3)?;
    let splits = made.sources().training(&dataset, &settings(4, 3, 3))?;
    for set in [&splits.train, &splits.validation] {
        let mut sorted = set.labels.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2]);
        for (i, label) in set.labels.iter().enumerate() {
            let index = set.image(i)[0];
            assert!(
                set.image(i).iter().all(|value| *value == index),
                "a plain picture"
            );
            assert_eq!(*label, [2, 0, 1, 1, 0, 2][usize::from(index)]);
        }
        let indices: Vec<u8> = (0..3).map(|i| set.image(i)[0]).collect();
        assert!(indices.is_sorted(), "in their original order: {indices:?}");
    }
    Ok(())
}

#[test]
fn truncated_gzip_is_an_error_wherever_it_ends() -> anyhow::Result<()> {
    let made = Made::new(&[0, 1, 0, 1])?;
    let (images, labels) = (gzipped(&made.images)?, gzipped(&made.labels)?);
    for end in 0..images.len() {
        let dataset = made.dataset(&images[..end], &labels, 2)?;
        // Drawing one image would not need the rest of the file.
        let result = made.sources().training(&dataset, &settings(4, 1, 0));
        assert_matches!(bad_input(result, "images.gz"), DataError::Damaged { .. });
    }
    for end in 0..labels.len() {
        let dataset = made.dataset(&images, &labels[..end], 2)?;
        let result = made.sources().training(&dataset, &settings(4, 1, 0));
        assert_matches!(bad_input(result, "labels.gz"), DataError::Damaged { .. });
    }
    Ok(())
}

#[test]
fn damaged_files_are_named_with_the_damage() -> anyhow::Result<()> {
    let made = Made::new(&[0, 1, 0, 1])?;
    let (images, labels) = (gzipped(&made.images)?, gzipped(&made.labels)?);
    let mut giant = made.images.clone();
    giant[4..16].fill(0xFF);
    let mut flat = made.images.clone();
    flat[8..12].fill(0);
    let longer = [made.images.as_slice(), &[0]].concat();
    let shorter = &made.images[..made.images.len() - 1];
    let mut fewer = made.images[..made.images.len() - 6].to_vec();
    fewer[7] = 3;
    let mut flipped = images.clone();
    flipped[20] ^= 0x10;
    for (damage, images, reason) in [
        ("labels in place of images", labels.clone(), "0x00000801"),
        ("no gzip", made.images.clone(), "gzip"),
        (
            "a header that promises too much",
            gzipped(&giant)?,
            "promises",
        ),
        ("flat images", gzipped(&flat)?, "2 x 0 pixels"),
        ("a byte too many", gzipped(&longer)?, "goes on"),
        ("a byte too few", gzipped(shorter)?, "too early"),
        (
            "an image too few",
            gzipped(&fewer)?,
            "3 images for 4 labels",
        ),
        ("a flipped bit", flipped, ""),
    ] {
        let dataset = made.dataset(&images, &labels, 2)?;
        let result = made.sources().training(&dataset, &settings(4, 0, 0));
        let error = bad_input(result, "images.gz");
        assert!(error.to_string().contains(reason), "{damage}: {error}");
        assert_matches!(error, DataError::Damaged { .. });
    }
    Ok(())
}

#[test]
fn file_that_is_not_as_pinned_is_refused() -> anyhow::Result<()> {
    let made = Made::new(&[0, 1, 0, 1])?;
    let (images, labels) = (gzipped(&made.images)?, gzipped(&made.labels)?);
    let dataset = made.dataset(&images, &labels, 2)?;
    write(
        &made.root().join("datasets/o/made/images.gz"),
        &gzipped(&made.labels)?,
    )?;
    let error = bad_input(
        made.sources().training(&dataset, &settings(4, 0, 0)),
        "images.gz",
    );
    assert_matches!(error, DataError::DigestMismatch { .. });
    Ok(())
}

#[test]
fn label_that_is_no_class_is_named_with_its_place() -> anyhow::Result<()> {
    let made = Made::new(&[0, 1, 2, 1])?;
    let dataset = made.dataset(&gzipped(&made.images)?, &gzipped(&made.labels)?, 2)?;
    let error = bad_input(
        made.sources().test(&dataset, &settings(4, 0, 0), 1),
        "labels.gz",
    );
    assert!(error.to_string().starts_with("entry 2 of"), "{error}");
    assert_matches!(
        error,
        DataError::Label {
            label: 2,
            classes: 2,
            ..
        }
    );
    Ok(())
}

#[test]
fn draw_of_more_than_there_is_says_what_there_is() -> anyhow::Result<()> {
    let made = Made::new(&[0, 1, 0, 1, 0])?;
    let dataset = made.dataset(&gzipped(&made.images)?, &gzipped(&made.labels)?, 2)?;
    let sources = made.sources();
    let error = bad_input(sources.training(&dataset, &settings(4, 4, 2)), "`made`");
    assert!(
        error.to_string().contains("class 0: 2, class 1: 1"),
        "{error}"
    );
    assert_matches!(
        error,
        DataError::TooFewSamples {
            wanted: 4,
            available: 3,
            ..
        }
    );
    // All that are left are none.
    let error = bad_input(
        sources.training(&dataset, &settings(4, 0, 5)),
        "training images",
    );
    assert_matches!(error, DataError::TooFewSamples { available: 0, .. });
    let error = bad_input(sources.test(&dataset, &settings(4, 0, 0), 6), "`made`");
    assert_matches!(
        error,
        DataError::TooFewSamples {
            wanted: 6,
            available: 5,
            ..
        }
    );
    Ok(())
}

#[test]
fn images_that_no_memory_holds_are_refused() -> anyhow::Result<()> {
    let made = Made::new(&[0, 1])?;
    let dataset = made.dataset(&gzipped(&made.images)?, &gzipped(&made.labels)?, 2)?;
    let error = made
        .sources()
        .test(&dataset, &settings(u32::MAX, 0, 0), 0)
        .err();
    assert_matches!(&error, Some(DataError::TooLarge { .. }));
    let kind = error.map(|error| error.kind());
    assert_eq!(kind, Some(temper_core::ErrorKind::OutOfMemory));
    let result = made.sources().test(&dataset, &settings(0, 0, 0), 0);
    assert_matches!(bad_input(result, "image_size"), DataError::Settings(_));
    Ok(())
}
