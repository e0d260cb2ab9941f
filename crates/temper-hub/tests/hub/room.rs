//! A disk without room.

use std::{env, fs, io, os::unix::fs::symlink, process::Command};

use temper_core::ErrorKind;
use temper_hub::{
    BlockingHub, HubConfig, HubError, RepoKind, Wanted,
    testing::{FakeFile, Fault, On},
};

use crate::{FILE, Lab, REPO, bytes, range};

#[test]
fn a_file_that_cannot_fit_is_not_begun() {
    let lab = Lab::new();
    let size = vec![("x-linked-size", (1_u64 << 60).to_string())];
    lab.hub.misbehave(On::Head, 1, Fault::Headers(size));
    let error = lab.fetch().unwrap_err();
    let HubError::DiskFull { needed, free, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*needed, Some(1 << 60));
    assert!(free.unwrap() < 1 << 60);
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.to_string().contains("HF_HUB_CACHE"), "{error}");
    assert_eq!(lab.hub.downloads(), 0);
    lab.assert_absent();
}

/// The system's own word for it, from a device that is always full.
#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_fills_up_is_said_so_and_not_tried_again() {
    let lab = Lab::new();
    fs::create_dir_all(lab.blob().parent().unwrap()).unwrap();
    symlink("/dev/full", lab.partial()).unwrap();
    let error = lab.fetch().unwrap_err();
    let HubError::DiskFull {
        source: Some(source),
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert_eq!(lab.hub.downloads(), 1);
    lab.assert_absent();
}

#[test]
#[ignore = "the process that the next test starts"]
fn a_process_with_a_limit() {
    let hub = BlockingHub::new(HubConfig::from_environment().unwrap()).unwrap();
    let wanted = Wanted {
        kind: RepoKind::Model,
        repo: REPO,
        commit: &env::var("TEST_COMMIT").unwrap(),
        file: FILE,
        expected: None,
    };
    let error = hub.fetch(&wanted, &|_| {}).unwrap_err();
    assert!(
        matches!(
            error,
            HubError::DiskFull {
                source: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
}

/// A limit on the size of files stops the writing in the middle, as a full disk does.
#[test]
fn what_fits_is_kept_and_built_on() {
    let lab = Lab::with(FakeFile::lfs(FILE, bytes(3 << 20)));
    let limited = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\"";
    let status = Command::new("sh")
        .args(["-c", limited])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "room::a_process_with_a_limit", "--ignored"])
        .env("HF_ENDPOINT", lab.hub.endpoint().to_string())
        .env("HF_HUB_CACHE", lab.folder.path())
        .env("TEST_COMMIT", &lab.commit)
        .env_remove("HF_HUB_OFFLINE")
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(lab.hub.downloads(), 1, "a full disk is not tried again");
    lab.assert_absent();
    let kept = fs::metadata(lab.partial()).unwrap().len();
    // Blocks of 512 or 1024 bytes, as the shell has it.
    assert!([1 << 19, 1 << 20].contains(&kept), "{kept}");
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(
        lab.ranges().last(),
        Some(&Some(range(usize::try_from(kept).unwrap())))
    );
}
