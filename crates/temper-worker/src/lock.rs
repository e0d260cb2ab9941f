//! One worker a device: a lock that its process holds, and what the driver tells of other users.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use temper_torch::{Device, Gpu};

use crate::config::Config;

/// `O_NOFOLLOW`, which std does not name, on the systems that libtorch runs on; elsewhere none, and the
/// folder is all that keeps links out.
const NO_FOLLOW: i32 = if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
    0o400_000
} else if cfg!(all(target_os = "linux", target_arch = "aarch64")) {
    0o100_000
} else {
    0
};

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
    /// Others could put something else in the lock's place.
    #[error(
        "locks cannot lie in {}, which {found}: name a folder that is this user's alone (chmod 700) by \
         --runtime, or one that does not exist yet", folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        found: &'static str,
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
    // Without the driver's word a number is all there is, or what it means to CUDA: in two containers it
    // may mean two devices, but they have two runtime folders then.
    Some(gpu.map_or_else(|| Gpu::name_without_driver(config.device), |gpu| gpu.uuid))
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
        make(folder).map_err(failed)?;
        ensure_private(folder, failed)?;
        let mut file = open(&path).map_err(failed)?;
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

/// Makes a folder that is this user's alone, unless something is there.
fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Refuses a folder in which others could put a link to a file of this user's, or take his locks. Below
/// the temporary folder its name can be guessed, and whoever comes first makes it.
fn ensure_private(folder: &Path, failed: impl Fn(io::Error) -> LockError) -> Result<(), LockError> {
    // Itself, not what it may lead to.
    let found = fs::symlink_metadata(folder).map_err(&failed)?;
    let complaint = if !found.is_dir() {
        "is a link, or no folder"
    } else if found.uid() != user().map_err(failed)? {
        "belongs to another user"
    } else if found.mode() & 0o077 != 0 {
        "others may use"
    } else {
        return Ok(());
    };
    Err(LockError::Folder {
        folder: folder.to_owned(),
        found: complaint,
    })
}

/// Opens the lock's file, never one that a link leads to.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(NO_FOLLOW)
        .open(path)
}

/// This process's user.
fn user() -> io::Result<u32> {
    Ok(fs::metadata("/proc/self")?.uid())
}

/// Where locks lie unless the operator says so: the user's runtime folder, else one of his below the
/// temporary folder.
pub(crate) fn default_folder() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default();
    folder_within(&runtime, &std::env::temp_dir(), user().unwrap_or_default())
}

/// The folder for `user`'s locks. Batch systems hand the variable on to machines where nobody has logged
/// in, and so nobody has made the folder: it counts where it is there, and the user's.
fn folder_within(runtime: &OsStr, temporary: &Path, user: u32) -> PathBuf {
    let found = fs::metadata(runtime);
    if found.is_ok_and(|found| found.is_dir() && found.uid() == user) {
        return Path::new(runtime).join("temper");
    }
    temporary.join(format!("temper-{user}"))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt as _, chown, symlink},
    };

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

    #[test]
    fn runtime_folder_that_is_not_there_is_left_for_the_temporary_one() {
        let temporary = tempfile::tempdir().unwrap();
        let (temporary, user) = (temporary.path(), user().unwrap());
        let within = |runtime: &Path, user| folder_within(runtime.as_os_str(), temporary, user);
        let own = temporary.join(format!("temper-{user}"));
        assert_eq!(within(&temporary.join("run/user/5"), user), own);
        assert_eq!(within(Path::new(""), user), own);

        let runtime = tempfile::tempdir().unwrap();
        assert_eq!(within(runtime.path(), user), runtime.path().join("temper"));
        let other = user + 1;
        let others = temporary.join(format!("temper-{other}"));
        assert_eq!(within(runtime.path(), other), others);
        DeviceLock::take(&own, "key", "cuda:0").unwrap();
    }

    #[test]
    fn folder_that_others_may_use_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let (open, link) = (folder.path().join("open"), folder.path().join("link"));
        DirBuilder::new().mode(0o700).create(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o711)).unwrap();
        symlink(folder.path(), &link).unwrap();
        for refused in [open, link] {
            let error = DeviceLock::take(&refused, "key", "cuda:0").unwrap_err();
            assert!(matches!(error, LockError::Folder { .. }), "{error}");
            let error = error.to_string();
            assert!(error.contains("--runtime"), "{error}");
            assert!(!refused.join("key.lock").exists(), "{error}");
        }
    }

    #[test]
    fn folder_of_another_user_is_refused() {
        let another = fs::metadata("/").unwrap();
        if another.uid() == user().unwrap() {
            // Whom all of it belongs to can make one.
            let folder = tempfile::tempdir().unwrap();
            chown(folder.path(), Some(1), None).unwrap();
            let error = DeviceLock::take(folder.path(), "key", "cuda:0").unwrap_err();
            assert!(error.to_string().contains("another user"), "{error}");
        } else {
            let error = DeviceLock::take(Path::new("/"), "key", "cuda:0").unwrap_err();
            assert!(error.to_string().contains("another user"), "{error}");
        }
    }

    #[test]
    fn link_in_the_locks_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let file = folder.path().join("precious");
        fs::write(&file, "precious").unwrap();
        symlink(&file, folder.path().join("key.lock")).unwrap();
        let error = DeviceLock::take(folder.path(), "key", "cuda:0").unwrap_err();
        assert!(error.to_string().contains("key.lock"), "{error}");
        assert_eq!(fs::read_to_string(file).unwrap(), "precious");
    }
}
