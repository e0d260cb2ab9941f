//! One worker a device: a lock that its process holds, and what the driver tells of other users.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use temper_torch::{Device, Gpu};

use crate::config::Config;

/// A device cannot be this process's alone.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another worker of this user has it.
    #[error(
        "{device} is taken by another worker, process {process} (it holds {}); --share-device takes it \
         all the same", path.display()
    )]
    Taken {
        /// The device.
        device: String,
        /// Whose it is.
        process: String,
        /// The lock.
        path: PathBuf,
    },
    /// The driver knows others who compute on it.
    #[error("{device} ({uuid}) is used by process {process}; --share-device takes it all the same")]
    Used {
        /// The device.
        device: String,
        /// The GPU.
        uuid: String,
        /// Who uses it.
        process: String,
    },
    /// The lock cannot be looked at.
    #[error("cannot lock {device} by {}", path.display())]
    Io {
        /// The device.
        device: String,
        /// The lock.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The lock of a device. The system takes it back with the process, however that ends.
#[derive(Debug)]
pub struct DeviceLock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Makes the worker's device its own, unless it may be shared. The processor always may.
///
/// # Errors
/// When somebody else has it.
pub fn claim(config: &Config) -> Result<Option<DeviceLock>, LockError> {
    if config.share_device {
        return Ok(None);
    }
    let device = config.device.to_string();
    let gpu = temper_torch::gpu(config.device);
    if let Some(gpu) = &gpu {
        refuse_others(&device, gpu)?;
    }
    let Some(key) = key(config, gpu) else {
        return Ok(None);
    };
    DeviceLock::take(&config.runtime_folder(), &key, &device).map(Some)
}

/// What the lock is called; none of a device that needs none.
fn key(config: &Config, gpu: Option<Gpu>) -> Option<String> {
    if let Some(key) = &config.lock_key {
        return Some(key.clone());
    }
    if config.device == Device::CPU {
        return None;
    }
    // Without the driver's word a number is all there is: in two containers it may mean two devices,
    // but they have two runtime folders then.
    Some(gpu.map_or_else(|| config.device.to_string(), |gpu| gpu.uuid))
}

/// Refuses a GPU on which others compute; this process does not yet.
fn refuse_others(device: &str, gpu: &Gpu) -> Result<(), LockError> {
    match gpu.processes.first() {
        None => Ok(()),
        Some(process) => Err(LockError::Used {
            device: device.to_owned(),
            uuid: gpu.uuid.clone(),
            process: described(*process),
        }),
    }
}

/// A process by number and, where it can be seen, name.
fn described(process: u32) -> String {
    match fs::read_to_string(format!("/proc/{process}/comm")) {
        Ok(name) => format!("{process} ({})", name.trim()),
        Err(_) => process.to_string(),
    }
}

impl DeviceLock {
    /// Takes the lock called `key` in `folder`, which is made where it is missing.
    fn take(folder: &Path, key: &str, device: &str) -> Result<Self, LockError> {
        let name: String = key
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let path = folder.join(format!("{name}.lock"));
        let failed = |source| LockError::Io {
            device: device.to_owned(),
            path: path.clone(),
            source,
        };
        let mut file = open(folder, &path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) => {
                let process = fs::read_to_string(&path).unwrap_or_default();
                return Err(LockError::Taken {
                    device: device.to_owned(),
                    process: process.trim().parse().map_or(process, described),
                    path,
                });
            }
        }
        // For whoever is refused: the lock itself is the system's.
        let told = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        told.map_err(failed)?;
        Ok(Self(file))
    }
}

/// Opens the lock's file in a folder that is this user's alone.
fn open(folder: &Path, path: &Path) -> io::Result<File> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Where locks lie unless the operator says so: the user's runtime folder, else one of his below the
/// temporary folder.
pub(crate) fn default_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        return PathBuf::from(folder).join("temper");
    }
    let user = fs::metadata("/proc/self").map_or(0, |process| process.uid());
    std::env::temp_dir().join(format!("temper-{user}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_is_held_once_tells_by_whom_and_is_free_again_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("below");
        let take = |key: &str| DeviceLock::take(&folder, key, "cuda:0");
        let first = take("GPU-1").unwrap();
        let error = take("GPU-1").unwrap_err().to_string();
        let process = std::process::id().to_string();
        assert!(error.contains(&process), "{error}");
        assert!(error.contains("--share-device"), "{error}");
        take("GPU-2").unwrap();
        drop(first);
        take("GPU-1").unwrap();
    }

    #[test]
    fn gpu_on_which_others_compute_is_refused_with_their_process() {
        let gpu = |processes| Gpu {
            uuid: "GPU-1".to_owned(),
            memory: 1 << 30,
            processes,
        };
        refuse_others("cuda:0", &gpu(vec![])).unwrap();
        let other = std::process::id();
        let error = refuse_others("cuda:0", &gpu(vec![other])).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(&format!("process {other} (")), "{error}");
        assert!(error.contains("GPU-1"), "{error}");
    }

    #[test]
    fn folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DeviceLock::take(&file.path().join("below"), "key", "cuda:0").unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
    }
}
