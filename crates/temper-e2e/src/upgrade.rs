//! Two releases over one database, as while a laboratory is upgraded: `docs/operations.md` says in which order.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use temper_core::access::Role;
use temper_proto::v1::sweep_service_client::SweepServiceClient;
use temper_service::{
    access::Secret,
    client::{Credentials, connect},
};
use temper_store::{Store, testing::tables};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    chaos::{
        self, Against, Settings,
        check::{Findings, Reference},
        cluster::{PATIENCE, PAUSE},
        look::Look,
    },
    processes::{self, Trainer},
    sweeps,
};

const LEASE: Duration = Duration::from_secs(5);
/// Cells of each of the two sweeps, a training and an evaluation each.
const CELLS: u64 = 3;

/// The programs of both releases.
#[derive(Debug, Clone)]
pub struct Releases {
    /// Folder of the old release's.
    pub old: PathBuf,
    /// Folder of ours.
    pub new: PathBuf,
}

/// A laboratory that is upgraded.
struct Site {
    worker: Option<Child>,
    coordinator: Option<Child>,
    address: SocketAddr,
    database: String,
    store: Store,
    folder: TempDir,
}

/// Runs a sweep by the old coordinator and a new worker, over tables that the new release has brought up to
/// date, then another one by the new coordinator and an old worker. Gives the jobs, and what is wrong: results
/// must be those of a third run of the same, which is all of the new release.
///
/// # Errors
/// When a sweep does not come to its end.
pub async fn run(releases: &Releases) -> anyhow::Result<(usize, Findings)> {
    let reference = chaos::calm(Settings {
        cells: 2 * CELLS,
        epochs: sweeps::EPOCHS,
        ..Settings::real(0)
    });
    let reference = reference.await.context("the new release by itself")?;
    let folder = tempfile::Builder::new()
        .prefix("temper-upgrade-")
        .permissions(Permissions::from_mode(0o755))
        .disable_cleanup(true)
        .tempdir()?;
    let postgres = processes::postgres(folder.path()).await?;
    let mut site = Site {
        worker: None,
        coordinator: None,
        address: processes::free_address()?,
        database: postgres.url().to_owned(),
        store: Store::connect(postgres.url(), 4).await?,
        folder,
    };
    let logs = format!("logs are in {}", site.folder.path().display());
    let done = site.work(releases, &reference).await.context(logs)?;
    let folder = site.folder.path().to_owned();
    drop(site);
    postgres.stop().await?;
    fs::remove_dir_all(folder)?;
    Ok(done)
}

impl Site {
    async fn work(
        &mut self,
        releases: &Releases,
        reference: &Reference,
    ) -> anyhow::Result<(usize, Findings)> {
        // It makes its own tables: those of its release.
        self.start_coordinator(&releases.old)?;
        self.wait_migrated().await?;
        self.store.migrate().await?;
        let worker = processes::token(&self.store, Role::Worker).await?;
        let submitter = processes::token(&self.store, Role::Submitter).await?;
        self.start_worker(&releases.new, "new", &worker)?;
        self.sweep(&submitter, 0..CELLS).await?;
        // The next ones take their places, and the address.
        for process in [&mut self.worker, &mut self.coordinator] {
            if let Some(mut old) = process.take() {
                old.kill().await?;
            }
        }
        self.start_coordinator(&releases.new)?;
        self.start_worker(&releases.old, "old", &worker)?;
        self.sweep(&submitter, CELLS..2 * CELLS).await?;
        let jobs = usize::try_from(4 * CELLS)?;
        let objects = processes::objects(self.folder.path());
        let against = Against::Run(reference);
        let (tables, findings) = chaos::judge(&self.store, &objects, jobs, against).await?;
        for worker in ["old", "new"] {
            let took_part = tables.attempts.iter().any(|a| a.worker == worker);
            ensure!(took_part, "the {worker} worker took no part");
        }
        Ok((jobs, findings))
    }

    fn start_coordinator(&mut self, programs: &Path) -> anyhow::Result<()> {
        let coordinator = processes::Coordinator {
            listen: self.address,
            database: &self.database,
            lease: LEASE,
        };
        let mut command = Command::new(programs.join("temper-coordinator"));
        coordinator.equip(&mut command, self.folder.path());
        self.coordinator = Some(self.launch(command, "coordinator.log")?);
        Ok(())
    }

    fn start_worker(&mut self, programs: &Path, name: &str, token: &Secret) -> anyhow::Result<()> {
        let worker = processes::Worker {
            name,
            trainer: Trainer::Real,
            coordinators: &format!("http://{}", self.address),
            token,
        };
        let mut command = Command::new(programs.join("temper-worker"));
        worker.equip(&mut command, self.folder.path());
        self.worker = Some(self.launch(command, &format!("{name}-worker.log"))?);
        Ok(())
    }

    fn launch(&self, command: Command, log: &str) -> anyhow::Result<Child> {
        let folder = self.folder.path();
        processes::launch(command, folder, &folder.join(log))
    }

    /// Waits for the tables.
    async fn wait_migrated(&self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while let Err(error) = tables::progress(&self.store).await {
            ensure!(
                Instant::now() < end,
                "the old coordinator makes no tables: {error}"
            );
            sleep(PAUSE).await;
        }
        // The last of its migrations may be under way: it answers when all are done.
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            ensure!(Instant::now() < end, "the old coordinator does not answer");
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Runs a sweep to its end.
    async fn sweep(
        &self,
        submitter: &Secret,
        seeds: impl Iterator<Item = u64>,
    ) -> anyhow::Result<()> {
        let url = format!("http://{}", self.address);
        let end = Instant::now() + PATIENCE;
        while !processes::serves(&url, submitter).await {
            ensure!(Instant::now() < end, "a coordinator does not serve");
            sleep(PAUSE).await;
        }
        let credentials = Credentials::default().with_token(submitter.clone());
        let mut client = SweepServiceClient::new(connect(&url, &credentials).await?);
        let before = tables::progress(&self.store).await?.succeeded;
        client.create_sweep(sweeps::tiny(seeds)).await?;
        let jobs = before + i64::try_from(2 * CELLS)?;
        Look(&self.store).wait_ended(jobs).await
    }
}
