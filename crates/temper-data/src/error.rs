//! What can be wrong with files that people put somewhere: each error names the file and says
//! what to do about it.

use std::{collections::TryReserveError, error::Error, fmt, io, path::PathBuf};

use serde::{Serialize, Serializer};
use temper_core::{Digest, ErrorKind, catalog::PinError};
use temper_hub::HubError;

/// Why images or weights cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No mirror has the file, and the hub does not give it.
    #[error(
        "`{}` lies below none of the mirror folders ({roots}), and the hub {}: put it there as the \
         hub lays it out, or name the folder that holds `models/` and `datasets/` in TEMPER_MIRROR",
        path.display(),
        if source.is_some() { "does not give it" } else { "is not asked" }
    )]
    NotFound {
        /// Path below a mirror root.
        path: PathBuf,
        /// The roots that were searched.
        roots: String,
        /// What the hub said, if it was asked.
        source: Option<Box<HubError>>,
    },
    /// A mirror has the file, but nothing says that it is that of the commit.
    #[error(
        "whether `{}` is the file of commit {commit} cannot be told: pin the entry by digest \
         (`temper catalog pin`), or fill the folder with `hf download --local-dir`",
        path.display()
    )]
    CommitUnknown {
        /// The file.
        path: PathBuf,
        /// What the job names.
        commit: String,
    },
    /// No folder root has the folder.
    #[error(
        "the dataset folder `{}` lies below none of the folder roots ({roots}): put it below one, \
         or start the worker with the folder that holds it as a folder root",
        path.display()
    )]
    FolderNotFound {
        /// Path below a folder root.
        path: PathBuf,
        /// The roots that were searched.
        roots: String,
    },
    /// The path could name something outside its root.
    #[error("`{}` is no path that a catalog may name: it must be relative, without `..`", .0.display())]
    UnsafePath(PathBuf),
    /// A symbolic link leads out of the root.
    #[error(
        "`{}` leads out of the folder root `{}`: copy what it points to, or start the worker with \
         its target as a folder root",
        path.display(), root.display()
    )]
    OutsideRoot {
        /// The link.
        path: PathBuf,
        /// The root that it leaves.
        root: PathBuf,
    },
    /// The job names a file without its digest.
    #[error("`{}` has no digest in the catalog: run `temper catalog pin`", .0.display())]
    Unpinned(PathBuf),
    /// The operating system refuses.
    #[error("cannot read `{}`: see that it is a file or folder that the worker may read", path.display())]
    Io {
        /// What was to be read.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The bytes are not those that the catalog names.
    #[error(
        "`{}` has SHA-256 {found}, but the catalog says {expected}: fetch the file again, or pin \
         it anew if the change is meant",
        path.display()
    )]
    DigestMismatch {
        /// The file, or the folder of a manifest.
        path: PathBuf,
        /// What the catalog says.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// The file is not of its format, or ends too early.
    #[error("`{}` is damaged: {reason}; fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What the decoder says, where one was at work.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The file or folder is whole, but not arranged as the catalog's entry says.
    #[error("`{}` does not fit its catalog entry: {reason}", path.display())]
    Layout {
        /// The file or folder.
        path: PathBuf,
        /// What was expected.
        reason: String,
    },
    /// One image cannot be read.
    #[error("{place} is unreadable: replace or remove it and pin the dataset anew")]
    Image {
        /// Which image.
        place: Place,
        /// Why.
        source: ImageFault,
    },
    /// A label is not among the classes.
    #[error(
        "{place} has the label {label}, which is outside 0..{classes}: correct `classes` in the \
         catalog, or the file"
    )]
    Label {
        /// Which sample.
        place: Place,
        /// Its label.
        label: i128,
        /// Number of classes that the catalog says.
        classes: u32,
    },
    /// A draw asks for more samples than there are.
    #[error(
        "{wanted} {purpose} images are wanted of dataset `{dataset}`, but {available} are left \
         ({classes}) in its {split} split: ask for fewer"
    )]
    TooFewSamples {
        /// Catalog name of the dataset.
        dataset: String,
        /// The official split: `train`, `validation` or `test`.
        split: &'static str,
        /// What they are wanted for.
        purpose: &'static str,
        /// How many are wanted; at least 1.
        wanted: usize,
        /// How many are left.
        available: usize,
        /// How many are left of each class.
        classes: String,
    },
    /// The hub has not what a catalog entry names.
    #[error(transparent)]
    Entry(#[from] PinError),
    /// The hub cannot be asked.
    #[error(transparent)]
    Hub(Box<HubError>),
    /// Settings that no image can satisfy.
    #[error("{0}")]
    Settings(String),
    /// The decoded images do not fit in memory.
    #[error(
        "{images} images of {size} x {size} pixels do not fit in memory: ask for fewer or smaller ones"
    )]
    TooLarge {
        /// Number of images.
        images: usize,
        /// Side in pixels.
        size: u32,
        /// What the allocator says.
        source: TryReserveError,
    },
    /// The disk of the pixel cache is full.
    #[error(
        "the decoded images need {needed} bytes in the cache folder `{}`, which has no room for \
         them: free some (all in it may be deleted), or name another folder in TEMPER_CACHE",
        folder.display()
    )]
    CacheFull {
        /// The folder.
        folder: PathBuf,
        /// Bytes that the images take.
        needed: u64,
        /// What the system says, if the room was gone only while they were written.
        source: Option<io::Error>,
    },
    /// The pixel cache cannot be used.
    #[error(
        "cannot use `{}` in the cache folder: see that the worker may read and write there, or \
         name another folder in TEMPER_CACHE",
        path.display()
    )]
    Cache {
        /// File or folder of the cache.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No threads to decode on.
    #[error("cannot start threads to decode images on")]
    Threads(#[source] io::Error),
    /// A split does not have the images that the catalog says it has.
    #[error(
        "dataset `{dataset}` has {found} images (split: {split}), but its catalog entry says {expected}: \
         complete its files, or correct `counts` in the catalog"
    )]
    Count {
        /// Catalog name of the dataset.
        dataset: String,
        /// `train`, `validation`, `test`, or `all` of them together.
        split: &'static str,
        /// What the catalog says.
        expected: u32,
        /// What is there.
        found: usize,
    },
}

/// Which sample of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file of its own.
    File(PathBuf),
    /// A row of a shard, counted from 0.
    Row(PathBuf, usize),
    /// An entry of an IDX file, counted from 0.
    Index(PathBuf, usize),
    /// A line of a list, counted from 1.
    Line(PathBuf, u64),
    /// Bytes that the caller gave.
    Memory,
}

/// What is wrong with one image.
#[derive(Debug, thiserror::Error)]
pub enum ImageFault {
    /// Neither JPEG, PNG nor WebP, or damaged.
    #[error("not a whole JPEG, PNG or WebP image")]
    Undecodable(#[source] Box<dyn Error + Send + Sync>),
    /// No bytes at all.
    #[error("it has no bytes")]
    Empty,
    /// A JPEG without its end, which decoders would fill up with grey.
    #[error("the JPEG data end too early")]
    Truncated,
    /// No bytes: the dataset refers to an image elsewhere.
    #[error("the image's bytes are not in the file")]
    Absent,
    /// Not a file that could be an image.
    #[error("{0} bytes are too many for an image")]
    Oversized(u64),
    /// The header promises more pixels than are decoded.
    #[error("{width} x {height} pixels are too many for an image")]
    Giant {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Too long and thin, or empty.
    #[error("a side of {width} x {height} pixels cannot be resized")]
    Shape {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The resizer refuses.
    #[error("cannot be resized")]
    Resize(#[source] Box<dyn Error + Send + Sync>),
}

impl ImageFault {
    pub(crate) fn undecodable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Undecodable(error.into())
    }
}

impl From<HubError> for DataError {
    fn from(error: HubError) -> Self {
        Self::Hub(Box::new(error))
    }
}

impl DataError {
    /// What a caller can do about it. All that is missing or damaged is `InvalidInput`, for a job
    /// fails by it on any attempt.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::Interrupted
                | io::ErrorKind::TimedOut
                | io::ErrorKind::StaleNetworkFileHandle
                | io::ErrorKind::ResourceBusy => ErrorKind::Unavailable,
                io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
                _ => ErrorKind::InvalidInput,
            },
            Self::TooLarge { .. } => ErrorKind::OutOfMemory,
            Self::Hub(error) => error.kind(),
            Self::NotFound {
                source: Some(error),
                ..
            } if error.kind() == ErrorKind::Unavailable
                || matches!(**error, HubError::DiskFull { .. }) =>
            {
                ErrorKind::Unavailable
            }
            // Of this machine, not of the job.
            Self::CacheFull { .. } | Self::Cache { .. } | Self::Threads(_) => {
                ErrorKind::Unavailable
            }
            _ => ErrorKind::InvalidInput,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// What the system says of a file or folder of the cache.
    pub(crate) fn cache(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Cache { path, source }
    }

    /// Damage that we found ourselves.
    pub(crate) fn damaged(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.into(),
            reason: reason.into(),
            source: None,
        }
    }

    /// Damage that a decoder reports.
    pub(crate) fn undecodable<E: Error + Send + Sync + 'static>(
        path: impl Into<PathBuf>,
        reason: &str,
    ) -> impl FnOnce(E) -> Self {
        let (path, reason) = (path.into(), reason.to_owned());
        move |source| Self::Damaged {
            path,
            reason,
            source: Some(Box::new(source)),
        }
    }

    pub(crate) fn layout(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Layout {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the image `{}`", path.display()),
            Self::Row(path, row) => write!(f, "row {row} of `{}`", path.display()),
            Self::Index(path, index) => write!(f, "entry {index} of `{}`", path.display()),
            Self::Line(path, line) => write!(f, "line {line} of `{}`", path.display()),
            Self::Memory => write!(f, "the given image"),
        }
    }
}
