//! Files that do not come as they should.

use std::{fs, time::Duration};

use temper_core::ErrorKind;
use temper_hub::{
    Authority, HubError,
    testing::{FakeFile, Fault, On},
};

use crate::{Lab, bytes, fetch, put, range};

#[test]
fn a_cut_download_goes_on_where_it_ended() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Bytes, 1, Fault::CutAfter(4000));
    lab.hub.misbehave(On::Bytes, 1, Fault::CutAfter(1000));
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(lab.ranges(), [None, Some(range(4000)), Some(range(5000))]);
}

#[test]
fn an_earlier_process_s_part_is_built_on() {
    let lab = Lab::new();
    put(&lab.partial(), &lab.content[..2500]);
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(lab.ranges(), [Some(range(2500))]);
}

#[test]
fn a_part_that_is_all_there_is_only_checked_and_named() {
    let lab = Lab::new();
    put(&lab.partial(), &lab.content);
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(lab.hub.downloads(), 0);
}

#[test]
fn a_part_that_is_wrong_or_too_long_is_thrown_away() {
    for part in [bytes(10_001), vec![7; 10_000], vec![7; 9_000]] {
        let lab = Lab::new();
        put(&lab.partial(), &part);
        lab.assert_whole(&lab.fetch().unwrap());
        assert_eq!(lab.ranges().last(), Some(&None), "from the first byte");
    }
}

#[test]
fn a_download_that_falls_silent_goes_on_where_it_ended() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Bytes, 1, Fault::StallAfter(4000));
    let mut config = lab.config();
    config.timeout = Duration::from_secs(1);
    lab.assert_whole(&fetch(config, &lab.wanted()).unwrap());
    assert_eq!(lab.ranges(), [None, Some(range(4000))]);
}

#[test]
fn progress_renews_patience() {
    let lab = Lab::with(FakeFile::lfs(crate::FILE, bytes(12 << 20)));
    // More cuts than retries, but each brings more than a mebibyte.
    lab.hub.misbehave(On::Bytes, 7, Fault::CutAfter(3 << 19));
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(lab.hub.downloads(), 8);
}

#[test]
fn a_file_that_always_ends_early_is_an_error_and_resumable() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Bytes, 99, Fault::EndAfter(100));
    let error = lab.fetch().unwrap_err();
    let HubError::Truncated { done, total, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((done, total), (400, Some(10_000)));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    lab.assert_absent();
    assert_eq!(fs::read(lab.partial()).unwrap(), lab.content[..400]);

    lab.hub.behave();
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(lab.ranges().last(), Some(&Some(range(400))));
}

#[test]
fn a_file_that_is_always_cut_names_the_cut() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Bytes, 99, Fault::CutAfter(0));
    let error = lab.fetch().unwrap_err();
    assert!(
        matches!(
            error,
            HubError::Truncated {
                done: 0,
                source: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
    lab.assert_absent();
    assert_eq!(lab.hub.downloads(), 4);
}

#[test]
fn more_bytes_than_announced_are_refused() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Bytes, 99, Fault::Excess(5));
    let error = lab.fetch().unwrap_err();
    assert!(matches!(error, HubError::Protocol { .. }), "{error:?}");
    lab.assert_absent();
    lab.hub.behave();
    lab.assert_whole(&lab.fetch().unwrap());
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Bytes, 1, Fault::CutAfter(4000));
    lab.hub.misbehave(On::Bytes, 1, Fault::NoRanges);
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(lab.ranges(), [None, Some(range(4000))]);
}

#[test]
fn wrong_bytes_are_fetched_once_more() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Bytes, 1, Fault::WrongBytes);
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(lab.ranges(), [None, None]);
}

#[test]
fn wrong_bytes_twice_are_an_error_and_leave_nothing() {
    for file in [
        FakeFile::lfs(crate::FILE, "abc"),
        FakeFile::git(crate::FILE, "abc"),
    ] {
        let etag = file.etag();
        let lab = Lab::with(file);
        lab.hub.misbehave(On::Bytes, 99, Fault::WrongBytes);
        let error = lab.fetch().unwrap_err();
        let HubError::DigestMismatch { by, expected, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!((by, expected), (Authority::Hub, etag));
        assert_eq!(lab.hub.downloads(), 2);
        assert_eq!(fs::read_dir(lab.repo().join("blobs")).unwrap().count(), 0);
        assert!(lab.pointer().symlink_metadata().is_err());
    }
}

#[test]
fn limits_and_server_errors_pass() {
    let lab = Lab::new();
    let wait = vec![("retry-after", "0".to_owned())];
    lab.hub
        .misbehave(On::Head, 1, Fault::Status(429, wait.clone()));
    lab.hub.misbehave(On::Get, 1, Fault::Status(429, wait));
    lab.hub.misbehave(On::Bytes, 2, Fault::Status(500, vec![]));
    lab.assert_whole(&lab.fetch().unwrap());
    assert_eq!(lab.hub.downloads(), 3);
}

#[test]
fn server_errors_that_do_not_pass_are_errors() {
    let lab = Lab::new();
    lab.hub.misbehave(On::Bytes, 99, Fault::Status(502, vec![]));
    let error = lab.fetch().unwrap_err();
    assert!(
        matches!(error, HubError::Status { status: 502, .. }),
        "{error:?}"
    );
    lab.assert_absent();
    assert_eq!(lab.hub.downloads(), 4);
}

#[test]
fn answers_that_no_hub_gives_are_refused() {
    let commit = ("x-repo-commit", "f".repeat(40));
    let outside = ("x-linked-etag", "\"../../../evil\"".to_owned());
    for header in [commit, outside] {
        let lab = Lab::new();
        lab.hub
            .misbehave(On::Head, 99, Fault::Headers(vec![header]));
        let error = lab.fetch().unwrap_err();
        assert!(matches!(error, HubError::Protocol { .. }), "{error:?}");
        assert_eq!(lab.hub.downloads(), 0);
        assert!(!lab.folder.path().join("evil").exists());
    }
}

#[test]
fn another_part_than_asked_for_is_refused() {
    let lab = Lab::new();
    put(&lab.partial(), &lab.content[..2500]);
    let part = ("content-range", "bytes 2000-9999/10000".to_owned());
    lab.hub.misbehave(On::Bytes, 1, Fault::Headers(vec![part]));
    let error = lab.fetch().unwrap_err();
    assert!(matches!(error, HubError::Protocol { .. }), "{error:?}");
    lab.assert_absent();
    assert_eq!(fs::read(lab.partial()).unwrap(), lab.content[..2500]);
}

#[test]
fn a_length_that_is_only_told_with_the_bytes_is_held_to() {
    let file = FakeFile::git(crate::FILE, bytes(10_000));
    let blob = |lab: &Lab, end: &str| lab.repo().join("blobs").join(file.etag() + end);
    let lab = Lab::with(file.clone());
    let untold = vec![("content-length", "0".to_owned())];
    lab.hub.misbehave(On::Head, 99, Fault::Headers(untold));
    lab.hub.misbehave(On::Bytes, 1, Fault::CutAfter(4000));
    lab.assert_whole(&lab.fetch().unwrap());

    // A part that is whole already cannot be known for it: the server has nothing to add.
    fs::remove_file(lab.pointer()).unwrap();
    fs::rename(blob(&lab, ""), blob(&lab, ".incomplete")).unwrap();
    lab.assert_whole(&lab.fetch().unwrap());
    let ranges = lab
        .hub
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "GET");
    let ranges: Vec<_> = ranges.map(|seen| seen.range).collect();
    assert_eq!(ranges, [None, Some(range(4000)), Some(range(10_000)), None]);
    assert!(!blob(&lab, ".incomplete").exists());
}

#[test]
fn what_is_sent_from_the_first_byte_on_replaces_all_of_a_part() {
    let lab = Lab::with(FakeFile::git(crate::FILE, "hello\n"));
    let told = vec![
        ("etag", "\"a-mirror-s-own-name\"".to_owned()),
        ("content-length", "0".to_owned()),
    ];
    lab.hub.misbehave(On::Head, 1, Fault::Headers(told));
    lab.hub.misbehave(On::Bytes, 1, Fault::NoRanges);
    let part = lab.repo().join("blobs/a-mirror-s-own-name.incomplete");
    put(&part, b"longer than the file");
    lab.assert_whole(&lab.fetch().unwrap());
    assert!(!part.exists());
}
