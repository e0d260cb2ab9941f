//! Datasets without official splits.

use temper_core::{
    catalog::{Counts, DatasetEntry, Draw, Layout, PinnedDataset, Source},
    spec::DataSettings,
};
use temper_data::{
    DataError, ImageSet, Sources,
    testing::{LabelColumn, Plan, write_layout, write_parquet},
};
use tempfile::TempDir;

use crate::support::{assert_matches, bad_input, entry, pinned_entry, settings, unpinned, write};

const PLAN: Plan = Plan {
    classes: 4,
    train: 6,
    validation: 1,
    test: 3,
    side: 12,
};

/// 40 images in both forms, of which 12 are to be the test split.
fn pools() -> anyhow::Result<(TempDir, Sources, [PinnedDataset; 2])> {
    let root = tempfile::tempdir()?;
    write_layout(
        &root.path().join("256_ObjectCategories"),
        Layout::Caltech256,
        PLAN,
    )?;
    write_parquet(
        &root.path().join("datasets/owner/made"),
        PLAN,
        LabelColumn::Numbers,
    )?;
    let sources = Sources::new(vec![root.path().to_owned()], vec![root.path().to_owned()]);
    let folder = Source::Folder {
        path: "256_ObjectCategories".to_owned(),
        layout: Layout::Caltech256,
        list: None,
        manifest: None,
    };
    let shards = Source::Parquet {
        repository: "owner/made".to_owned(),
        revision: None,
        train: vec![unpinned("data/train-*.parquet")],
        validation: vec![unpinned("data/validation-*.parquet")],
        test: vec![unpinned("data/test-*.parquet")],
        image_column: "image".to_owned(),
        label_column: "label".to_owned(),
    };
    let pin = |source| {
        let entry = DatasetEntry {
            counts: PLAN.counts(Layout::Caltech256),
            draw: Draw {
                test: Some(12),
                ..Draw::default()
            },
            ..entry(PLAN.classes, source)
        };
        pinned_entry(&sources, entry)
    };
    let datasets = [pin(folder)?, pin(shards)?];
    Ok((root, sources, datasets))
}

/// What tells each picture from all others: class, split and number, as near as JPEG keeps them.
fn pictures(set: &ImageSet) -> Vec<(u8, u8, u8)> {
    let plane = (set.size * set.size) as usize;
    let of = |image: &[u8]| {
        let level = |value: u8, step: u8| (value + step / 2) / step;
        (
            level(image[0], 10),
            level(image[plane], 80),
            level(image[2 * plane], 12),
        )
    };
    set.images().map(of).collect()
}

fn per_class(set: &ImageSet) -> Vec<usize> {
    let count = |class| set.labels.iter().filter(|label| **label == class).count();
    (0..4).map(count).collect()
}

#[test]
fn pool_is_split_stratified_and_no_image_is_in_both_parts() -> anyhow::Result<()> {
    let (_root, sources, datasets) = pools()?;
    for dataset in datasets {
        let train = sources.training(&dataset, &settings(4, 0, 0))?.train;
        let test = sources.test(&dataset, &settings(4, 0, 0), 0)?;
        assert_eq!(per_class(&train), [7; 4]);
        assert_eq!(per_class(&test), [3; 4]);
        let mut all = [pictures(&train), pictures(&test)].concat();
        for (set, name) in [(&train, "train"), (&test, "test")] {
            let classes = pictures(set)
                .into_iter()
                .map(|(class, ..)| i64::from(class));
            assert!(
                classes.eq(set.labels.iter().copied()),
                "{name}: labels are the images' own"
            );
            let splits = pictures(set).into_iter().map(|(_, split, _)| split);
            assert!(
                splits.max() > splits_min(set),
                "{name}: it was drawn from all splits"
            );
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 40);
    }
    Ok(())
}

fn splits_min(set: &ImageSet) -> Option<u8> {
    pictures(set).into_iter().map(|(_, split, _)| split).min()
}

#[test]
fn pool_is_split_the_same_for_every_seed() -> anyhow::Result<()> {
    let (_root, sources, datasets) = pools()?;
    for dataset in datasets {
        let of = |split_seed| -> anyhow::Result<_> {
            let data = DataSettings {
                split_seed,
                ..settings(4, 0, 8)
            };
            let splits = sources.training(&dataset, &data)?;
            let validation = pictures(&splits.validation);
            let mut train = [pictures(&splits.train), validation.clone()].concat();
            train.sort_unstable();
            Ok((
                pictures(&sources.test(&dataset, &data, 0)?.as_ref().clone()),
                train,
                validation,
            ))
        };
        let (first, second) = (of(1)?, of(2)?);
        assert_eq!(first.0, second.0);
        assert_eq!(first.1, second.1);
        assert_ne!(first.2, second.2, "the seed draws within the parts");
    }
    Ok(())
}

#[test]
fn pool_is_counted_in_all() -> anyhow::Result<()> {
    let (_root, sources, datasets) = pools()?;
    for mut dataset in datasets {
        dataset.counts.all = Some(41);
        let error = bad_input(sources.training(&dataset, &settings(4, 0, 0)), "41");
        assert_matches!(
            error,
            DataError::Count {
                split: "all",
                expected: 41,
                found: 40,
                ..
            }
        );
        dataset.counts.all = Some(40);
        dataset.draw.test = Some(41);
        let error = bad_input(sources.test(&dataset, &settings(4, 0, 0), 0), "made");
        assert_matches!(
            error,
            DataError::TooFewSamples {
                split: "all",
                available: 40,
                ..
            }
        );
    }
    Ok(())
}

#[test]
fn layout_without_splits_is_refused_unless_the_entry_says_how_to_split_it() -> anyhow::Result<()> {
    let (_root, sources, [mut folder, _]) = pools()?;
    folder.counts = Counts::default();
    bad_input(
        sources.training(&folder, &settings(4, 0, 0)),
        "`counts.all` and `draw.test`",
    );
    Ok(())
}

#[test]
fn class_folders_of_caltech_must_be_numbered() -> anyhow::Result<()> {
    for (name, reason) in [
        ("clutter", "not <number>.<class>"),
        ("009.more", "has the label 8"),
        ("2.again", "the same number as"),
    ] {
        let (root, sources, [folder, _]) = pools()?;
        write(
            &root
                .path()
                .join("256_ObjectCategories")
                .join(name)
                .join("a.jpg"),
            b"",
        )?;
        bad_input(sources.training(&folder, &settings(4, 0, 0)), reason);
    }
    Ok(())
}
