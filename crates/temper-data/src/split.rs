//! What every reader offers.

use std::path::{Component, Path, PathBuf};

use crate::{DataError, Place};

/// One official split of a dataset, opened: labels are known, images are read when asked for.
/// Readers only deliver bytes; they are decoded elsewhere, by several threads.
pub(crate) trait Split {
    /// `i64[n]`, each in `0..classes`.
    fn labels(&self) -> &[i64];

    /// Hands the samples `chosen` (indices into the labels, ascending) to `sink`, in order, each
    /// with its position in `chosen`. Stops at the first error, its own or the sink's.
    fn read(&self, chosen: &[usize], sink: &mut Sink<'_>) -> Result<(), DataError>;

    /// How errors name a sample.
    fn place(&self, index: usize) -> Place;
}

/// Takes the position of a sample among the chosen ones, and its image.
pub(crate) type Sink<'a> = dyn FnMut(usize, RawImage) -> Result<(), DataError> + 'a;

/// An image as a reader finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RawImage {
    /// The bytes of an image file.
    Encoded(Vec<u8>),
    /// Bare brightness, `u8[height, width]`.
    Grey {
        width: u32,
        height: u32,
        bytes: Vec<u8>,
    },
}

/// Which official split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Train,
    Validation,
    Test,
}

impl Part {
    /// Every part, in the order in which datasets without official splits count their samples.
    pub(crate) const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// A label if it is one of the classes.
pub(crate) fn label(
    value: i128,
    classes: u32,
    place: impl FnOnce() -> Place,
) -> Result<i64, DataError> {
    match i64::try_from(value) {
        Ok(label) if (0..i64::from(classes)).contains(&label) => Ok(label),
        _ => Err(DataError::Label {
            place: place(),
            label: value,
            classes,
        }),
    }
}

/// Checks that a path, which may come over the network, stays below the root it is joined to.
pub(crate) fn check_relative(path: &Path) -> Result<(), DataError> {
    let plain = |component| matches!(component, Component::Normal(_));
    let empty = path.as_os_str().is_empty();
    if empty || !path.components().all(plain) {
        return Err(DataError::UnsafePath(path.to_owned()));
    }
    Ok(())
}

/// The roots as an error names them; says which ones are not there.
pub(crate) fn listed(roots: &[PathBuf]) -> String {
    if roots.is_empty() {
        return "none is configured".to_owned();
    }
    let show = |root: &PathBuf| {
        let missing = if root.is_dir() {
            ""
        } else {
            ", which is no folder"
        };
        format!("`{}`{missing}", root.display())
    };
    roots.iter().map(show).collect::<Vec<_>>().join("; ")
}
