//! Where real files are, and how made ones are made.

use std::{
    error::Error,
    fs,
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use image::{DynamicImage, ImageFormat, RgbImage};
use temper_core::{
    Digest, ErrorKind,
    catalog::{Catalog, Counts, DatasetEntry, Draw, File, PinnedDataset, Source},
    spec::DataSettings,
};
use temper_data::{DataError, Sources};

/// The mirror folders that `make setup` fills.
pub fn mirrors() -> Vec<PathBuf> {
    match std::env::var_os("TEMPER_MIRROR") {
        Some(folders) => std::env::split_paths(&folders).collect(),
        None => vec![workspace().join(".local/mirror")],
    }
}

/// A file of the mirror.
pub fn mirrored(relative: &str) -> anyhow::Result<PathBuf> {
    let found = mirrors()
        .into_iter()
        .map(|root| root.join(relative))
        .find(|path| path.is_file());
    found.with_context(|| format!("{relative} is not in {:?}: run `make setup`", mirrors()))
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A dataset of the built-in catalog; its files must be in the mirror.
pub fn built_in(name: &str) -> anyhow::Result<PinnedDataset> {
    let dataset = Catalog::built_in()?.dataset(name)?;
    if let Source::Idx { repository, .. } = &dataset.source {
        for file in dataset.source.files() {
            mirrored(&format!("datasets/{repository}/{}", file.path))?;
        }
    }
    Ok(dataset)
}

/// An entry pinned to the files that `sources` finds.
pub fn pinned(sources: &Sources, classes: u32, source: Source) -> anyhow::Result<PinnedDataset> {
    pinned_entry(sources, entry(classes, source))
}

/// An entry that says no more than it must.
pub fn entry(classes: u32, source: Source) -> DatasetEntry {
    DatasetEntry {
        classes,
        licence: "none".to_owned(),
        research_only: false,
        note: None,
        counts: Counts::default(),
        draw: Draw::default(),
        original: None,
        source,
    }
}

/// The entry pinned to the files that `sources` finds.
pub fn pinned_entry(sources: &Sources, entry: DatasetEntry) -> anyhow::Result<PinnedDataset> {
    let catalog = Catalog {
        datasets: [("made".to_owned(), entry)].into(),
        ..Catalog::default()
    };
    let (mut pinned, failures) = sources.pin(&catalog);
    if let Some((_, error)) = failures.into_iter().next() {
        return Err(error.into());
    }
    let entry = pinned
        .datasets
        .remove("made")
        .context("nothing was pinned")?;
    entry.pinned("made").context("it is still not pinned")
}

/// A file without a digest.
pub fn unpinned(path: &str) -> File {
    File {
        path: path.to_owned(),
        sha256: None,
    }
}

/// A file with the digest of what lies at `root`/`path` now.
pub fn pin_file(root: &Path, path: &str) -> anyhow::Result<File> {
    let sha256 = Some(Digest::of(&fs::read(root.join(path))?));
    Ok(File {
        path: path.to_owned(),
        sha256,
    })
}

/// Settings with these numbers of images.
pub fn settings(image_size: u32, train_samples: u32, validation_samples: u32) -> DataSettings {
    DataSettings {
        image_size,
        train_samples,
        validation_samples,
        split_seed: 5,
    }
}

/// A picture of one colour.
pub fn plain(colour: [u8; 3]) -> DynamicImage {
    RgbImage::from_pixel(20, 20, image::Rgb(colour)).into()
}

/// The picture's bytes in a file format.
pub fn encoded(image: &DynamicImage, format: ImageFormat) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

/// Writes a file and the folders it needs.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().context("has no parent")?)?;
    fs::write(path, bytes)?;
    Ok(())
}

/// The bytes as gzip holds them.
pub fn gzipped(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// The error of a result, which must be an input error whose message names `path`, and must not
/// repeat the message of its source.
#[track_caller]
pub fn bad_input<T>(result: Result<T, DataError>, path: &str) -> DataError {
    let Err(error) = result else {
        panic!("no error that names {path}")
    };
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    let message = error.to_string();
    assert!(message.contains(path), "`{path}` is not named: {message}");
    if let Some(source) = error.source() {
        assert!(
            !message.contains(&source.to_string()),
            "{message} repeats {source}"
        );
    }
    error
}

/// Asserts the kind of error by pattern, and shows the error otherwise.
macro_rules! assert_matches {
    ($value:expr, $pattern:pat $(if $guard:expr)?) => {
        let value = $value;
        assert!(matches!(value, $pattern $(if $guard)?), "{value:?}");
    };
}
pub(crate) use assert_matches;
