//! The check of a whole dataset.

use std::{fs, sync::Arc};

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use image::ImageFormat;
use parquet::arrow::ArrowWriter;
use temper_core::catalog::{DatasetEntry, Layout, Source};
use temper_data::{
    Place, Sources, Spread,
    testing::{Plan, write_layout},
};

use crate::support::{encoded, entry, pinned_entry, plain, unpinned, write};

const PLAN: Plan = Plan {
    classes: 3,
    train: 4,
    validation: 0,
    test: 2,
    side: 12,
};

#[test]
fn check_reports_every_unreadable_image_and_what_the_rest_is_like() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let made = root.path().join("made");
    write_layout(&made, Layout::List, PLAN)?;
    let cut = made.join("pictures/train-1-0.jpg");
    let bytes = fs::read(&cut)?;
    fs::write(&cut, &bytes[..bytes.len() / 2])?;
    write(&made.join("pictures/train-2-3.jpg"), b"no image")?;
    // All test images of class 0 become others'.
    let list = fs::read_to_string(made.join("list.csv"))?;
    let list = list.replace("test-0-0.jpg,0", "test-0-0.jpg,1");
    fs::write(
        made.join("list.csv"),
        list.replace("test-0-1.jpg,0", "test-0-1.jpg,2"),
    )?;
    let source = Source::Folder {
        path: "made".to_owned(),
        layout: Layout::List,
        list: Some("list.csv".to_owned()),
        manifest: None,
    };
    let sources = Sources::new(vec![], vec![root.path().to_owned()]);
    let mut counts = PLAN.counts(Layout::List);
    counts.test = Some(7);
    let entry = DatasetEntry {
        counts,
        ..entry(3, source)
    };
    let dataset = pinned_entry(&sources, entry)?;
    let mut seen = Vec::new();
    let report = sources.check(&dataset, &mut |progress| {
        seen.push((progress.split, progress.done));
    })?;
    assert_eq!(seen.len(), 18);
    assert_eq!((seen[11], seen[17]), (("train", 12), ("test", 6)));

    assert!(!report.is_sound());
    let [train, test] = report.splits.as_slice() else {
        anyhow::bail!("{report:?}")
    };
    let places: Vec<&Place> = train.unreadable.iter().map(|image| &image.place).collect();
    let second = made.join("pictures/train-2-3.jpg");
    assert_eq!(places, [&Place::File(cut), &Place::File(second)]);
    assert!(
        train
            .unreadable
            .iter()
            .all(|image| !image.reason.is_empty())
    );
    assert_eq!((train.expected, train.images), (Some(12), 12));
    let all = |value| Spread {
        min: value,
        median: value,
        max: value,
    };
    assert_eq!((train.width, train.height), (Some(all(16)), Some(all(12))));
    assert_eq!(train.balance.images, all(4));

    assert!(test.unreadable.is_empty() && !test.is_sound());
    assert_eq!((test.expected, test.images), (Some(7), 6));
    assert_eq!(test.balance.empty, [0]);
    assert_eq!(
        test.balance.images,
        Spread {
            min: 0,
            median: 3,
            max: 3
        }
    );
    // Reds 0, 10, 20, two each; all greens 160.
    let near = |a: f64, b: f64| (a - b / 255.0).abs() < 2.0 / 255.0;
    assert!(
        near(test.mean[0], 10.0) && near(test.mean[1], 160.0),
        "{:?}",
        test.mean
    );
    assert!(
        near(test.std[0], 8.165) && near(test.std[1], 0.0),
        "{:?}",
        test.std
    );
    Ok(())
}

#[test]
fn a_sound_pool_is_reported_as_one() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    write_layout(&root.path().join("made"), Layout::Caltech256, PLAN)?;
    let source = Source::Folder {
        path: "made".to_owned(),
        layout: Layout::Caltech256,
        list: None,
        manifest: None,
    };
    let mut entry = DatasetEntry {
        counts: PLAN.counts(Layout::Caltech256),
        ..entry(3, source)
    };
    entry.draw.test = Some(6);
    let sources = Sources::new(vec![], vec![root.path().to_owned()]);
    let report = sources.check(&pinned_entry(&sources, entry)?, &mut |_| ())?;
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.splits.len(), 1);
    assert_eq!(
        (report.splits[0].split, report.splits[0].images),
        ("all", 18)
    );
    Ok(())
}

#[test]
fn rows_without_bytes_are_reported_and_the_rows_after_them_are_read() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let picture = encoded(&plain([51, 102, 204]), ImageFormat::Png)?;
    let bytes =
        [false, true, true, false, false, true, false].map(|there| there.then_some(&picture));
    let images: ArrayRef = Arc::new(bytes.into_iter().collect::<BinaryArray>());
    let labels: ArrayRef = Arc::new(Int64Array::from(vec![0; 7]));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("image", images, true),
        ("label", labels, true),
    ])?;
    let path = root.path().join("datasets/owner/made/train.parquet");
    write(&path, b"")?;
    let mut writer = ArrowWriter::try_new(fs::File::create(&path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    let source = Source::Parquet {
        repository: "owner/made".to_owned(),
        revision: None,
        train: vec![unpinned("train.parquet")],
        validation: vec![],
        test: vec![],
        image_column: "image".to_owned(),
        label_column: "label".to_owned(),
    };
    let sources = Sources::new(vec![root.path().to_owned()], vec![]);
    let report = sources.check(&pinned_entry(&sources, entry(1, source))?, &mut |_| ())?;
    let train = &report.splits[0];
    let places: Vec<&Place> = train.unreadable.iter().map(|image| &image.place).collect();
    let rows = [0, 3, 4, 6].map(|row| Place::Row(path.clone(), row));
    assert_eq!(places, rows.iter().collect::<Vec<_>>());
    assert_eq!(train.width.map(|width| width.median), Some(20));
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(train.mean[0], 0.2) && near(train.mean[1], 0.4) && near(train.mean[2], 0.8));
    Ok(())
}
