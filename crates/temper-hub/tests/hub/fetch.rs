//! Files that come as they should.

use std::{fs, path::Path, sync::Mutex, time::Duration};

use temper_core::{Digest, ErrorKind};
use temper_hub::{
    Authority, BlockingHub, Hub, HubError, RepoKind, Wanted,
    testing::{FakeFile, Fault, On},
};

use crate::{FILE, Lab, REPO, bytes, fetch};

#[test]
fn a_file_lies_in_the_cache_as_python_lays_it() {
    let lab = Lab::new();
    let path = lab.fetch().unwrap();
    lab.assert_whole(&path);
    assert!(lab.blob().is_file());
    let target = fs::read_link(&path).unwrap();
    assert_eq!(
        target,
        Path::new("../../blobs").join(lab.digest().to_string())
    );
    let lock = format!(
        ".locks/models--timm--resnet50.a1_in1k/{}.lock",
        lab.digest()
    );
    assert!(lab.folder.path().join(lock).is_file());
    assert_eq!(lab.ranges(), [None]);
}

#[test]
fn what_is_in_the_cache_needs_no_hub() {
    let lab = Lab::new();
    let first = lab.fetch().unwrap();
    let asked = lab.hub.seen().len();
    assert_eq!(lab.fetch().unwrap(), first);
    assert_eq!(
        fetch(lab.config(), &lab.expecting(lab.digest())).unwrap(),
        first
    );
    assert_eq!(fetch(lab.offline(), &lab.wanted()).unwrap(), first);
    assert_eq!(lab.hub.seen().len(), asked);
}

#[test]
fn offline_an_absent_file_is_said_so() {
    let lab = Lab::new();
    let error = fetch(lab.offline(), &lab.wanted()).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error:?}");
    assert!(error.to_string().contains(FILE), "{error}");
    assert_eq!(lab.hub.seen(), []);
}

#[test]
fn files_of_git_and_of_folders_are_fetched_and_checked() {
    let lab = Lab::new();
    let files = vec![
        FakeFile::git("config.json", "{}"),
        FakeFile::git("empty.txt", ""),
        FakeFile::lfs("data/part one/train.parquet", bytes(3_000_000)),
    ];
    let commit = lab.hub.add(RepoKind::Dataset, REPO, files.clone());
    let hub = BlockingHub::new(lab.config()).unwrap();
    for file in files {
        let wanted = Wanted {
            kind: RepoKind::Dataset,
            repo: REPO,
            commit: &commit,
            file: &file.path,
            expected: Some(Digest::of(&file.content)),
        };
        let path = hub.fetch(&wanted, &|_| {}).unwrap();
        assert!(path.ends_with(&file.path));
        assert!(fs::read(&path).unwrap() == file.content);
        let blob = path.canonicalize().unwrap();
        assert_eq!(blob.file_name().unwrap().to_str(), Some(&*file.etag()));
    }
}

#[test]
fn progress_grows_to_the_whole() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Bytes, 1, Fault::CutAfter(4000));
    let told = Mutex::new(Vec::new());
    let hub = BlockingHub::new(lab.config()).unwrap();
    hub.fetch(&lab.wanted(), &|progress| {
        assert_eq!((progress.file, progress.total), (FILE, Some(10_000)));
        told.lock().unwrap().push(progress.done);
    })
    .unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!((told[0], told[told.len() - 1]), (0, 10_000));
    assert!(told.contains(&4000), "{told:?}");
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused_unasked() {
    let lab = Lab::new();
    let good = lab.wanted();
    let names = [
        Wanted {
            file: "../../../etc/passwd",
            ..good
        },
        Wanted {
            file: "/etc/passwd",
            ..good
        },
        Wanted {
            repo: "../resnet50",
            ..good
        },
        Wanted {
            commit: "main",
            ..good
        },
    ];
    for wanted in names {
        let error = fetch(lab.config(), &wanted).unwrap_err();
        assert!(matches!(error, HubError::BadName { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(lab.hub.seen(), []);
}

#[test]
fn absent_files_and_commits_are_told_apart() {
    let lab = Lab::new();
    let other = Wanted {
        file: "model.bin",
        ..lab.wanted()
    };
    let error = fetch(lab.config(), &other).unwrap_err();
    assert!(matches!(error, HubError::FileNotFound { ref file, .. } if file == "model.bin"));
    let commit = "0".repeat(40);
    let other = Wanted {
        commit: &commit,
        ..lab.wanted()
    };
    let error = fetch(lab.config(), &other).unwrap_err();
    assert!(
        matches!(error, HubError::RevisionNotFound { .. }),
        "{error:?}"
    );
    let other = Wanted {
        repo: "timm/none",
        ..lab.wanted()
    };
    let error = fetch(lab.config(), &other).unwrap_err();
    assert!(matches!(error, HubError::RepoNotFound { .. }), "{error:?}");
    assert_eq!(lab.hub.seen().len(), 3, "none is asked twice");
}

#[test]
fn another_digest_than_expected_is_known_before_the_download() {
    let lab = Lab::new();
    let error = fetch(lab.config(), &lab.expecting(Digest::of(b"other"))).unwrap_err();
    let HubError::DigestMismatch { by, found, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((*by, found), (Authority::Caller, &lab.digest().to_string()));
    assert_eq!(lab.hub.downloads(), 0);
    lab.assert_absent();
}

#[test]
fn another_digest_than_expected_of_a_git_file_keeps_nothing() {
    let lab = Lab::with(FakeFile::git(FILE, "hello\n"));
    let error = fetch(lab.config(), &lab.expecting(Digest::of(b"other"))).unwrap_err();
    assert!(matches!(
        error,
        HubError::DigestMismatch {
            by: Authority::Caller,
            ..
        }
    ));
    assert_eq!(lab.hub.downloads(), 1);
    assert_eq!(fs::read_dir(lab.repo().join("blobs")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_download_stops_and_the_next_goes_on() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Bytes, 1, Fault::CutAfter(4000));
    lab.hub.misbehave(On::Bytes, 1, Fault::Status(500, vec![]));
    let hub = Hub::new(lab.config());
    let (asked, mut told) = tokio::sync::watch::channel(0);
    let progress = move |progress: temper_hub::Progress<'_>| {
        asked.send_replace(progress.done);
    };
    {
        let mut config = lab.config();
        config.retry.first_wait = Duration::from_hours(1);
        config.retry.longest_wait = Duration::from_hours(1);
        let patient = Hub::new(config);
        let wanted = lab.wanted();
        tokio::select! {
            _ = patient.fetch(&wanted, &progress) => panic!("it waits for an hour"),
            _ = told.wait_for(|done| *done == 4000) => {}
        }
    }
    lab.assert_absent();
    // The lock is free, and the hub's second fault is survived.
    let wanted = lab.wanted();
    let path = sendable(hub.fetch(&wanted, &progress)).await.unwrap();
    lab.assert_whole(&path);
}

#[test]
fn the_blocking_hub_works_under_a_runtime_and_from_several_threads() {
    let lab = Lab::new();
    let hub = BlockingHub::new(lab.config()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| lab.assert_whole(&hub.fetch(&lab.wanted(), &|_| {}).unwrap()));
        }
    });
    let commit = runtime.block_on(async {
        let resolve = move || hub.resolve(RepoKind::Model, REPO, "main").unwrap().commit;
        tokio::task::spawn_blocking(resolve).await.unwrap()
    });
    assert_eq!(commit, lab.commit);
    assert_eq!(lab.hub.downloads(), 1);
}

/// What servers spawn must be `Send`; that it is so is checked when this is built.
fn sendable<T: Send>(future: T) -> T {
    future
}
