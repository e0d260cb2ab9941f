//! The processes: a PostgreSQL that forces to disk what it commits, and a coordinator.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command as Look,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use temper_core::access::Role;
use temper_e2e::{processes, program};
use temper_service::{
    access::Secret,
    client::{Channel, Credentials, connect},
};
use temper_store::{Store, postgres::LocalPostgres, testing::bench};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// Longest wait for the coordinator.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks whether it is there.
const PAUSE: Duration = Duration::from_millis(30);
/// Connections of our own to PostgreSQL.
const CONNECTIONS: u32 = 2;

/// What is measured. Dropping it kills the processes.
pub struct Place {
    /// The database, past the coordinator.
    pub store: Store,
    postgres: LocalPostgres,
    coordinator: Child,
    url: String,
    submitter: Secret,
    worker: Secret,
    folder: TempDir,
}

impl Place {
    /// Starts everything in a fresh folder. The coordinator is one as people run it: it logs, looks
    /// for leases that have run out, and has so many connections to PostgreSQL.
    ///
    /// # Errors
    /// When a program is not built or does not come up, or when commits would not be durable.
    pub async fn start(connections: u32) -> anyhow::Result<Self> {
        // PostgreSQL's user must be able to enter. Logs are wanted where something goes wrong.
        let folder = tempfile::Builder::new()
            .prefix("temper-bench-queue-")
            .permissions(Permissions::from_mode(0o755))
            .disable_cleanup(true)
            .tempdir()?;
        let postgres = processes::postgres(folder.path()).await?;
        let store = Store::connect(postgres.url(), CONNECTIONS).await?;
        for (name, setting) in bench::durability(&store).await? {
            ensure!(setting == "on", "{name} is {setting}, not on");
        }
        store.migrate().await?;
        let submitter = processes::token(&store, Role::Submitter).await?;
        let worker = processes::token(&store, Role::Worker).await?;
        let address = processes::free_address()?;
        let log = folder.path().join("coordinator.log");
        let mut command = Command::new(program("temper-coordinator")?);
        command
            .args(["--listen", &address.to_string()])
            .args(["--database-connections", &connections.to_string()])
            .arg("--object-store")
            .arg(format!(
                "file://{}",
                folder.path().join("objects").display()
            ))
            .env("TEMPER_DATABASE_URL", postgres.url());
        let coordinator = processes::launch(command, folder.path(), &log)?;
        let mut place = Self {
            store,
            postgres,
            coordinator,
            url: format!("http://{address}"),
            submitter,
            worker,
            folder,
        };
        place.wait_serving(&log).await?;
        Ok(place)
    }

    /// Where the processes log. Only [`Self::stop`] removes it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// URL of the database.
    pub fn database(&self) -> &str {
        self.postgres.url()
    }

    /// A connection of somebody who submits.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn submitter(&self) -> anyhow::Result<Channel> {
        let credentials = Credentials::default().with_token(self.submitter.clone());
        Ok(connect(&self.url, &credentials).await?)
    }

    /// A worker's own connection; all of them bear one token.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn worker(&self) -> anyhow::Result<Channel> {
        let credentials = Credentials::default().with_token(self.worker.clone());
        Ok(connect(&self.url, &credentials).await?)
    }

    /// The most memory that the coordinator has had resident so far, in megabytes (of 1,000,000 bytes).
    ///
    /// # Errors
    /// Where there is no `/proc`, or no coordinator any more.
    pub fn peak_memory(&self) -> anyhow::Result<f64> {
        let process = self.coordinator.id().context("the coordinator has ended")?;
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let mut lines = status.lines();
        let peak = lines.find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        let kibibytes: f64 = peak.context("no VmHWM in its status")?.trim().parse()?;
        Ok(kibibytes * 1024.0 / 1e6)
    }

    /// Stops everything, and removes what it wrote.
    ///
    /// # Errors
    /// When PostgreSQL does not stop.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.coordinator.kill().await?;
        self.store.close().await;
        self.postgres.stop().await?;
        Ok(fs::remove_dir_all(self.folder.path())?)
    }

    async fn wait_serving(&mut self, log: &Path) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !processes::serves(&self.url, &self.submitter).await {
            let ended = self.coordinator.try_wait()?;
            if ended.is_some() || Instant::now() > end {
                let log = fs::read_to_string(log).unwrap_or_default();
                bail!("the coordinator does not come up ({ended:?}): {log}");
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }
}

/// Refuses memory that looks like a disk, to which forcing something costs nothing.
///
/// # Errors
/// When the folder lies in such.
pub fn require_disk(folder: &Path) -> anyhow::Result<()> {
    let look = Look::new("stat")
        .args(["-f", "-c", "%T"])
        .arg(folder)
        .output();
    // Where there is no such `stat`, temporary folders are on disks.
    let kind = look.map(|output| output.stdout).unwrap_or_default();
    ensure!(
        !kind.starts_with(b"tmpfs"),
        "{} is in memory: set TMPDIR to a folder on a disk",
        folder.display()
    );
    Ok(())
}
