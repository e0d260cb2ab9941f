//! A PostgreSQL cluster of one's own in a folder, for local mode and for tests: found on the
//! machine, initialised, started, and never left behind.
//!
//! The server listens on a socket in a private folder and on no port, so that nobody else on the
//! machine can connect and no password is needed. `PostgreSQL` refuses to run as root: root's
//! clusters belong to the user `postgres` or `nobody`. A shell watches a pipe from this process and
//! stops the server when the pipe closes, however this process ends.

mod error;
mod folder;
mod installation;
mod server;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, ChildStdin},
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

pub use error::LocalError;
use folder::Folder;
use installation::Installation;

/// Name of the database, and of its one user.
const NAME: &str = "temper";
/// Longest recovery after a crash that is waited for.
const START_LIMIT: Duration = Duration::from_mins(2);
/// Longest orderly stop that is waited for.
const STOP_LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// How a cluster is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Folder of a PostgreSQL installation, which has `bin/postgres`; one of the machine's when
    /// absent.
    pub installation: Option<PathBuf>,
    /// The cluster need not survive anything: nothing is forced to disk, and its folder is removed
    /// when it stops.
    pub ephemeral: bool,
}

/// A running cluster. Dropping it stops it, but does not wait for that.
#[derive(Debug)]
pub struct LocalPostgres {
    url: String,
    watcher: Child,
    /// Closing it stops the server.
    pipe: Option<ChildStdin>,
    installation: Installation,
    folder: Folder,
    /// Held for as long as this process uses the folder.
    _lock: File,
}

impl LocalPostgres {
    /// Starts the cluster in `folder`, which it makes if need be and which is the cluster's alone
    /// from then on. A server that an earlier process left behind in it is stopped first.
    ///
    /// # Errors
    /// When no PostgreSQL of version 15 or later is found, when another process uses the folder,
    /// or when the server does not start.
    pub async fn start(folder: &Path, options: Options) -> Result<Self, LocalError> {
        let (folder, ephemeral) = (folder.to_owned(), options.ephemeral);
        let mut started = spawn_blocking(move || Self::launch(&folder, &options))
            .await
            .map_err(|error| LocalError::Io {
                what: "starting PostgreSQL",
                source: error.into(),
            })??;
        started.wait_ready().await?;
        tracing::debug!(url = started.url, ephemeral, "PostgreSQL runs");
        Ok(started)
    }

    /// URL of its database, `postgres://…`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be stopped.
    pub async fn stop(mut self) -> Result<(), LocalError> {
        drop(self.pipe.take());
        let end = Instant::now() + STOP_LIMIT;
        while self.exit_status()?.is_none() {
            if Instant::now() > end {
                tracing::warn!("PostgreSQL does not stop; it is told to drop everything");
                return server::halt(&self.installation, &self.folder, "immediate");
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Makes the server drop everything, as a crash would: the next start recovers what was committed.
    ///
    /// # Errors
    /// When it cannot be stopped.
    #[cfg(feature = "testing")]
    pub async fn crash(mut self) -> Result<(), LocalError> {
        server::halt(&self.installation, &self.folder, "immediate")?;
        // The watcher ends after the server.
        while self.exit_status()?.is_none() {
            sleep(PAUSE).await;
        }
        Ok(())
    }

    fn launch(folder: &Path, options: &Options) -> Result<Self, LocalError> {
        let installation = Installation::find(options.installation.as_deref())?;
        let (folder, lock) = Folder::claim(folder)?;
        installation.check_reachable(&folder)?;
        server::initialise(&installation, &folder, options.ephemeral)?;
        if server::runs(&installation, &folder)? {
            tracing::info!("stopping a PostgreSQL that an earlier process left behind");
            server::halt(&installation, &folder, "fast")?;
        }
        let mut watcher = server::launch(&installation, &folder, options.ephemeral)?;
        let pipe = watcher.stdin.take();
        let url = folder.url(NAME);
        Ok(Self {
            url,
            watcher,
            pipe,
            installation,
            folder,
            _lock: lock,
        })
    }

    /// Waits until the server answers, and makes the database the first time.
    async fn wait_ready(&mut self) -> Result<(), LocalError> {
        let options: PgConnectOptions = self.folder.url("postgres").parse()?;
        let options = options.disable_statement_logging();
        let end = Instant::now() + START_LIMIT;
        let mut connection = loop {
            match PgConnection::connect_with(&options).await {
                Ok(connection) => break connection,
                Err(error) if Instant::now() > end => return Err(error.into()),
                Err(_) => {}
            }
            if let Some(status) = self.exit_status()? {
                return Err(LocalError::Exited {
                    status,
                    log: self.folder.log_tail(),
                });
            }
            sleep(PAUSE).await;
        };
        let found = sqlx::query("SELECT FROM pg_database WHERE datname = 'temper'")
            .fetch_optional(&mut connection)
            .await?;
        if found.is_none() {
            sqlx::query("CREATE DATABASE temper")
                .execute(&mut connection)
                .await?;
        }
        connection.close().await?;
        Ok(())
    }

    fn exit_status(&mut self) -> Result<Option<std::process::ExitStatus>, LocalError> {
        let status = self.watcher.try_wait();
        status.map_err(|source| LocalError::Io {
            what: "waiting for PostgreSQL",
            source,
        })
    }
}
