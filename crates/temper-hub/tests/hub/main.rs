//! The hub's client against a hub on the loopback interface that misbehaves as told.
#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod cached;
mod faults;
mod fetch;
mod redirects;
mod resolve;
mod room;
mod sharing;

use std::{
    fs,
    path::{Path, PathBuf},
};

use temper_core::Digest;
use temper_hub::{
    BlockingHub, HubConfig, HubError, RepoKind, Wanted,
    testing::{FakeFile, FakeHub, Seen},
};

const REPO: &str = "timm/resnet50.a1_in1k";
const FILE: &str = "model.safetensors";

/// A hub with a model whose one file is in large file storage, and an empty cache.
struct Lab {
    hub: FakeHub,
    folder: tempfile::TempDir,
    commit: String,
    content: Vec<u8>,
}

impl Lab {
    fn new() -> Self {
        Self::with(FakeFile::lfs(FILE, bytes(10_000)))
    }

    fn with(file: FakeFile) -> Self {
        let hub = FakeHub::start();
        let content = file.content.to_vec();
        Self {
            commit: hub.add(RepoKind::Model, REPO, vec![file]),
            folder: tempfile::tempdir().unwrap(),
            content,
            hub,
        }
    }

    fn config(&self) -> HubConfig {
        self.hub.config(self.folder.path())
    }

    fn offline(&self) -> HubConfig {
        HubConfig {
            offline: true,
            ..self.config()
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            kind: RepoKind::Model,
            repo: REPO,
            commit: &self.commit,
            file: FILE,
            expected: None,
        }
    }

    fn expecting(&self, expected: Digest) -> Wanted<'_> {
        Wanted {
            expected: Some(expected),
            ..self.wanted()
        }
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.content)
    }

    fn fetch(&self) -> Result<PathBuf, HubError> {
        fetch(self.config(), &self.wanted())
    }

    fn repo(&self) -> PathBuf {
        self.folder.path().join("models--timm--resnet50.a1_in1k")
    }

    fn blob(&self) -> PathBuf {
        self.repo().join("blobs").join(self.digest().to_string())
    }

    fn partial(&self) -> PathBuf {
        self.blob().with_extension("incomplete")
    }

    fn pointer(&self) -> PathBuf {
        self.repo().join("snapshots").join(&self.commit).join(FILE)
    }

    /// What the requests for the file's bytes asked for.
    fn ranges(&self) -> Vec<Option<String>> {
        let sent = |seen: &Seen| seen.elsewhere && seen.method == "GET";
        let seen = self.hub.seen();
        seen.into_iter()
            .filter(sent)
            .map(|seen| seen.range)
            .collect()
    }

    /// The file has its final name and content, and nothing is left beside it.
    fn assert_whole(&self, path: &Path) {
        assert_eq!(path, self.pointer());
        assert!(fs::read(path).unwrap() == self.content, "other bytes");
        assert!(!self.partial().exists());
    }

    fn assert_absent(&self) {
        assert!(!self.blob().exists());
        assert!(self.pointer().symlink_metadata().is_err());
    }
}

fn fetch(config: HubConfig, wanted: &Wanted<'_>) -> Result<PathBuf, HubError> {
    BlockingHub::new(config)?.fetch(wanted, &|_| {})
}

/// Writes a file, and makes the folders that it needs.
fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Bytes that differ from place to place.
fn bytes(length: usize) -> Vec<u8> {
    let byte = |i| u8::try_from(i * i / 7 % 251).unwrap();
    (0..length).map(byte).collect()
}

fn range(from: usize) -> String {
    format!("bytes={from}-")
}
