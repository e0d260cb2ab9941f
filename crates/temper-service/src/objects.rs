//! The object store: checkpoints and trained models, written once and read back verified.

use std::{env, sync::Arc};

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _, stream};
use object_store::{
    ClientConfigKey, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    path::Path,
    prefix::PrefixStore,
};
use temper_core::{Digest, DigestBuilder, ErrorKind};
use url::Url;

/// Bytes a piece of a streamed read: well under gRPC's default message limit of 4 MiB.
const PIECE: u64 = 1 << 20;
/// How long a request to a bucket may take in all, from the connection to the last byte.
const TIMEOUT: AmazonS3ConfigKey = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);

/// An object store: a folder or an S3 bucket. Clones share it.
#[derive(Debug, Clone)]
pub struct Objects {
    /// For whole objects, which take their time.
    store: Arc<dyn ObjectStore>,
    /// The same for what is small: where no answer comes soon, none will.
    brisk: Arc<dyn ObjectStore>,
}

/// What was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Path in the store.
    pub path: String,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The URL names no store.
    #[error("`{0}` names no object store: file:///folder or s3://bucket/prefix is wanted")]
    Url(String),
    /// The store's folder cannot be made, or its settings are wrong.
    #[error("the object store {url} cannot be opened")]
    Open {
        /// Which.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something else lies there already.
    #[error("`{path}` is in the object store already, with other bytes")]
    Differs {
        /// Where.
        path: String,
    },
    /// Nothing lies there.
    #[error("`{path}` is missing from the object store")]
    Missing {
        /// Where.
        path: String,
    },
    /// What lies there is not what was put.
    #[error("`{path}` in the object store is damaged: {found}, expected {expected}")]
    Torn {
        /// Where.
        path: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The store does not answer, or refuses.
    #[error("the object store failed on `{path}`")]
    Store {
        /// Where.
        path: String,
        /// Why.
        source: object_store::Error,
    },
}

impl ObjectsError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Url(_) => ErrorKind::InvalidInput,
            Self::Open { .. } | Self::Store { .. } => ErrorKind::Unavailable,
            Self::Differs { .. } => ErrorKind::AlreadyExists,
            Self::Missing { .. } => ErrorKind::NotFound,
            Self::Torn { .. } => ErrorKind::FailedPrecondition,
        }
    }
}

/// Where the checkpoint of `step` goes, of the job with `key` under the lease with `fence`.
#[must_use]
pub fn checkpoint_path(key: &Digest, fence: i64, step: u64) -> String {
    format!("{key}/{fence}/{step}")
}

/// Where the trained model goes, likewise.
#[must_use]
pub fn artifact_path(key: &Digest, fence: i64) -> String {
    format!("{key}/{fence}/model.safetensors")
}

/// Where the model of the best epoch goes, beside the trained one.
#[must_use]
pub fn best_path(key: &Digest, fence: i64) -> String {
    format!("{key}/{fence}/best.safetensors")
}

impl Objects {
    /// Opens the store at `url`: a folder (`file:///…`, made when missing) or a bucket
    /// (`s3://bucket/prefix`; credentials and endpoint from the usual `AWS_*` variables).
    ///
    /// # Errors
    /// When the URL names no store, or the store cannot be opened.
    pub fn open(url: &str) -> Result<Self, ObjectsError> {
        let parsed = Url::parse(url).map_err(|_| ObjectsError::Url(url.to_owned()))?;
        match parsed.scheme() {
            "file" => open_folder(&parsed),
            "s3" => open_bucket(&parsed),
            _ => Err(ObjectsError::Url(url.to_owned())),
        }
    }

    /// Puts `bytes` at `path` unless something lies there; the same bytes lying there is success,
    /// so that a put can be repeated.
    ///
    /// # Errors
    /// When other bytes lie there, or the store fails.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<Stored, ObjectsError> {
        let size = bytes.len() as u64;
        let (bytes, sha256) = digested(bytes).await;
        let stored = Stored {
            path: path.to_owned(),
            sha256,
            size,
        };
        let options = PutOptions::from(PutMode::Create);
        match self
            .store
            .put_opts(&parse(path)?, bytes.into(), options)
            .await
        {
            Ok(_) => Ok(stored),
            Err(object_store::Error::AlreadyExists { .. }) => {
                match self.get(path, sha256, size).await {
                    Ok(_) => Ok(stored),
                    Err(ObjectsError::Torn { path, .. }) => Err(ObjectsError::Differs { path }),
                    Err(error) => Err(error),
                }
            }
            Err(source) => Err(failed(path, source)),
        }
    }

    /// The bytes at `path`, verified.
    ///
    /// # Errors
    /// When nothing lies there, or not `size` bytes with the digest `expected`.
    pub async fn get(
        &self,
        path: &str,
        expected: Digest,
        size: u64,
    ) -> Result<Bytes, ObjectsError> {
        let result = self
            .store
            .get(&parse(path)?)
            .await
            .map_err(|error| failed(path, error))?;
        check_size(path, result.meta.size, size)?;
        let bytes = result.bytes().await.map_err(|error| failed(path, error))?;
        let (bytes, found) = digested(bytes).await;
        check_digest(path, found, expected)?;
        Ok(bytes)
    }

    /// Deletes what lies at `path`; nothing lying there is success, so that it can be repeated.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, path: &str) -> Result<(), ObjectsError> {
        match self.brisk.delete(&parse(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed(path, source)),
        }
    }

    /// The bytes at `path` in pieces of at most a mebibyte. The digest is known only at the end:
    /// where it is not `expected`, the stream ends with an error.
    ///
    /// # Errors
    /// As [`Self::get`]: at once when the object is missing or has another size.
    pub async fn read(
        &self,
        path: &str,
        expected: Digest,
        size: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, ObjectsError>> + Send + use<>, ObjectsError> {
        let location = parse(path)?;
        let meta = self
            .brisk
            .head(&location)
            .await
            .map_err(|error| failed(path, error))?;
        check_size(path, meta.size, size)?;
        let (store, path) = (Arc::clone(&self.brisk), path.to_owned());
        let start = (0, DigestBuilder::default());
        Ok(stream::try_unfold(start, move |(offset, mut digest)| {
            let (store, path, location) = (Arc::clone(&store), path.clone(), location.clone());
            async move {
                if offset == size {
                    check_digest(&path, digest.finish(), expected)?;
                    return Ok(None);
                }
                let end = size.min(offset + PIECE);
                let piece = store
                    .get_range(&location, offset..end)
                    .await
                    .map_err(|error| failed(&path, error))?;
                digest.update(&piece);
                Ok(Some((piece, (end, digest))))
            }
        })
        .into_stream())
    }
}

fn open_folder(url: &Url) -> Result<Objects, ObjectsError> {
    let failed = |source| ObjectsError::Open {
        url: url.to_string(),
        source,
    };
    let folder = url
        .to_file_path()
        .map_err(|()| ObjectsError::Url(url.to_string()))?;
    std::fs::create_dir_all(&folder).map_err(|error| failed(error.into()))?;
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| failed(error.into()))?;
    // A registered checkpoint must still be there after a power cut.
    let store: Arc<dyn ObjectStore> = Arc::new(store.with_fsync(true));
    Ok(Objects {
        brisk: Arc::clone(&store),
        store,
    })
}

fn open_bucket(url: &Url) -> Result<Objects, ObjectsError> {
    let prefix = Path::from_url_path(url.path()).map_err(|_| ObjectsError::Url(url.to_string()))?;
    let open = |bucket: AmazonS3Builder| -> Result<Arc<dyn ObjectStore>, ObjectsError> {
        let store = bucket.build().map_err(|error| ObjectsError::Open {
            url: url.to_string(),
            source: error.into(),
        })?;
        Ok(Arc::new(PrefixStore::new(store, prefix.clone())))
    };
    let bucket = AmazonS3Builder::from_env().with_url(url.as_str());
    let patient = patient(bucket.clone(), env::var_os("AWS_TIMEOUT").is_some());
    Ok(Objects {
        store: open(patient)?,
        brisk: open(bucket)?,
    })
}

/// A bucket whose requests may take an hour, unless it was said how long. In the 30 s that they have
/// otherwise, a checkpoint of a gigabyte has to move at 34 MB/s, and what does not is begun anew. Who asks is
/// bounded by a lease, and a host that is gone is noticed by TCP.
fn patient(bucket: AmazonS3Builder, is_said: bool) -> AmazonS3Builder {
    if is_said {
        bucket
    } else {
        bucket.with_config(TIMEOUT, "1h")
    }
}

fn parse(path: &str) -> Result<Path, ObjectsError> {
    Path::parse(path).map_err(|source| failed(path, source.into()))
}

/// Digests off the async threads: a checkpoint takes a fraction of a second.
async fn digested(bytes: Bytes) -> (Bytes, Digest) {
    let copy = bytes.clone();
    let digest = tokio::task::spawn_blocking(move || Digest::of(&copy)).await;
    // The blocking task neither panics nor is cancelled, except while the runtime shuts down.
    let digest = digest.unwrap_or_else(|_| Digest::of(&bytes));
    (bytes, digest)
}

fn check_size(path: &str, found: u64, expected: u64) -> Result<(), ObjectsError> {
    torn_unless(found == expected, path, || {
        (format!("{found} bytes"), format!("{expected} bytes"))
    })
}

fn check_digest(path: &str, found: Digest, expected: Digest) -> Result<(), ObjectsError> {
    torn_unless(found == expected, path, || {
        (format!("SHA-256 {found}"), expected.to_string())
    })
}

fn torn_unless(
    whole: bool,
    path: &str,
    words: impl FnOnce() -> (String, String),
) -> Result<(), ObjectsError> {
    if whole {
        return Ok(());
    }
    let (found, expected) = words();
    Err(ObjectsError::Torn {
        path: path.to_owned(),
        found,
        expected,
    })
}

fn failed(path: &str, source: object_store::Error) -> ObjectsError {
    let path = path.to_owned();
    match source {
        object_store::Error::NotFound { .. } => ObjectsError::Missing { path },
        source => ObjectsError::Store { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_objects_have_an_hour_unless_it_was_said_how_long() {
        let bucket = || AmazonS3Builder::new().with_config(TIMEOUT, "7s");
        let timeout = |bucket: &AmazonS3Builder| bucket.get_config_value(&TIMEOUT);
        assert_eq!(timeout(&patient(bucket(), false)).unwrap(), "1h");
        let said = patient(bucket(), true);
        assert_eq!(timeout(&said).unwrap(), "7s");
    }
}
