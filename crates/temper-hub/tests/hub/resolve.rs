//! What a revision means.

use std::fs;

use temper_core::{Digest, ErrorKind};
use temper_hub::{
    BlockingHub, HubError, RepoKind, RepoSnapshot,
    testing::{FakeFile, Fault, On},
};

use crate::{FILE, Lab, REPO};

fn resolve(lab: &Lab, revision: &str) -> Result<RepoSnapshot, HubError> {
    BlockingHub::new(lab.config())?.resolve(RepoKind::Model, REPO, revision)
}

fn resolve_offline(lab: &Lab, revision: &str) -> Result<RepoSnapshot, HubError> {
    BlockingHub::new(lab.offline())?.resolve(RepoKind::Model, REPO, revision)
}

#[test]
fn a_branch_is_resolved_to_its_commit_and_files() {
    let lab = Lab::new();
    let snapshot = resolve(&lab, "main").unwrap();
    assert_eq!(snapshot.commit, lab.commit);
    let [file] = &snapshot.files[..] else {
        panic!("{snapshot:?}")
    };
    assert_eq!((file.path.as_str(), file.size), (FILE, Some(10_000)));
    assert_eq!(file.sha256, Some(lab.digest()));
    assert_eq!(resolve(&lab, &lab.commit).unwrap(), snapshot);
}

#[test]
fn a_dataset_has_its_own_place_and_git_files_no_sha256() {
    let lab = Lab::new();
    let files = vec![
        FakeFile::git("README.md", "hello\n"),
        FakeFile::lfs("data/train 0.parquet", "rows"),
        FakeFile::git("../outside", "x"),
    ];
    let commit = lab.hub.add(RepoKind::Dataset, REPO, files);
    let hub = BlockingHub::new(lab.config()).unwrap();
    let snapshot = hub.resolve(RepoKind::Dataset, REPO, "main").unwrap();
    assert_eq!(snapshot.commit, commit);
    let [readme, shard] = &snapshot.files[..] else {
        panic!("what cannot be fetched is not listed: {snapshot:?}")
    };
    assert_eq!(readme.sha256, None);
    let hello = "ce013625030ba8dba906f756967f9e9ca394464a";
    assert_eq!(readme.blob_id.as_deref(), Some(hello));
    assert_eq!(shard.sha256, Some(Digest::of(b"rows")));
    assert_eq!(shard.path, "data/train 0.parquet");
}

#[test]
fn unknown_names_are_told_apart() {
    let lab = Lab::new();
    let hub = BlockingHub::new(lab.config()).unwrap();
    let error = hub.resolve(RepoKind::Dataset, REPO, "main").unwrap_err();
    assert!(matches!(error, HubError::RepoNotFound { .. }), "{error:?}");
    let error = hub.resolve(RepoKind::Model, REPO, "v2").unwrap_err();
    assert!(matches!(error, HubError::RevisionNotFound { ref revision, .. } if revision == "v2"));
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(lab.hub.seen().len(), 2, "neither is asked twice");
    let error = hub
        .resolve(RepoKind::Model, "resnet50", "main")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn offline_a_revision_is_what_was_last_noted() {
    let lab = Lab::new();
    let error = resolve_offline(&lab, "main").unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    let text = error.to_string();
    assert!(
        text.contains("HF_HUB_OFFLINE") && text.contains("name a commit"),
        "{text}"
    );

    let online = resolve(&lab, "main").unwrap();
    assert_eq!(
        fs::read_to_string(lab.repo().join("refs/main")).unwrap(),
        lab.commit
    );
    let noted = resolve_offline(&lab, "main").unwrap();
    assert_eq!(
        (noted.commit.as_str(), noted.files.len()),
        (&*lab.commit, 0)
    );
    lab.fetch().unwrap();
    let noted = resolve_offline(&lab, "main").unwrap();
    assert_eq!(noted.files.len(), 1);
    assert_eq!(noted.files[0].sha256, online.files[0].sha256);
    assert_eq!(noted.files[0].size, online.files[0].size);
}

#[test]
fn offline_a_commit_is_itself() {
    let lab = Lab::new();
    let snapshot = resolve_offline(&lab, &lab.commit).unwrap();
    assert_eq!(snapshot.commit, lab.commit);
    assert_eq!(lab.hub.seen(), []);
}

#[test]
fn a_moved_branch_is_noted_anew() {
    let lab = Lab::new();
    resolve(&lab, "main").unwrap();
    let moved = lab.hub.add(RepoKind::Model, REPO, vec![]);
    assert_ne!(moved, lab.commit);
    assert_eq!(resolve(&lab, "main").unwrap().commit, moved);
    assert_eq!(resolve_offline(&lab, "main").unwrap().commit, moved);
    let left = fs::read_dir(lab.repo()).unwrap().count();
    assert_eq!(left, 1, "only refs/");
}

#[test]
fn a_hub_that_recovers_is_asked_again() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Api, 2, Fault::Status(500, vec![]));
    let wait = vec![("retry-after", "0".to_owned())];
    lab.hub.misbehave(On::Api, 1, Fault::Status(429, wait));
    assert_eq!(resolve(&lab, "main").unwrap().commit, lab.commit);
    assert_eq!(lab.hub.seen().len(), 4);
}

#[test]
fn a_hub_that_does_not_recover_is_given_up() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Api, 99, Fault::Status(503, vec![]));
    let error = resolve(&lab, "main").unwrap_err();
    assert!(
        matches!(error, HubError::Status { status: 503, .. }),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(lab.hub.seen().len(), 4);
}

#[test]
fn a_hub_that_asks_for_hours_is_given_up_at_once() {
    let lab = Lab::new();
    let wait = vec![("retry-after", "7200".to_owned())];
    lab.hub.misbehave(On::Api, 99, Fault::Status(429, wait));
    let error = resolve(&lab, "main").unwrap_err();
    assert!(matches!(error, HubError::RateLimited { .. }), "{error:?}");
    assert!(error.to_string().contains("7200 s"), "{error}");
    assert_eq!(lab.hub.seen().len(), 1);
}

#[test]
fn no_hub_is_said_so() {
    let lab = Lab::new();
    let config = lab.config();
    drop(lab.hub);
    let hub = BlockingHub::new(config).unwrap();
    let error = hub.resolve(RepoKind::Model, REPO, "main").unwrap_err();
    assert!(matches!(error, HubError::Network { .. }), "{error:?}");
    assert!(error.to_string().contains("HF_ENDPOINT"), "{error}");
}
