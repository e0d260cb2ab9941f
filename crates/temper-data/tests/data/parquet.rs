//! The hub's parquet layout, made by hand.

use std::{fs, path::Path, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, Float64Array, Int64Array, LargeBinaryArray, RecordBatch,
    StringArray, StructArray, UInt8Array,
};
use arrow_schema::{DataType, Field};
use image::{DynamicImage, ImageFormat};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use temper_core::catalog::{PinnedDataset, Source};
use temper_data::{DataError, Sources};
use tempfile::TempDir;

use crate::support::{assert_matches, bad_input, encoded, pinned, plain, settings, unpinned};

const REPOSITORY: &str = "datasets/owner/made/data";

/// The image column `struct{bytes, path}`.
fn images(bytes: ArrayRef) -> ArrayRef {
    let paths: ArrayRef = Arc::new(StringArray::from_iter(vec![None::<&str>; bytes.len()]));
    let kind = bytes.data_type().clone();
    Arc::new(StructArray::from(vec![
        (Arc::new(Field::new("bytes", kind, true)), bytes),
        (Arc::new(Field::new("path", DataType::Utf8, true)), paths),
    ]))
}

fn write_shard(path: &Path, image: ArrayRef, label: ArrayRef) -> anyhow::Result<()> {
    let names: ArrayRef = Arc::new(StringArray::from(vec!["another column"; label.len()]));
    let columns = [("name", names), ("image", image), ("label", label)];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true)))?;
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    // Several row groups a shard, as larger datasets have them.
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(4))
        .build();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(path)?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// Row `i` has the colour `(10 i, 20 i, 0)`, the label `i % 2`, and every third is a JPEG.
fn rows(range: std::ops::Range<u8>) -> anyhow::Result<Vec<Option<Vec<u8>>>> {
    let format = |i| {
        if i % 3 == 0 {
            ImageFormat::Jpeg
        } else {
            ImageFormat::Png
        }
    };
    range
        .map(|i| encoded(&plain([10 * i, 20 * i, 0]), format(i)).map(Some))
        .collect()
}

fn labels(range: std::ops::Range<u8>) -> ArrayRef {
    Arc::new(
        range
            .map(|i| Some(i64::from(i % 2)))
            .collect::<Int64Array>(),
    )
}

fn binary(rows: &[Option<Vec<u8>>]) -> ArrayRef {
    images(Arc::new(
        rows.iter().map(Option::as_deref).collect::<BinaryArray>(),
    ))
}

fn dataset(folder: &TempDir, classes: u32) -> anyhow::Result<(Sources, PinnedDataset)> {
    let sources = Sources::new(vec![folder.path().to_owned()], vec![]);
    let source = Source::Parquet {
        repository: "owner/made".to_owned(),
        revision: None,
        train: vec![
            unpinned("data/train-0.parquet"),
            unpinned("data/train-1.parquet"),
        ],
        validation: vec![],
        test: vec![unpinned("data/test-0.parquet")],
        image_column: "image".to_owned(),
        label_column: "label".to_owned(),
    };
    let dataset = pinned(&sources, classes, source)?;
    Ok((sources, dataset))
}

/// Two training shards, one of them with large binaries, and a test shard with 8-bit labels.
fn made() -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(REPOSITORY).join(name);
    write_shard(&at("train-0.parquet"), binary(&rows(0..7)?), labels(0..7))?;
    let large: LargeBinaryArray = rows(7..12)?.iter().map(Option::as_deref).collect();
    write_shard(
        &at("train-1.parquet"),
        images(Arc::new(large)),
        labels(7..12),
    )?;
    let bytes: ArrayRef = Arc::new(UInt8Array::from(vec![1, 0, 1]));
    write_shard(&at("test-0.parquet"), binary(&rows(0..3)?), bytes)?;
    Ok(folder)
}

/// The row that a picture was made for, by its red; JPEG may be off by a little.
fn row_of(image: &[u8]) -> i64 {
    i64::from((image[0] + 5) / 10)
}

#[test]
fn all_rows_of_all_shards_are_read_in_order() -> anyhow::Result<()> {
    let folder = made()?;
    let (sources, dataset) = dataset(&folder, 2)?;
    let train = sources.training(&dataset, &settings(6, 0, 0))?.train;
    assert_eq!(train.labels, (0..12).map(|i| i % 2).collect::<Vec<i64>>());
    let rows: Vec<i64> = (0..12).map(|i| row_of(train.image(i))).collect();
    assert_eq!(rows, (0..12).collect::<Vec<i64>>());
    let green = train.image(4)[6 * 6];
    assert_eq!(
        (green, train.image(4)[2 * 6 * 6]),
        (80, 0),
        "planes are red, green, blue"
    );
    assert_eq!(
        sources.test(&dataset, &settings(6, 0, 0), 0)?.labels,
        [1, 0, 1]
    );
    Ok(())
}

#[test]
fn drawn_rows_have_their_own_labels() -> anyhow::Result<()> {
    let folder = made()?;
    let (sources, dataset) = dataset(&folder, 2)?;
    for split_seed in 0..20 {
        let data = temper_core::spec::DataSettings {
            split_seed,
            ..settings(6, 4, 4)
        };
        let splits = sources.training(&dataset, &data)?;
        let mut rows = Vec::new();
        for set in [&splits.train, &splits.validation] {
            assert_eq!(set.labels.iter().sum::<i64>(), 2, "stratified");
            for (i, label) in set.labels.iter().enumerate() {
                let row = row_of(set.image(i));
                assert_eq!(row % 2, *label, "row {row}");
                rows.push(row);
            }
        }
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), 8, "disjoint");
    }
    Ok(())
}

#[test]
fn unreadable_image_is_named_by_shard_and_row() -> anyhow::Result<()> {
    let whole = rows(0..7)?;
    let cut = whole[3]
        .as_ref()
        .map(|jpeg| jpeg[..jpeg.len() / 2].to_vec());
    for damaged in [Some(b"no image".to_vec()), Some(Vec::new()), cut, None] {
        let folder = made()?;
        let path = folder.path().join(REPOSITORY).join("train-0.parquet");
        let mut rows = whole.clone();
        rows[3] = damaged;
        write_shard(&path, binary(&rows), labels(0..7))?;
        let (sources, dataset) = dataset(&folder, 2)?;
        let error = bad_input(
            sources.training(&dataset, &settings(6, 0, 0)),
            "train-0.parquet",
        );
        assert!(error.to_string().starts_with("row 3 of"), "{error}");
        assert_matches!(error, DataError::Image { .. });
    }
    Ok(())
}

#[test]
fn images_that_are_not_drawn_are_not_decoded() -> anyhow::Result<()> {
    let folder = made()?;
    let path = folder.path().join(REPOSITORY).join("train-0.parquet");
    let mut rows = rows(0..7)?;
    rows[3] = Some(b"no image".to_vec());
    write_shard(&path, binary(&rows), labels(0..7))?;
    let (sources, dataset) = dataset(&folder, 2)?;
    let succeeds = |split_seed| {
        let data = temper_core::spec::DataSettings {
            split_seed,
            ..settings(6, 2, 0)
        };
        sources.training(&dataset, &data).is_ok()
    };
    assert!((0..20).any(succeeds) && !(0..50).all(succeeds));
    Ok(())
}

#[test]
fn labels_outside_the_classes_are_named_by_shard_and_row() -> anyhow::Result<()> {
    let folder = made()?;
    let path = folder.path().join(REPOSITORY).join("train-1.parquet");
    for wrong in [2, -1, i64::MAX, i64::MIN] {
        let labels: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, wrong, 0, 1]));
        write_shard(&path, binary(&rows(7..12)?), labels)?;
        let (sources, dataset) = dataset(&folder, 2)?;
        let error = bad_input(
            sources.training(&dataset, &settings(6, 1, 0)),
            "train-1.parquet",
        );
        assert!(error.to_string().starts_with("row 2 of"), "{error}");
        assert_matches!(error, DataError::Label { label, .. } if label == i128::from(wrong));
    }
    Ok(())
}

#[test]
fn columns_that_do_not_fit_are_named() -> anyhow::Result<()> {
    let fractions: ArrayRef = Arc::new(Float64Array::from(vec![0.5; 7]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["cat"; 7]));
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None; 7]));
    let integers = images(labels(0..7));
    let fine = binary(&rows(0..7)?);
    for (image, label, reason) in [
        (
            fine.clone(),
            fractions,
            "`label` holds Float64, not integers",
        ),
        (fine, nulls, "row 0 has no `label`"),
        (
            texts,
            labels(0..7),
            "`image` holds Utf8, not images as bytes",
        ),
        (integers, labels(0..7), "not images as bytes"),
    ] {
        let folder = made()?;
        write_shard(
            &folder.path().join(REPOSITORY).join("train-0.parquet"),
            image,
            label,
        )?;
        let (sources, dataset) = dataset(&folder, 2)?;
        let error = bad_input(
            sources.training(&dataset, &settings(6, 0, 0)),
            "train-0.parquet",
        );
        assert!(error.to_string().contains(reason), "{reason}: {error}");
        assert_matches!(error, DataError::Layout { .. });
    }
    Ok(())
}

#[test]
fn damaged_shard_is_an_error_wherever_the_damage_is() -> anyhow::Result<()> {
    let folder = made()?;
    let path = folder.path().join(REPOSITORY).join("train-0.parquet");
    let whole = fs::read(&path)?;
    for end in (0..whole.len()).step_by(97) {
        fs::write(&path, &whole[..end])?;
        let (sources, dataset) = dataset(&folder, 2)?;
        let error = bad_input(
            sources.training(&dataset, &settings(6, 0, 0)),
            "train-0.parquet",
        );
        assert_matches!(error, DataError::Damaged { .. });
    }
    Ok(())
}

#[test]
fn damaged_metadata_never_does_worse_than_an_error() -> anyhow::Result<()> {
    let folder = made()?;
    let path = folder.path().join(REPOSITORY).join("train-0.parquet");
    let whole = fs::read(&path)?;
    let footer = whole.len() - 8;
    let length = u32::from_le_bytes(whole[footer..footer + 4].try_into()?);
    let mut failures = 0;
    for position in footer - usize::try_from(length)?..footer {
        let mut bytes = whole.clone();
        // The lowest bit of an integer is its sign there; the parquet crate panics on some.
        bytes[position] ^= 1;
        fs::write(&path, &bytes)?;
        let (sources, dataset) = dataset(&folder, 2)?;
        if let Err(error) = sources.training(&dataset, &settings(6, 1, 0)) {
            bad_input::<()>(Err(error), "train-0.parquet");
            failures += 1;
        }
    }
    assert!(failures > 0);
    Ok(())
}

#[test]
fn missing_shard_is_named() -> anyhow::Result<()> {
    let folder = made()?;
    let (sources, dataset) = dataset(&folder, 2)?;
    fs::remove_file(folder.path().join(REPOSITORY).join("train-1.parquet"))?;
    let error = bad_input(
        sources.training(&dataset, &settings(6, 0, 0)),
        "train-1.parquet",
    );
    assert_matches!(error, DataError::NotFound { .. });
    // The test split does not need it.
    assert!(sources.test(&dataset, &settings(6, 0, 0), 0).is_ok());
    Ok(())
}

#[test]
fn grey_and_alpha_images_become_rgb() -> anyhow::Result<()> {
    let folder = made()?;
    let grey = DynamicImage::from(image::GrayImage::from_pixel(9, 5, image::Luma([77])));
    let alpha = DynamicImage::from(image::RgbaImage::from_pixel(
        3,
        8,
        image::Rgba([10, 20, 30, 0]),
    ));
    let rows = [&grey, &alpha].map(|image| encoded(image, ImageFormat::Png).ok());
    write_shard(
        &folder.path().join(REPOSITORY).join("test-0.parquet"),
        binary(&rows),
        labels(0..2),
    )?;
    let (sources, dataset) = dataset(&folder, 2)?;
    let set = sources.test(&dataset, &settings(4, 0, 0), 0)?;
    assert_eq!(set.image(0), [77; 48]);
    assert_eq!(set.image(1), [[10; 16], [20; 16], [30; 16]].concat());
    Ok(())
}
