//! What no mirror holds, from the hub: fetched, verified, pinned.

use std::path::Path;

use temper_core::{
    Digest,
    catalog::{Catalog, PinnedModel},
};
use temper_data::{DataError, Sources, testing};
use temper_hub::{
    BlockingHub, HubConfig, RepoKind,
    testing::{FakeFile, FakeHub},
};
use tempfile::TempDir;

use crate::support::{settings, write};

const CATALOG: &str = r#"
[models.net]
architecture = "resnet18"
repository = "lab/net"
file = "model.safetensors"
licence = "MIT"
normalisation = { mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }

[datasets.birds]
classes = 3
licence = "none"
counts = { train = 12, test = 6 }
[datasets.birds.source]
format = "parquet"
repository = "lab/birds"
train = [{ path = "data/train-*.parquet" }]
test = [{ path = "data/test-*.parquet" }]
image_column = "image"
label_column = "label"
"#;

/// A mirror, empty at first, and sources that ask `hub` beside it.
fn sources(hub: &FakeHub, offline: bool) -> anyhow::Result<(TempDir, Sources)> {
    let folder = tempfile::tempdir()?;
    let config = HubConfig {
        offline,
        ..hub.config(folder.path().join("cache"))
    };
    let sources = Sources::new(vec![folder.path().join("mirror")], vec![]);
    let hub = BlockingHub::new(config)?;
    Ok((folder, sources.with_hub(hub)))
}

/// The model by commit alone.
fn by_commit(commit: &str) -> anyhow::Result<PinnedModel> {
    let mut catalog = Catalog::parse(CATALOG)?;
    if let Some(entry) = catalog.models.get_mut("net") {
        entry.revision = Some(commit.to_owned());
    }
    Ok(catalog.model("net")?)
}

#[test]
fn what_a_branch_means_is_pinned_fetched_once_and_read() -> anyhow::Result<()> {
    let hub = FakeHub::start();
    let weights = FakeFile::lfs("model.safetensors", b"weights".as_slice());
    let commit = hub.add(RepoKind::Model, "lab/net", vec![weights]);
    let made = tempfile::tempdir()?;
    let plan = testing::Plan {
        classes: 3,
        train: 4,
        validation: 0,
        test: 2,
        side: 24,
    };
    testing::write_parquet(made.path(), plan, testing::LabelColumn::Numbers)?;
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(made.path().join("data"))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        shards.push(FakeFile::lfs(
            &format!("data/{name}"),
            std::fs::read(&path)?,
        ));
    }
    let _images = hub.add(RepoKind::Dataset, "lab/birds", shards);

    let (_folder, sources) = sources(&hub, false)?;
    let mut catalog = Catalog::parse(CATALOG)?;
    let (pins, failures) = sources.pin(&catalog);
    assert!(failures.is_empty(), "{failures:?}");
    catalog.overlay(pins);
    let model = catalog.model("net")?;
    assert_eq!(model.commit.as_ref().map(ToString::to_string), Some(commit));
    assert_eq!(model.sha256, Some(Digest::of(b"weights")));
    assert_eq!(hub.downloads(), 0, "pinning fetches nothing");
    for _ in 0..2 {
        assert_eq!(std::fs::read(sources.weights(&model)?)?, b"weights");
    }
    assert_eq!(hub.downloads(), 1);
    let birds = catalog.dataset("birds")?;
    let splits = sources.training(&birds, &settings(16, 0, 3))?;
    assert_eq!((splits.train.len(), splits.validation.len()), (9, 3));
    assert_eq!(hub.downloads(), 3, "two shards of the training split");
    Ok(())
}

#[test]
fn bytes_that_are_not_the_pinned_ones_are_refused() -> anyhow::Result<()> {
    let hub = FakeHub::start();
    let weights = FakeFile::lfs("model.safetensors", b"other weights".as_slice());
    let commit = hub.add(RepoKind::Model, "lab/net", vec![weights]);
    let (_folder, sources) = sources(&hub, false)?;
    let model = PinnedModel {
        sha256: Some(Digest::of(b"weights")),
        ..by_commit(&commit)?
    };
    let error = sources.weights(&model).err();
    assert!(
        matches!(error, Some(DataError::DigestMismatch { .. })),
        "{error:?}"
    );
    Ok(())
}

#[test]
fn a_mirrors_file_is_of_a_commit_only_where_the_hubs_client_noted_it() -> anyhow::Result<()> {
    let hub = FakeHub::start();
    let (folder, sources) = sources(&hub, true)?;
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let repository = folder.path().join("mirror/models/lab/net");
    write(&repository.join("model.safetensors"), b"weights")?;
    let model = by_commit(commit)?;
    let error = sources.weights(&model).err();
    assert!(
        matches!(error, Some(DataError::CommitUnknown { .. })),
        "{error:?}"
    );
    note(&repository, commit)?;
    assert_eq!(
        sources.weights(&model)?,
        repository.join("model.safetensors")
    );
    Ok(())
}

/// What `hf download --local-dir` leaves beside a file.
fn note(repository: &Path, commit: &str) -> anyhow::Result<()> {
    let path = ".cache/huggingface/download/model.safetensors.metadata";
    let etag = Digest::of(b"weights");
    write(
        &repository.join(path),
        format!("{commit}\n{etag}\n4102444800.0\n").as_bytes(),
    )
}

#[test]
fn offline_says_where_it_looked_and_what_would_help() -> anyhow::Result<()> {
    let hub = FakeHub::start();
    let (_folder, sources) = sources(&hub, true)?;
    let model = by_commit("0123456789abcdef0123456789abcdef01234567")?;
    let error = anyhow::Error::from(
        sources
            .weights(&model)
            .err()
            .ok_or(anyhow::anyhow!("found"))?,
    );
    let said = format!("{error:#}");
    for part in [
        "models/lab/net/model.safetensors",
        "TEMPER_MIRROR",
        "HF_HUB_OFFLINE",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (_, failures) = sources.pin(&Catalog::parse(CATALOG)?);
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(hub.seen().is_empty());
    Ok(())
}
