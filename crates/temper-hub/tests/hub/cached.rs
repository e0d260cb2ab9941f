//! Caches that others filled, or damaged.

use std::{fs, os::unix::fs::symlink};

use temper_core::Digest;
use temper_hub::{Authority, BlockingHub, HubError, RepoKind, testing::FakeFile};

use crate::{FILE, Lab, REPO, fetch, put};

impl Lab {
    /// The file as Python's client leaves it, but with these bytes.
    fn fill(&self, content: &[u8]) {
        put(&self.blob(), content);
        fs::create_dir_all(self.pointer().parent().unwrap()).unwrap();
        symlink(format!("../../blobs/{}", self.digest()), self.pointer()).unwrap();
        put(&self.repo().join("refs/main"), self.commit.as_bytes());
    }
}

#[test]
fn a_cache_filled_by_another_client_is_honoured() {
    let lab = Lab::new();
    lab.fill(&lab.content);
    let hub = BlockingHub::new(lab.offline()).unwrap();
    let snapshot = hub.resolve(RepoKind::Model, REPO, "main").unwrap();
    assert_eq!(snapshot.commit, lab.commit);
    assert_eq!(snapshot.files[0].sha256, Some(lab.digest()));
    lab.assert_whole(&hub.fetch(&lab.wanted(), &|_| {}).unwrap());
    lab.assert_whole(&fetch(lab.config(), &lab.expecting(lab.digest())).unwrap());
    assert_eq!(lab.hub.seen(), []);
}

#[test]
fn a_cache_without_links_is_honoured() {
    let lab = Lab::new();
    put(&lab.pointer(), &lab.content);
    lab.assert_whole(&fetch(lab.offline(), &lab.expecting(lab.digest())).unwrap());
    let error = fetch(lab.config(), &lab.expecting(Digest::of(b"other"))).unwrap_err();
    assert!(matches!(
        error,
        HubError::DigestMismatch {
            by: Authority::Caller,
            ..
        }
    ));
    assert_eq!(lab.hub.seen(), []);
}

#[test]
fn damaged_bytes_are_fetched_again_when_a_digest_is_expected() {
    let lab = Lab::new();
    lab.fill(&[7; 10_000]);
    let error = fetch(lab.offline(), &lab.expecting(lab.digest())).unwrap_err();
    assert!(matches!(
        error,
        HubError::DigestMismatch {
            by: Authority::Hub,
            ..
        }
    ));
    assert!(lab.blob().exists(), "offline nothing is removed");
    lab.assert_whole(&fetch(lab.config(), &lab.expecting(lab.digest())).unwrap());
    assert_eq!(lab.hub.downloads(), 1);
}

#[test]
fn good_bytes_stay_when_the_caller_expects_others() {
    let lab = Lab::new();
    lab.fill(&lab.content);
    let error = fetch(lab.config(), &lab.expecting(Digest::of(b"other"))).unwrap_err();
    assert!(matches!(
        error,
        HubError::DigestMismatch {
            by: Authority::Caller,
            ..
        }
    ));
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(lab.hub.seen(), []);
}

#[test]
fn a_link_to_nothing_is_mended() {
    let lab = Lab::new();
    lab.fill(&lab.content);
    fs::remove_file(lab.blob()).unwrap();
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(lab.hub.downloads(), 1);
}

#[test]
fn a_link_to_other_bytes_that_are_gone_is_replaced() {
    let lab = Lab::new();
    fs::create_dir_all(lab.pointer().parent().unwrap()).unwrap();
    symlink("../../blobs/gone", lab.pointer()).unwrap();
    lab.assert_whole(&lab.fetch().unwrap());
}

#[test]
fn bytes_of_another_length_are_fetched_again() {
    let lab = Lab::new();
    put(&lab.blob(), &lab.content[..9_999]);
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(lab.hub.downloads(), 1);
}

#[test]
fn bytes_that_another_commit_brought_are_shared() {
    let mut lab = Lab::new();
    lab.fetch().unwrap();
    let first = lab.pointer();
    let files = vec![
        FakeFile::lfs(FILE, lab.content.clone()),
        FakeFile::git("README.md", "new"),
    ];
    lab.commit = lab.hub.add(RepoKind::Model, REPO, files);
    let second = lab.fetch().unwrap();
    lab.assert_whole(&second);
    assert_ne!(first, second);
    assert_eq!(
        first.canonicalize().unwrap(),
        second.canonicalize().unwrap()
    );
    assert_eq!(lab.hub.downloads(), 1);
}
