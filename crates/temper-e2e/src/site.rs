//! One coordinator over a PostgreSQL of its own, and workers that a test starts as an operator would:
//! with options of its choice, and nobody who replaces them.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use temper_core::access::Role;
use temper_proto::v1::{self, sweep_service_client::SweepServiceClient};
use temper_service::{
    access::Secret,
    client::{Credentials, connect},
};
use temper_store::{
    Store,
    postgres::LocalPostgres,
    testing::tables::{ObjectRecord, Tables},
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{checkout, processes, program, signal};

/// Between two looks at something that cannot be waited for otherwise.
const PAUSE: Duration = Duration::from_millis(30);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(3);

/// The processes. Dropping it kills them.
pub struct Site {
    /// The database, by a way of our own.
    pub store: Store,
    /// URL of the coordinator.
    pub url: String,
    coordinator: Child,
    submitter: Secret,
    postgres: LocalPostgres,
    folder: TempDir,
}

/// A worker's process, or a supervisor of several. Dropping it kills it.
pub struct Hand {
    process: Child,
    log: PathBuf,
}

impl Site {
    /// Starts a PostgreSQL and a coordinator whose leases last so long.
    ///
    /// # Errors
    /// When a program is not built, or does not come up.
    pub async fn start(lease: Duration) -> anyhow::Result<Self> {
        Self::start_with(lease, &[]).await
    }

    /// The same with a coordinator that finds this in its environment too.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(
        lease: Duration,
        environment: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        // PostgreSQL's user must be able to enter.
        let folder = tempfile::Builder::new()
            .prefix("temper-site-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()?;
        let postgres = processes::postgres(folder.path()).await?;
        let store = Store::connect(postgres.url(), 4).await?;
        store.migrate().await?;
        let submitter = processes::token(&store, Role::Submitter).await?;
        let worker = processes::token(&store, Role::Worker).await?;
        let token = folder.path().join("worker.token");
        fs::write(&token, worker.reveal())?;
        fs::set_permissions(&token, Permissions::from_mode(0o600))?;
        let address = processes::free_address()?;
        let url = format!("http://{address}");
        let mut command = Command::new(program("temper-coordinator")?);
        command.args(["--listen", &address.to_string()]);
        command.args(["--lease-seconds", &lease.as_secs().to_string()]);
        let objects = folder.path().join("objects");
        command.arg("--object-store");
        command.arg(format!("file://{}", objects.display()));
        command.env("TEMPER_DATABASE_URL", postgres.url());
        for (name, value) in environment {
            command.env(name, value);
        }
        let log = folder.path().join("coordinator.log");
        let coordinator = processes::launch(command, folder.path(), &log)?;
        let mut site = Self {
            store,
            url,
            coordinator,
            submitter,
            postgres,
            folder,
        };
        site.wait_serving().await?;
        Ok(site)
    }

    async fn wait_serving(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !processes::serves(&self.url, &self.submitter).await {
            let ended = self.coordinator.try_wait()?;
            if ended.is_some() || Instant::now() > end {
                let log = read(&self.folder.path().join("coordinator.log"));
                bail!("the coordinator does not come up ({ended:?}): {log}");
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Where the processes log, and whatever a test puts beside.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// URL of the database, for another process that reads it.
    #[must_use]
    pub fn database(&self) -> &str {
        self.postgres.url()
    }

    /// Submits a sweep; says its name.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn submit(&self, request: v1::CreateSweepRequest) -> anyhow::Result<String> {
        let credentials = Credentials::default().with_token(self.submitter.clone());
        let channel = connect(&self.url, &credentials).await?;
        let mut client = SweepServiceClient::new(channel);
        Ok(client.create_sweep(request).await?.into_inner().name)
    }

    /// The command of a worker at this site, to be given further options.
    ///
    /// # Errors
    /// When it is not built.
    pub fn worker(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(program("temper-worker")?);
        command.arg("run").args(["--coordinator", &self.url]);
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        Ok(command)
    }

    /// What workers of this site find in their environment.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 6] {
        let path = |path: PathBuf| path.display().to_string();
        let folder = self.folder.path();
        [
            ("TEMPER_COORDINATOR", self.url.clone()),
            ("TEMPER_TOKEN_FILE", path(folder.join("worker.token"))),
            ("TEMPER_MIRROR", path(checkout().join(".local/mirror"))),
            ("TEMPER_CACHE", path(folder.join("cache"))),
            ("OMP_WAIT_POLICY", "passive".to_owned()),
            ("HF_HUB_OFFLINE", "1".to_owned()),
        ]
    }

    /// Starts a worker, which logs as JSON.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_worker(&self, name: &str, command: Command) -> anyhow::Result<Hand> {
        let log = self.folder.path().join(format!("{name}.log"));
        let mut command = command;
        let token = self.folder.path().join("worker.token");
        command
            .args(["--name", name])
            .arg("--token-file")
            .arg(token);
        let process = processes::launch(command, self.folder.path(), &log)?;
        Ok(Hand { process, log })
    }

    /// Looks at the tables until they are as wanted.
    ///
    /// # Errors
    /// When they never are.
    pub async fn wait_tables(&self, wanted: impl Fn(&Tables) -> bool) -> anyhow::Result<Tables> {
        let end = Instant::now() + PATIENCE;
        loop {
            let tables = Tables::read(&self.store).await?;
            if wanted(&tables) {
                return Ok(tables);
            }
            ensure!(Instant::now() < end, "they never are: {tables:?}");
            sleep(PAUSE).await;
        }
    }

    /// Stops the coordinator in its tracks (SIGSTOP): it holds its connections and answers nothing.
    ///
    /// # Errors
    /// When it has ended.
    pub fn hang_coordinator(&self) -> anyhow::Result<()> {
        let process = self.coordinator.id();
        signal("STOP", process.context("the coordinator has ended")?)
    }

    /// Ends it all.
    ///
    /// # Errors
    /// When PostgreSQL does not stop.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.coordinator.kill().await?;
        self.store.close().await;
        self.postgres.stop().await?;
        Ok(())
    }
}

impl Hand {
    /// Its process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.process.id().context("the worker has ended")
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        signal(name, self.id()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        match timeout(limit, self.process.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("it did not end within {limit:?}: {}", self.log()),
        }
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Waits until it, or a worker under it, has logged so often of something.
    ///
    /// # Errors
    /// When it never does, or ends first.
    pub async fn wait_logged(&mut self, times: usize, text: &str) -> anyhow::Result<()> {
        let is_logged = |log: &str| log.matches(text).count() >= times;
        let waited = self.wait_log(is_logged).await;
        waited.with_context(|| format!("no `{text}`"))
    }

    /// Looks at its log until that is as wanted.
    ///
    /// # Errors
    /// When it never is, or the worker ends first.
    pub async fn wait_log(&mut self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            // Before the look: what is logged last of all is read then.
            let ended = self.process.try_wait()?;
            let log = self.log();
            if wanted(&log) {
                return Ok(());
            }
            let waits = ended.is_none() && Instant::now() < end;
            ensure!(waits, "the log is not as wanted ({ended:?}): {log}");
            sleep(PAUSE).await;
        }
    }
}

/// Optimiser steps done at a checkpoint: the last part of its path.
#[must_use]
pub fn step(checkpoint: &ObjectRecord) -> u64 {
    let last = checkpoint.path.rsplit('/').next();
    last.and_then(|step| step.parse().ok()).unwrap_or_default()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
