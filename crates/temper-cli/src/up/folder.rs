//! The data folder: what lies where, and that only one `temper up` uses it.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// A data folder that this process alone uses.
pub struct Folder {
    path: PathBuf,
    /// Held until this process ends, however it ends.
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing, and locks it.
    pub fn open(wanted: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = match wanted {
            Some(path) => path,
            None => default(env::var_os("XDG_DATA_HOME"), env::var_os("HOME"))?,
        };
        let failed = || format!("cannot use the data folder {}", path.display());
        let path = std::path::absolute(&path).with_context(failed)?;
        for below in ["objects", "logs", "tokens"] {
            fs::create_dir_all(path.join(below)).with_context(failed)?;
        }
        let lock = File::create(path.join("lock")).with_context(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another `temper up` is running on {}: stop it first, or give this one a folder of its own by --data",
                    path.display()
                )
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
        }
        let folder = Self { path, _lock: lock };
        // Of a predecessor that was killed.
        folder.retract();
        Ok(folder)
    }

    /// The folder itself, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where PostgreSQL keeps its cluster.
    pub fn postgres(&self) -> PathBuf {
        self.path.join("postgres")
    }

    /// Where checkpoints and models go.
    pub fn objects(&self) -> PathBuf {
        self.path.join("objects")
    }

    /// Where a token lies.
    pub fn token(&self, name: &str) -> PathBuf {
        self.path.join("tokens").join(name)
    }

    /// The log of a worker.
    pub fn log(&self, worker: u32) -> PathBuf {
        self.path.join(format!("logs/worker-{worker}.log"))
    }

    /// Says where the services are; there only while they run.
    pub fn beacon(&self) -> PathBuf {
        self.path.join("up.json")
    }

    /// Takes the beacon away.
    pub fn retract(&self) {
        // That there is none is the usual case.
        let _ = fs::remove_file(self.beacon());
    }
}

/// Replaces a file as a whole: readers see the one or the other, never a part.
pub fn replace(path: &Path, contents: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(contents.as_bytes())?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

fn default(data_home: Option<OsString>, home: Option<OsString>) -> anyhow::Result<PathBuf> {
    let given = |variable: Option<OsString>| {
        variable
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = given(data_home).or_else(|| given(home).map(|home| home.join(".local/share")));
    base.map(|base| base.join("temper"))
        .context("no home folder is known: give one by --data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_up_on_a_folder_is_refused_until_the_first_ends() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = Folder::open(Some(path.clone())).unwrap();
        let error = Folder::open(Some(path.clone()))
            .map(drop)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("another `temper up`") && error.contains("--data"),
            "{error}"
        );
        drop(first);
        assert!(Folder::open(Some(path)).is_ok());
    }

    #[test]
    fn beacon_of_a_killed_predecessor_is_taken_away() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(parent.path().to_owned())).unwrap();
        replace(&folder.beacon(), "{}").unwrap();
        drop(folder);
        let folder = Folder::open(Some(parent.path().to_owned())).unwrap();
        assert!(!folder.beacon().exists());
    }

    #[test]
    fn default_folder_follows_xdg() {
        let path = |text: &str| Some(OsString::from(text));
        assert_eq!(
            default(path("/x"), path("/home/a")).unwrap(),
            Path::new("/x/temper")
        );
        let expected = Path::new("/home/a/.local/share/temper");
        assert_eq!(
            default(path("relative"), path("/home/a")).unwrap(),
            expected
        );
        assert!(
            default(None, None)
                .unwrap_err()
                .to_string()
                .contains("--data")
        );
    }
}
