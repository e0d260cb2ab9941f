//! Image folders.

use std::{fs, path::Path};

use image::ImageFormat;
use temper_core::{
    Digest,
    catalog::{Counts, Draw, Layout, PinnedDataset, Source},
};
use temper_data::{DataError, Sources};
use tempfile::TempDir;

use crate::support::{assert_matches, bad_input, encoded, pinned, plain, settings, write};

/// Below the root, `pets` with the classes `Zebra` (0) and `cat` (1): upper case sorts first.
fn made() -> anyhow::Result<TempDir> {
    let root = tempfile::tempdir()?;
    for (name, colour, format) in [
        ("train/Zebra/b.png", 2, ImageFormat::Png),
        ("train/Zebra/a.PNG", 1, ImageFormat::Png),
        ("train/cat/c.jpeg", 30, ImageFormat::Jpeg),
        ("train/cat/d.jpg", 40, ImageFormat::Jpeg),
        ("test/Zebra/e.png", 5, ImageFormat::Png),
        ("test/cat/f.png", 6, ImageFormat::Png),
    ] {
        let bytes = encoded(&plain([colour; 3]), format)?;
        write(&root.path().join("pets").join(name), &bytes)?;
    }
    for passed_over in [
        "train/Zebra/notes.txt",
        "train/.cache/x.png",
        "train/cat/._c.jpeg",
        "train/README",
    ] {
        write(&root.path().join("pets").join(passed_over), b"no image")?;
    }
    Ok(root)
}

fn sources(root: &Path) -> Sources {
    Sources::new(vec![], vec![root.join("absent"), root.to_owned()])
}

fn dataset(root: &Path) -> anyhow::Result<PinnedDataset> {
    pinned(
        &sources(root),
        2,
        Source::Folder {
            path: "pets".to_owned(),
            layout: Layout::ClassFolders,
            list: None,
            manifest: None,
        },
    )
}

/// What pinning the folder says is wrong with it.
fn fault(root: &Path, names: &str) -> anyhow::Result<DataError> {
    match dataset(root) {
        Ok(_) => anyhow::bail!("pinned"),
        Err(error) => Ok(bad_input::<()>(Err(error.downcast()?), names)),
    }
}

#[test]
fn classes_are_numbered_in_byte_order_and_images_sorted_by_name() -> anyhow::Result<()> {
    let root = made()?;
    let (sources, dataset) = (sources(root.path()), dataset(root.path())?);
    let train = sources.training(&dataset, &settings(20, 0, 0))?.train;
    assert_eq!(train.labels, [0, 0, 1, 1]);
    let colours: Vec<u8> = (0..4).map(|i| train.image(i)[0]).collect();
    assert_eq!(colours, [1, 2, 30, 40]);
    let test = sources.test(&dataset, &settings(20, 0, 0), 0)?;
    assert_eq!(
        (test.labels.as_slice(), test.image(1)[0]),
        ([0, 1].as_slice(), 6)
    );
    Ok(())
}

#[test]
fn manifest_is_the_digest_of_the_sorted_digests() -> anyhow::Result<()> {
    let root = made()?;
    let pets = root.path().join("pets");
    let names = [
        "train/Zebra/a.PNG",
        "train/Zebra/b.png",
        "train/cat/c.jpeg",
        "train/cat/d.jpg",
        "test/Zebra/e.png",
        "test/cat/f.png",
    ];
    let mut lines = Vec::new();
    for name in names {
        lines.push(format!(
            "{}  {name}\n",
            Digest::of(&fs::read(pets.join(name))?)
        ));
    }
    lines.sort();
    let expected = Digest::of(lines.concat().as_bytes());
    let Source::Folder { manifest, .. } = dataset(root.path())?.source else {
        anyhow::bail!("not a folder");
    };
    assert_eq!(manifest, Some(expected));
    Ok(())
}

#[test]
fn changed_renamed_or_added_images_are_noticed() -> anyhow::Result<()> {
    type Change = fn(&Path) -> anyhow::Result<()>;
    let changes: [Change; 4] = [
        |pets| write(&pets.join("train/cat/c.jpeg"), b"other"),
        |pets| {
            Ok(fs::rename(
                pets.join("train/cat/c.jpeg"),
                pets.join("train/cat/e.jpeg"),
            )?)
        },
        |pets| {
            Ok(fs::rename(
                pets.join("train/cat/c.jpeg"),
                pets.join("train/Zebra/c.jpeg"),
            )?)
        },
        |pets| write(&pets.join("test/cat/new.png"), b"new"),
    ];
    for change in changes {
        let root = made()?;
        let dataset = dataset(root.path())?;
        change(&root.path().join("pets"))?;
        let result = sources(root.path()).training(&dataset, &settings(20, 0, 0));
        assert_matches!(bad_input(result, "pets"), DataError::DigestMismatch { .. });
    }
    Ok(())
}

#[test]
fn unreadable_image_is_named() -> anyhow::Result<()> {
    let root = made()?;
    write(&root.path().join("pets/train/cat/c.jpeg"), b"no image")?;
    let dataset = dataset(root.path())?;
    let result = sources(root.path()).training(&dataset, &settings(20, 0, 0));
    assert_matches!(
        bad_input(result, "pets/train/cat/c.jpeg"),
        DataError::Image { .. }
    );
    Ok(())
}

#[test]
fn missing_folder_is_named_with_all_roots_searched() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let error = fault(root.path(), "pets")?;
    assert!(
        error.to_string().contains("absent`, which is no folder"),
        "{error}"
    );
    assert_matches!(error, DataError::FolderNotFound { .. });
    Ok(())
}

#[test]
fn wrong_layouts_are_named() -> anyhow::Result<()> {
    type Change = fn(&Path) -> std::io::Result<()>;
    let changes: [(Change, &str); 5] = [
        (|pets| fs::remove_dir_all(pets.join("test")), "pets/test"),
        (
            |pets| fs::rename(pets.join("test/cat"), pets.join("test/dog")),
            "different names",
        ),
        (
            |pets| fs::create_dir(pets.join("test/third")),
            "different names",
        ),
        (
            |pets| fs::create_dir(pets.join("train/cat/sub")),
            "pets/train/cat/sub",
        ),
        (
            |pets| {
                ["train", "test"]
                    .iter()
                    .try_for_each(|p| fs::create_dir(pets.join(p).join("x")))
            },
            "3 class folders, not 2",
        ),
    ];
    for (change, reason) in changes {
        let root = made()?;
        change(&root.path().join("pets"))?;
        assert_matches!(fault(root.path(), reason)?, DataError::Layout { .. });
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn links_that_leave_the_root_are_refused() -> anyhow::Result<()> {
    use std::os::unix::fs::symlink;
    let outside = made()?;
    for (link, to) in [
        ("pets/train/cat/link.png", "pets/train/Zebra/b.png"),
        ("pets/train/cat", "pets/train/cat"),
        ("pets/train", "pets/train"),
        ("pets", "pets"),
    ] {
        let root = made()?;
        let path = root.path().join(link);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        symlink(outside.path().join(to), &path)?;
        assert_matches!(fault(root.path(), link)?, DataError::OutsideRoot { .. });
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn links_within_the_root_are_followed() -> anyhow::Result<()> {
    let root = made()?;
    let pets = root.path().join("pets");
    std::os::unix::fs::symlink(pets.join("test/cat/f.png"), pets.join("train/cat/z.png"))?;
    let dataset = dataset(root.path())?;
    let train = sources(root.path())
        .training(&dataset, &settings(20, 0, 0))?
        .train;
    assert_eq!((train.len(), train.image(4)[0]), (5, 6));
    Ok(())
}

#[cfg(unix)]
#[test]
fn names_that_a_manifest_cannot_hold_are_refused() -> anyhow::Result<()> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    for name in [b"a\nb.png".as_slice(), b"\xFF.png"] {
        let root = made()?;
        fs::write(
            root.path()
                .join("pets/train/cat")
                .join(OsStr::from_bytes(name)),
            b"",
        )?;
        assert_matches!(
            fault(root.path(), "pets/train/cat")?,
            DataError::Layout { .. }
        );
    }
    Ok(())
}

#[test]
fn path_that_leaves_the_roots_is_refused() -> anyhow::Result<()> {
    let root = made()?;
    let inner = root.path().join("pets");
    let source = Source::Folder {
        path: "../pets".to_owned(),
        layout: Layout::ClassFolders,
        list: None,
        manifest: Some(Digest::of(b"")),
    };
    let dataset = PinnedDataset {
        name: "made".to_owned(),
        classes: 2,
        counts: Counts::default(),
        draw: Draw::default(),
        source,
    };
    let result = Sources::new(vec![], vec![inner]).training(&dataset, &settings(20, 0, 0));
    assert_matches!(bad_input(result, "../pets"), DataError::UnsafePath(_));
    Ok(())
}
