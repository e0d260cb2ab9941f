//! The object store on a real folder.
#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use temper_core::{Digest, ErrorKind};
use temper_service::objects::{Objects, ObjectsError, artifact_path, checkpoint_path};

struct Folder {
    folder: tempfile::TempDir,
    objects: Objects,
}

fn folder() -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/made/by open", folder.path().display());
    let objects = Objects::open(&url).unwrap();
    Folder { folder, objects }
}

impl Folder {
    fn file(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("made/by open").join(path)
    }
}

#[test]
fn paths_keep_attempts_apart() {
    let key = Digest::of(b"job");
    assert_eq!(checkpoint_path(&key, 7, 120), format!("{key}/7/120"));
    assert_eq!(artifact_path(&key, 7), format!("{key}/7/model.safetensors"));
}

#[tokio::test]
async fn what_was_put_comes_back() {
    let Folder {
        objects,
        folder: _folder,
    } = folder();
    let bytes = Bytes::from_static(b"weights");
    let stored = objects.put("key/1/10", bytes.clone()).await.unwrap();
    assert_eq!((stored.path.as_str(), stored.size), ("key/1/10", 7));
    assert_eq!(
        objects
            .get("key/1/10", stored.sha256, stored.size)
            .await
            .unwrap(),
        bytes
    );
}

#[tokio::test]
async fn second_put_of_the_same_bytes_succeeds_and_of_others_is_refused() {
    let Folder {
        objects,
        folder: _folder,
    } = folder();
    let first = objects
        .put("key/1/10", Bytes::from_static(b"weights"))
        .await
        .unwrap();
    let again = objects
        .put("key/1/10", Bytes::from_static(b"weights"))
        .await
        .unwrap();
    assert_eq!(first, again);
    let error = objects
        .put("key/1/10", Bytes::from_static(b"others!"))
        .await
        .unwrap_err();
    assert!(matches!(error, ObjectsError::Differs { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    objects
        .get("key/1/10", first.sha256, first.size)
        .await
        .unwrap();
}

#[tokio::test]
async fn torn_changed_and_missing_files_are_told_apart() {
    let folder = folder();
    let objects = &folder.objects;
    let stored = objects
        .put("key/1/10", Bytes::from(vec![7; 5000]))
        .await
        .unwrap();
    let get = async || {
        objects
            .get("key/1/10", stored.sha256, stored.size)
            .await
            .unwrap_err()
    };

    std::fs::write(folder.file("key/1/10"), vec![7; 4096]).unwrap();
    let error = get().await;
    assert!(matches!(error, ObjectsError::Torn { .. }), "{error}");
    assert!(error.to_string().contains("key/1/10") && error.to_string().contains("4096"));

    std::fs::write(folder.file("key/1/10"), vec![8; 5000]).unwrap();
    assert!(matches!(get().await, ObjectsError::Torn { .. }));

    std::fs::remove_file(folder.file("key/1/10")).unwrap();
    let error = get().await;
    assert!(matches!(error, ObjectsError::Missing { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn streamed_read_has_every_byte_and_ends_in_an_error_where_they_are_damaged() {
    let folder = folder();
    let bytes: Vec<u8> = (0..2_500_000_u32).map(|i| (i % 251) as u8).collect();
    let stored = folder
        .objects
        .put("key/1/model", bytes.clone().into())
        .await
        .unwrap();
    let read = async || {
        folder
            .objects
            .read("key/1/model", stored.sha256, stored.size)
            .await
    };

    let pieces: Vec<Bytes> = read().await.unwrap().try_collect().await.unwrap();
    assert_eq!(pieces.concat(), bytes);
    assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() <= 1 << 20));

    let mut damaged = bytes;
    damaged[2_000_000] ^= 1;
    std::fs::write(folder.file("key/1/model"), damaged).unwrap();
    let last = read()
        .await
        .unwrap()
        .collect::<Vec<_>>()
        .await
        .pop()
        .unwrap();
    assert!(matches!(last, Err(ObjectsError::Torn { .. })), "{last:?}");

    std::fs::write(folder.file("key/1/model"), b"short").unwrap();
    assert!(matches!(
        read().await.err(),
        Some(ObjectsError::Torn { .. })
    ));
}

#[tokio::test]
async fn deleted_object_is_missing_and_deleting_it_again_succeeds() {
    let Folder {
        objects,
        folder: _folder,
    } = folder();
    let bytes = Bytes::from_static(b"weights");
    let stored = objects.put("key/1/10", bytes).await.unwrap();
    for _ in 0..2 {
        objects.delete("key/1/10").await.unwrap();
        let get = objects.get("key/1/10", stored.sha256, stored.size).await;
        assert!(matches!(get, Err(ObjectsError::Missing { .. })), "{get:?}");
    }
}

#[test]
fn urls_that_name_no_store_are_refused() {
    for url in ["", "folder", "http://host/path", "file://host/path"] {
        assert!(
            matches!(Objects::open(url), Err(ObjectsError::Url(_))),
            "{url}"
        );
    }
}
