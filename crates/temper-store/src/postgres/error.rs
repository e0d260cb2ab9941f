use std::{
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
};

/// Why a local cluster does not run.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The machine has none, or none that is new enough.
    #[error("no PostgreSQL of version 15 or later was found; looked at {looked_at}")]
    NoInstallation {
        /// Where it was looked for.
        looked_at: String,
    },
    /// The unprivileged user cannot get at it.
    #[error(
        "user {user} cannot use {}; PostgreSQL refuses to run as root and has to be readable by \
         that user", path.display()
    )]
    Unreachable {
        /// The user under whom the server runs.
        user: String,
        /// What cannot be used.
        path: PathBuf,
    },
    /// Running as root, with nobody to run the server as.
    #[error("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`")]
    NoUser,
    /// Two processes would share a cluster.
    #[error("another process uses the database in {}", .0.display())]
    InUse(PathBuf),
    /// One of PostgreSQL's programs failed.
    #[error("{program} failed ({status}): {output}")]
    Program {
        /// Which one.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        output: String,
    },
    /// The server ended while it was being started.
    #[error("PostgreSQL ended at once ({status}): {log}")]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// The machine refused something.
    #[error("{what} failed")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A path of the folder cannot be used.
    #[error("cannot use {}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The server runs, but does not answer.
    #[error("PostgreSQL does not answer")]
    Database(#[from] sqlx::Error),
}

impl LocalError {
    pub(super) fn path(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Path { path, source }
    }
}
