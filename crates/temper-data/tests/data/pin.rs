//! Pinning a catalog to the files that are here.

use temper_core::{
    Digest,
    catalog::{
        Catalog, Counts, DatasetEntry, Draw, File, Layout, ModelEntry, Normalisation, Source,
    },
};
use temper_data::{DataError, Sources};

use crate::support::{assert_matches, bad_input, pin_file, unpinned, write};

fn model(sha256: Option<Digest>) -> ModelEntry {
    ModelEntry {
        architecture: "none".to_owned(),
        repository: "owner/made".to_owned(),
        revision: None,
        file: "model.safetensors".to_owned(),
        sha256,
        prefix: String::new(),
        normalisation: Normalisation {
            mean: [0.5; 3],
            std: [0.5; 3],
        },
        eval_transform: None,
        licence: "none".to_owned(),
        parameters: None,
        flops: None,
        scripted: None,
    }
}

fn shards(train: Vec<File>, test: Vec<File>) -> DatasetEntry {
    let source = Source::Parquet {
        repository: "owner/made".to_owned(),
        revision: None,
        train,
        validation: vec![],
        test,
        image_column: "image".to_owned(),
        label_column: "label".to_owned(),
    };
    DatasetEntry {
        classes: 2,
        licence: "none".to_owned(),
        research_only: false,
        note: None,
        counts: Counts::default(),
        draw: Draw::default(),
        original: None,
        source,
    }
}

#[test]
fn only_entries_that_lack_a_digest_are_pinned() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    write(
        &root.join("models/owner/made/model.safetensors"),
        b"weights",
    )?;
    write(&root.join("datasets/owner/made/a.parquet"), b"a")?;
    write(&root.join("datasets/owner/made/b.parquet"), b"b")?;
    let a = pin_file(&root.join("datasets/owner/made"), "a.parquet")?;
    let b = pin_file(&root.join("datasets/owner/made"), "b.parquet")?;
    let catalog = Catalog {
        models: [
            (
                "done".to_owned(),
                model(Some(Digest::of(b"of another file"))),
            ),
            ("new".to_owned(), model(None)),
        ]
        .into(),
        datasets: [
            ("done".to_owned(), shards(vec![a.clone()], vec![b.clone()])),
            (
                "half".to_owned(),
                shards(vec![a.clone()], vec![unpinned("b.parquet")]),
            ),
        ]
        .into(),
    };
    let (pinned, failures) = Sources::new(vec![root.to_owned()], vec![]).pin(&catalog);
    assert!(failures.is_empty(), "{failures:?}");
    let new = ("new".to_owned(), model(Some(Digest::of(b"weights"))));
    assert_eq!(pinned.models, [new].into());
    let half = ("half".to_owned(), shards(vec![a], vec![b]));
    assert_eq!(pinned.datasets, [half].into());
    Ok(())
}

#[test]
fn entries_whose_files_are_missing_or_changed_are_reported_by_name() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    write(&root.join("datasets/owner/made/a.parquet"), b"a")?;
    write(&root.join("datasets/owner/made/b.parquet"), b"b")?;
    let wrong = File {
        sha256: Some(Digest::of(b"other")),
        ..unpinned("a.parquet")
    };
    let folder_source = Source::Folder {
        path: "pets".to_owned(),
        layout: Layout::ClassFolders,
        list: None,
        manifest: None,
    };
    let pets = DatasetEntry {
        source: folder_source,
        ..shards(vec![], vec![])
    };
    let catalog = Catalog {
        models: [("absent".to_owned(), model(None))].into(),
        datasets: [
            (
                "changed".to_owned(),
                shards(vec![wrong], vec![unpinned("b.parquet")]),
            ),
            ("pets".to_owned(), pets),
        ]
        .into(),
    };
    let (pinned, failures) = Sources::new(vec![root.to_owned()], vec![]).pin(&catalog);
    assert_eq!(pinned, Catalog::default());
    let names: Vec<&str> = failures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["absent", "changed", "pets"]);
    let mut errors = failures.into_iter().map(|(_, error)| Err::<(), _>(error));
    let mut next = |path| errors.next().map(|error| bad_input(error, path));
    assert_matches!(next("model.safetensors"), Some(DataError::NotFound { .. }));
    assert_matches!(next("a.parquet"), Some(DataError::DigestMismatch { .. }));
    assert_matches!(next("pets"), Some(DataError::FolderNotFound { .. }));
    Ok(())
}
