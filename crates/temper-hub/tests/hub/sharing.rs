//! Processes that want the same file.

use std::{
    env,
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    process::{self, Child, Command},
    thread,
};

use temper_hub::{
    BlockingHub, HubConfig, Progress, RepoKind, Wanted,
    testing::{FakeFile, Seen},
};

use crate::{FILE, Lab, REPO, bytes, put, range};

fn asked(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| seen.method == "HEAD").count()
}

/// A process that fetches the lab's file, by the test below, or dies on the way.
fn child(lab: &Lab, dies_at: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "sharing::another_process", "--ignored"])
        .env("HF_ENDPOINT", lab.hub.endpoint().to_string())
        .env("HF_HUB_CACHE", lab.folder.path())
        .env("HF_TOKEN", "anyone")
        // Nobody is there: the loopback interface is reached directly all the same.
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("TEST_COMMIT", &lab.commit)
        .env("TEST_DIES_AT", dies_at.to_string())
        .env_remove("HF_HUB_OFFLINE")
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the process that other tests start"]
fn another_process() {
    let dies_at: u64 = env::var("TEST_DIES_AT").unwrap().parse().unwrap();
    let hub = BlockingHub::new(HubConfig::from_environment().unwrap()).unwrap();
    let wanted = Wanted {
        kind: RepoKind::Model,
        repo: REPO,
        commit: &env::var("TEST_COMMIT").unwrap(),
        file: FILE,
        expected: None,
    };
    let progress = |progress: Progress<'_>| {
        if progress.done >= dies_at {
            // Nothing is tidied up, as when the system kills it.
            process::abort();
        }
    };
    hub.fetch(&wanted, &progress).unwrap();
}

#[test]
fn eight_processes_download_once() {
    let lab = Lab::new();
    lab.hub.hold();
    let children: Vec<Child> = (0..8).map(|_| child(&lab, u64::MAX)).collect();
    // All know that the file is not here before the first gets it.
    lab.hub.wait_until(|seen| asked(seen) == 8);
    lab.hub.release();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(lab.hub.downloads(), 1);
    lab.assert_whole(&lab.pointer());
}

#[test]
fn eight_threads_download_once() {
    let lab = Lab::new();
    lab.hub.hold();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| lab.assert_whole(&lab.fetch().unwrap()));
        }
        lab.hub.wait_until(|seen| asked(seen) == 8);
        lab.hub.release();
    });
    assert_eq!(lab.hub.downloads(), 1);
}

#[test]
fn what_a_killed_process_left_is_built_on() {
    let lab = Lab::with(FakeFile::lfs(FILE, bytes(4 << 20)));
    let status = child(&lab, 3 << 20).wait().unwrap();
    assert!(status.signal().is_some(), "{status}");
    lab.assert_absent();
    let left = fs::metadata(lab.partial()).unwrap().len();
    assert!((1 << 20..=3 << 20).contains(&left), "{left}");
    lab.assert_whole(&lab.fetch().unwrap());
    let left = usize::try_from(left).unwrap();
    assert_eq!(lab.ranges(), [None, Some(range(left))]);
}

#[test]
fn a_lock_that_another_client_holds_is_waited_for() {
    let lab = Lab::new();
    let lock = format!(
        ".locks/models--timm--resnet50.a1_in1k/{}.lock",
        lab.digest()
    );
    let path = lab.folder.path().join(lock);
    put(&path, b"");
    let held = File::open(&path).unwrap();
    held.lock().unwrap();
    thread::scope(|scope| {
        let fetching = scope.spawn(|| lab.fetch().unwrap());
        lab.hub.wait_until(|seen| asked(seen) == 1);
        // The holder does the work, and removes its lock as old clients do.
        put(&lab.blob(), &lab.content);
        fs::remove_file(&path).unwrap();
        drop(held);
        lab.assert_whole(&fetching.join().unwrap());
    });
    assert_eq!(lab.hub.downloads(), 0);
}
