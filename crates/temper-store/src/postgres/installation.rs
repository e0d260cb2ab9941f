//! PostgreSQL's programs, wherever the machine has them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Folder, LocalError};

/// Oldest version that the migrations are made for.
const OLDEST: u32 = 15;
/// Where Debian and its kin install each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The folder with `initdb`, `pg_ctl` and `postgres`.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    programs: PathBuf,
}

impl Installation {
    /// The installation in `wanted`, or the first that the machine offers: the one of `pg_config`,
    /// else Debian's newest.
    pub(super) fn find(wanted: Option<&Path>) -> Result<Self, LocalError> {
        let candidates = match wanted {
            Some(folder) => vec![folder.join("bin")],
            None => pg_config().into_iter().chain(debian()).collect(),
        };
        let found = candidates.iter().find_map(|programs| {
            // What leads there may lie where the server's user cannot look.
            let programs = programs.canonicalize().ok()?;
            (version(&programs)? >= OLDEST).then_some(Self { programs })
        });
        let looked_at = || {
            let names: Vec<_> = candidates
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            format!("pg_config, {DEBIAN} {}", names.join(" "))
        };
        found.ok_or_else(|| LocalError::NoInstallation {
            looked_at: looked_at(),
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Fails when the server's user cannot run the programs.
    pub(super) fn check_reachable(&self, folder: &Folder) -> Result<(), LocalError> {
        let Some(user) = folder.user() else {
            return Ok(());
        };
        let program = self.program("postgres");
        let test = folder.command("test").arg("-x").arg(&program).status();
        if test.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        Err(LocalError::Unreachable {
            user: user.name.clone(),
            path: program,
        })
    }
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(
        String::from_utf8(output.stdout).ok()?.trim_end(),
    ))
}

fn debian() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin")))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, programs)| programs).collect()
}

/// The major version, from `postgres (PostgreSQL) 15.14 (…)`; none where the set is not complete.
fn version(programs: &Path) -> Option<u32> {
    if !["initdb", "pg_ctl"]
        .iter()
        .all(|program| programs.join(program).is_file())
    {
        return None;
    }
    let output = Command::new(programs.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text.split_whitespace().nth(2)?;
    number
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}
