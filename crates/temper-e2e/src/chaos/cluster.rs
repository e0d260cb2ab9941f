//! Real processes, with lines between them that can be cut: PostgreSQL, coordinators, workers.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use temper_core::access::Role;
use temper_service::{
    access::Secret,
    client::{Channel, Credentials, connect},
};
use temper_store::{Store, postgres::LocalPostgres};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    sync::Mutex,
    time::{Instant, sleep},
};

use super::proxy::{Gate, Proxy, Upstream, plain};
use crate::{
    processes::{self, Trainer},
    program, signal,
};

/// Between two looks at something that cannot be waited for otherwise.
pub const PAUSE: Duration = Duration::from_millis(30);
/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(90);
const SOCKET: &str = ".s.PGSQL.5432";

/// How large a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Worker processes.
    pub workers: usize,
    /// Coordinator processes.
    pub coordinators: usize,
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// Who computes.
    pub trainer: Trainer,
}

/// The processes. Dropping it kills them.
pub struct Cluster {
    /// Who and how many.
    pub size: Size,
    /// The database, by a way of our own that nothing cuts.
    pub store: Store,
    tokens: Tokens,
    /// None while it is down.
    postgres: Mutex<Option<LocalPostgres>>,
    coordinators: Vec<Coordinator>,
    workers: Vec<Worker>,
    folder: TempDir,
}

/// By what the coordinators know whom they serve.
struct Tokens {
    submitter: Secret,
    worker: Secret,
}

/// A coordinator, with its line to PostgreSQL.
struct Coordinator {
    address: SocketAddr,
    database: Arc<Proxy>,
    process: Mutex<Child>,
}

/// A worker, with its lines to the coordinators.
pub struct Worker {
    /// What its lines let pass.
    pub gate: Gate,
    lines: Vec<Proxy>,
    /// Whoever hurts it has it for himself.
    pub life: Mutex<Life>,
}

/// One of a worker's processes after the other.
pub struct Life {
    place: usize,
    /// Which one, from 0.
    number: u32,
    process: Child,
}

impl Cluster {
    /// Starts everything in a fresh folder.
    ///
    /// # Errors
    /// When a program is not built, or does not come up.
    pub async fn start(size: Size) -> anyhow::Result<Self> {
        // PostgreSQL's user must be able to enter.
        let folder = tempfile::Builder::new()
            .prefix("temper-chaos-")
            .permissions(Permissions::from_mode(0o755))
            .disable_cleanup(true)
            .tempdir()?;
        let postgres = processes::postgres(folder.path()).await?;
        let store = Store::connect(postgres.url(), 4).await?;
        store.migrate().await?;
        let tokens = Tokens {
            submitter: processes::token(&store, Role::Submitter).await?,
            worker: processes::token(&store, Role::Worker).await?,
        };
        let socket = folder.path().join("postgres/socket").join(SOCKET);
        ensure!(socket.exists(), "PostgreSQL has no {}", socket.display());
        let mut coordinators = Vec::new();
        for place in 0..size.coordinators {
            let database = plain(Upstream::Unix(socket.clone())).await?;
            let address = processes::free_address()?;
            let process = spawn_coordinator(folder.path(), place, (address, &database), size)?;
            coordinators.push(Coordinator {
                address,
                database,
                process: Mutex::new(process),
            });
        }
        let mut cluster = Self {
            size,
            store,
            tokens,
            postgres: Mutex::new(Some(postgres)),
            coordinators,
            workers: Vec::new(),
            folder,
        };
        for place in 0..size.coordinators {
            cluster.wait_serving(place).await?;
        }
        for place in 0..size.workers {
            let worker = cluster.start_worker(place).await?;
            cluster.workers.push(worker);
        }
        Ok(cluster)
    }

    /// The coordinators' own addresses, as clients take them.
    #[must_use]
    pub fn urls(&self) -> String {
        urls(self.coordinators.iter().map(|c| c.address))
    }

    /// Where a coordinator listens, in all of its lives.
    #[must_use]
    pub fn address(&self, place: usize) -> SocketAddr {
        self.coordinators[place].address
    }

    /// A channel to whichever coordinator answers, for somebody who submits.
    ///
    /// # Errors
    /// When none does.
    pub async fn channel(&self) -> anyhow::Result<Channel> {
        let credentials = Credentials::default().with_token(self.tokens.submitter.clone());
        Ok(connect(&self.urls(), &credentials).await?)
    }

    /// The command of a client that submits, at all coordinators.
    ///
    /// # Errors
    /// When it is not built.
    pub fn client(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(program("temper")?);
        processes::shelter(command.as_std_mut());
        command
            .env("TEMPER_COORDINATOR", self.urls())
            .env("TEMPER_TOKEN", self.tokens.submitter.reveal());
        Ok(command)
    }

    /// URL of a database of the cluster, by its socket: no line of ours leads there.
    #[must_use]
    pub fn database_url(&self, name: &str) -> String {
        let socket = self.folder.path().join("postgres/socket");
        format!(
            "postgres://temper@localhost/{name}?host={}",
            socket.display()
        )
    }

    /// The object store's URL.
    #[must_use]
    pub fn objects(&self) -> String {
        processes::objects(self.folder.path())
    }

    /// A worker.
    #[must_use]
    pub fn worker(&self, place: usize) -> &Worker {
        &self.workers[place]
    }

    /// What a worker logged, over all of its lives.
    #[must_use]
    pub fn worker_log(&self, place: usize) -> String {
        read(&self.folder.path().join(format!("worker-{place}.log")))
    }

    /// What the coordinators logged.
    #[must_use]
    pub fn coordinator_logs(&self) -> Vec<String> {
        let log = |place| read(&coordinator_log(self.folder.path(), place));
        (0..self.coordinators.len()).map(log).collect()
    }

    /// Kills a worker, and starts another process in its place.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn replace_worker(&self, life: &mut Life) -> anyhow::Result<()> {
        life.process.kill().await?;
        life.number += 1;
        life.process = self.spawn_worker(life.place, life.number)?;
        Ok(())
    }

    /// Kills a coordinator by SIGKILL.
    ///
    /// # Errors
    /// When it is no longer there.
    pub async fn kill_coordinator(&self, place: usize) -> anyhow::Result<()> {
        let mut process = self.coordinators[place].process.lock().await;
        process.kill().await.context("a coordinator is gone")
    }

    /// Starts a coordinator again, and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart_coordinator(&self, place: usize) -> anyhow::Result<()> {
        let Coordinator {
            address,
            database,
            process,
        } = &self.coordinators[place];
        *process.lock().await =
            spawn_coordinator(self.folder.path(), place, (*address, database), self.size)?;
        self.wait_serving(place).await
    }

    /// Breaks a coordinator's connections to PostgreSQL.
    pub fn cut_database(&self, place: usize) {
        self.coordinators[place].database.cut();
    }

    /// Restarts PostgreSQL.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn restart_postgres(&self, crashed: bool) -> anyhow::Result<()> {
        let mut slot = self.postgres.lock().await;
        let postgres = slot.take().context("PostgreSQL is down")?;
        if crashed {
            postgres.crash().await?;
        } else {
            postgres.stop().await?;
        }
        *slot = Some(processes::postgres(self.folder.path()).await?);
        Ok(())
    }

    /// Where the processes log. It is removed by [`Self::stop`] alone, so that what went wrong can be
    /// looked into.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops everything; with `clean`, removes what it wrote.
    ///
    /// # Errors
    /// When PostgreSQL does not stop.
    pub async fn stop(self, clean: bool) -> anyhow::Result<()> {
        // Killed as they are dropped, before what they would miss.
        drop(self.workers);
        drop(self.coordinators);
        self.store.close().await;
        if let Some(postgres) = self.postgres.into_inner() {
            postgres.stop().await?;
        }
        if clean {
            fs::remove_dir_all(self.folder.path())?;
        }
        Ok(())
    }

    async fn wait_serving(&self, place: usize) -> anyhow::Result<()> {
        let Coordinator {
            address, process, ..
        } = &self.coordinators[place];
        let end = Instant::now() + PATIENCE;
        while !processes::serves(&urls([*address]), &self.tokens.submitter).await {
            let ended = process.lock().await.try_wait()?;
            if ended.is_some() || Instant::now() > end {
                let log = read(&coordinator_log(self.folder.path(), place));
                bail!("a coordinator does not come up ({ended:?}): {log}");
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn start_worker(&self, place: usize) -> anyhow::Result<Worker> {
        let (gate, mut lines) = (Gate::default(), Vec::new());
        for coordinator in &self.coordinators {
            let upstream = Upstream::Tcp(coordinator.address);
            lines.push(Proxy::start(upstream, gate.clone()).await?);
        }
        let addresses = urls(lines.iter().map(Proxy::address));
        fs::write(self.addresses_of(place), addresses)?;
        let life = Life {
            place,
            number: 0,
            process: self.spawn_worker(place, 0)?,
        };
        Ok(Worker {
            gate,
            lines,
            life: Mutex::new(life),
        })
    }

    /// The addresses of a worker's lines, which are the same in all of its lives.
    fn addresses_of(&self, place: usize) -> PathBuf {
        self.folder.path().join(format!("worker-{place}.urls"))
    }

    fn spawn_worker(&self, place: usize, number: u32) -> anyhow::Result<Child> {
        let folder = self.folder.path();
        let worker = processes::Worker {
            name: &worker_name(place, number),
            trainer: self.size.trainer,
            coordinators: &read(&self.addresses_of(place)),
            token: &self.tokens.worker,
        };
        let mut command = Command::new(self.size.trainer.program()?);
        worker.equip(&mut command, folder);
        processes::launch(command, folder, &folder.join(format!("worker-{place}.log")))
    }
}

impl Worker {
    /// Breaks every connection of it.
    pub fn cut(&self) {
        for line in &self.lines {
            line.cut();
        }
    }
}

impl Life {
    /// What the coordinator calls this process.
    #[must_use]
    pub fn name(&self) -> String {
        worker_name(self.place, self.number)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        signal(name, self.process.id().context("a worker has ended")?)
    }
}

/// No name is used twice, so that a lease tells which process holds it.
fn worker_name(place: usize, number: u32) -> String {
    format!("worker-{place}.{number}")
}

fn spawn_coordinator(
    folder: &Path,
    place: usize,
    (address, database): (SocketAddr, &Proxy),
    size: Size,
) -> anyhow::Result<Child> {
    let mut command = Command::new(program("temper-coordinator")?);
    let database = database.address();
    let coordinator = processes::Coordinator {
        listen: address,
        database: &format!("postgres://temper@{database}/temper?sslmode=disable"),
        lease: size.lease,
    };
    coordinator.equip(&mut command, folder);
    processes::launch(command, folder, &coordinator_log(folder, place))
}

fn urls(addresses: impl IntoIterator<Item = SocketAddr>) -> String {
    let urls = addresses.into_iter().map(|a| format!("http://{a}"));
    urls.collect::<Vec<_>>().join(",")
}

fn coordinator_log(folder: &Path, place: usize) -> PathBuf {
    folder.join(format!("coordinator-{place}.log"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
