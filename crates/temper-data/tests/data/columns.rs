//! The forms that columns and shards have on the hub.

use std::{fs, path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, BinaryArray, DictionaryArray, LargeStringArray, RecordBatch, StringArray,
    types::Int32Type,
};
use image::ImageFormat;
use parquet::arrow::ArrowWriter;
use temper_core::{
    catalog::File,
    catalog::{Counts, DatasetEntry, PinnedDataset, Source},
};
use temper_data::{
    DataError, Sources,
    testing::{LabelColumn, Plan, write_parquet},
};

use crate::support::{
    assert_matches, bad_input, encoded, entry, pinned_entry, plain, settings, unpinned,
};

const PLAN: Plan = Plan {
    classes: 3,
    train: 4,
    validation: 2,
    test: 1,
    side: 12,
};

fn sources(root: &Path) -> Sources {
    Sources::new(vec![root.join("empty"), root.to_owned()], vec![])
}

fn described(validation: bool) -> DatasetEntry {
    let shards = |name: &str| vec![unpinned(&format!("data/{name}-*.parquet"))];
    let source = Source::Parquet {
        repository: "owner/made".to_owned(),
        revision: None,
        train: shards("train"),
        validation: if validation {
            shards("validation")
        } else {
            vec![]
        },
        test: shards("test"),
        image_column: "image".to_owned(),
        label_column: "label".to_owned(),
    };
    entry(PLAN.classes, source)
}

fn write_shard(path: &Path, image: ArrayRef, label: ArrayRef) -> anyhow::Result<()> {
    let batch = RecordBatch::try_from_iter([("image", image), ("label", label)])?;
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let mut writer = ArrowWriter::try_new(fs::File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// A bare binary column of pictures, the n-th of red 10 n.
fn pictures(count: u8) -> anyhow::Result<Vec<Vec<u8>>> {
    (0..count)
        .map(|i| encoded(&plain([10 * i, 0, 0]), ImageFormat::Png))
        .collect()
}

/// A training and a test shard of these labels, and the entry pinned to them.
fn labelled(root: &Path, train: ArrayRef, test: ArrayRef) -> anyhow::Result<PinnedDataset> {
    let data = root.join("datasets/owner/made/data");
    for (name, labels) in [("train", train), ("test", test)] {
        let pictures = pictures(u8::try_from(labels.len())?)?;
        let images: ArrayRef = Arc::new(pictures.iter().map(Some).collect::<BinaryArray>());
        write_shard(&data.join(format!("{name}-0.parquet")), images, labels)?;
    }
    pinned_entry(&sources(root), described(false))
}

fn names(names: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(names.to_vec()))
}

#[test]
fn patterns_become_the_files_that_fit_in_byte_order() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let repository = root.path().join("datasets/owner/made");
    write_parquet(&repository, PLAN, LabelColumn::Numbers)?;
    fs::write(repository.join("data/train-readme.txt"), "no shard")?;
    fs::create_dir_all(root.path().join("empty"))?;
    let mut entry = described(true);
    let Source::Parquet { revision, .. } = &mut entry.source else {
        anyhow::bail!("not parquet")
    };
    *revision = Some("0123456789abcdef0123456789abcdef01234567".to_owned());
    let dataset = pinned_entry(&sources(root.path()), entry.clone())?;
    let paths: Vec<&str> = dataset
        .source
        .files()
        .map(|file| file.path.as_str())
        .collect();
    let expected = [
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/validation-00000-of-00001.parquet",
        "data/test-00000-of-00001.parquet",
    ];
    assert_eq!(paths, expected);
    assert!(dataset.source.files().all(|file| file.sha256.is_some()));
    assert_eq!(dataset.source.commit(), entry.source.commit());
    fs::remove_file(repository.join(expected[3]))?;
    let Err(error) = pinned_entry(&sources(root.path()), entry) else {
        anyhow::bail!("pinned")
    };
    let error = bad_input::<()>(Err(error.downcast()?), "data/test-*.parquet");
    assert_matches!(error, DataError::NotFound { .. });
    Ok(())
}

#[test]
fn entry_with_a_commit_needs_no_files_here() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let mut entry = described(false);
    let commit = "0123456789abcdef0123456789abcdef01234567".parse()?;
    entry.source.set_commit(&commit);
    for file in entry.source.files_mut() {
        let path = file.path.replace('*', "0");
        *file = File { path, sha256: None };
    }
    let catalog = temper_core::catalog::Catalog {
        datasets: [("made".to_owned(), entry)].into(),
        ..Default::default()
    };
    let (pinned, failures) = sources(root.path()).pin(&catalog);
    assert!(
        failures.is_empty() && pinned.datasets.is_empty(),
        "{failures:?}"
    );
    Ok(())
}

#[test]
fn validation_shards_are_the_validation_split() -> anyhow::Result<()> {
    for labels in [LabelColumn::Numbers, LabelColumn::Names] {
        let root = tempfile::tempdir()?;
        write_parquet(&root.path().join("datasets/owner/made"), PLAN, labels)?;
        let (sources, entry) = (sources(root.path()), described(true));
        let mut dataset = pinned_entry(&sources, entry)?;
        let splits = sources.training(&dataset, &settings(4, 0, 6))?;
        assert_eq!(splits.train.labels, [[0; 4], [1; 4], [2; 4]].concat());
        assert_eq!(splits.validation.labels, [0, 0, 1, 1, 2, 2]);
        assert!(
            splits
                .validation
                .images()
                .all(|image| (image[16] + 40) / 80 == 1)
        );
        dataset.counts = Counts {
            validation: Some(5),
            ..Counts::default()
        };
        let error = bad_input(
            self::sources(root.path()).training(&dataset, &settings(4, 0, 1)),
            "made",
        );
        assert_matches!(
            error,
            DataError::Count {
                split: "validation",
                expected: 5,
                found: 6,
                ..
            }
        );
    }
    Ok(())
}

#[test]
fn class_names_are_numbered_over_all_splits_in_byte_order() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    // `Zebra` sorts first; the training split lacks `ant`.
    let dataset = labelled(
        root.path(),
        names(&["cat", "Zebra", "cat"]),
        names(&["ant", "cat"]),
    )?;
    let sources = sources(root.path());
    assert_eq!(
        sources.training(&dataset, &settings(4, 0, 0))?.train.labels,
        [2, 0, 2]
    );
    let test = sources.test(&dataset, &settings(4, 0, 0), 0)?;
    assert_eq!(
        (test.labels.as_slice(), test.image(1)[0]),
        ([1, 2].as_slice(), 10)
    );
    Ok(())
}

#[test]
fn names_that_are_not_as_many_as_the_classes_are_refused() -> anyhow::Result<()> {
    for test in [["cat", "Zebra"], ["ant", "dog"]] {
        let root = tempfile::tempdir()?;
        let dataset = labelled(root.path(), names(&["cat", "Zebra", "cat"]), names(&test))?;
        let result = sources(root.path()).test(&dataset, &settings(4, 0, 0), 0);
        let error = bad_input(result, "different names in all splits, not 3");
        assert_matches!(error, DataError::Layout { .. });
    }
    Ok(())
}

#[test]
fn dictionaries_and_large_columns_read_as_plain_ones() -> anyhow::Result<()> {
    let words = ["b", "a", "c", "a"];
    let dictionary: DictionaryArray<Int32Type> = words.into_iter().collect();
    let large = LargeStringArray::from(words.to_vec());
    let columns: [ArrayRef; 2] = [Arc::new(dictionary), Arc::new(large)];
    for labels in columns {
        let root = tempfile::tempdir()?;
        let dataset = labelled(root.path(), labels, names(&["a"]))?;
        let train = sources(root.path())
            .training(&dataset, &settings(4, 0, 0))?
            .train;
        assert_eq!(train.labels, [1, 0, 2, 0]);
    }
    // Images as well.
    let root = tempfile::tempdir()?;
    let dataset = labelled(root.path(), names(&["a", "b", "c"]), names(&["a"]))?;
    let pictures = pictures(3)?;
    let images: DictionaryArray<Int32Type> = DictionaryArray::new(
        vec![2, 0, 1].into(),
        Arc::new(pictures.iter().map(Some).collect::<BinaryArray>()),
    );
    let path = root.path().join("datasets/owner/made/data/train-0.parquet");
    write_shard(&path, Arc::new(images), names(&["a", "b", "c"]))?;
    drop(dataset);
    let dataset = pinned_entry(&sources(root.path()), described(false))?;
    let train = sources(root.path())
        .training(&dataset, &settings(4, 0, 0))?
        .train;
    let reds: Vec<u8> = train.images().map(|image| image[0]).collect();
    assert_eq!(reds, [20, 0, 10]);
    Ok(())
}

#[test]
fn a_column_that_is_not_there_is_named_with_those_that_are() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let mut dataset = labelled(root.path(), names(&["a", "b", "c"]), names(&["a"]))?;
    let Source::Parquet { image_column, .. } = &mut dataset.source else {
        anyhow::bail!("not parquet")
    };
    *image_column = "img".to_owned();
    let result = sources(root.path()).training(&dataset, &settings(4, 0, 0));
    bad_input(
        result,
        "no column `img.bytes` or `img`, but `image`, `label`",
    );
    Ok(())
}
