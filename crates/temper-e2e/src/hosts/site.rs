//! A laboratory's hosts: PostgreSQL, two coordinators, a results service, workers, and a desk from which
//! somebody submits. All of them speak TLS and show tokens.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use temper_core::access::Role;
use temper_proto::{to_json, v1};
use temper_service::access::Secret;
use temper_store::Store;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::network::{Host, Network};
use crate::{
    chaos::cluster::{PATIENCE, PAUSE, Size},
    checkout, processes, program,
};

const COORDINATOR: u16 = 7070;
const RESULTS: u16 = 7071;
const DATABASE: u16 = 5432;

/// The hosts and what runs on them. Dropping it ends all of it.
pub struct Site {
    // Dropped in this order: processes first, then the hosts that they are on.
    workers: Vec<Running>,
    coordinators: Vec<Running>,
    results: Option<Running>,
    _postgres: Child,
    /// The database, by its socket: no way that leads through the network.
    pub store: Store,
    desk: Host,
    submitter: Secret,
    /// What the hosts hang on.
    pub network: Network,
    folder: TempDir,
}

/// A process on a host of its own.
struct Running {
    host: Host,
    process: Child,
}

impl Site {
    /// Sets all of it up, and waits until it serves. The last worker has a slow link; says by what.
    ///
    /// # Errors
    /// When a program is not built, or does not come up.
    pub async fn start(size: Size) -> anyhow::Result<(Self, &'static str)> {
        // PostgreSQL's user must be able to enter.
        let folder = tempfile::Builder::new()
            .prefix("temper-hosts-")
            .permissions(Permissions::from_mode(0o755))
            .disable_cleanup(true)
            .tempdir()?;
        let mut network = Network::new()?;
        let database = network.host("database")?;
        let (postgres, store) = start_postgres(&database, folder.path()).await?;
        let worker = processes::token(&store, Role::Worker).await?;
        let submitter = processes::token(&store, Role::Submitter).await?;
        let mut started = Self {
            workers: Vec::new(),
            coordinators: Vec::new(),
            results: None,
            _postgres: postgres,
            store,
            desk: network.host("desk")?,
            submitter,
            network,
            folder,
        };
        started.start_services(size, &database).await?;
        let slow = started.start_workers(size, &worker)?;
        Ok((started, slow))
    }

    /// Coordinators and the results service.
    async fn start_services(&mut self, size: Size, database: &Host) -> anyhow::Result<()> {
        let mut hosts = Vec::new();
        for place in 0..size.coordinators {
            hosts.push(self.network.host(&format!("coordinator-{place}"))?);
        }
        let results = self.network.host("results")?;
        certify(self.folder.path(), hosts.iter().chain([&results]))?;
        let url = format!(
            "postgres://temper@{}:{DATABASE}/temper?sslmode=disable",
            database.address
        );
        for host in hosts {
            let coordinator = processes::Coordinator {
                listen: SocketAddr::from((host.address, COORDINATOR)),
                database: &url,
                lease: size.lease,
            };
            let mut command = host.command(&program("temper-coordinator")?);
            coordinator.equip(&mut command, self.folder.path());
            let log = format!("coordinator-{}.log", self.coordinators.len());
            let running = self.launch(host, command, &log)?;
            self.coordinators.push(running);
        }
        let mut command = results.command(&program("temper-results")?);
        command.args(["--listen", &format!("{}:{RESULTS}", results.address)]);
        command.env("TEMPER_DATABASE_URL", &url);
        self.results = Some(self.launch(results, command, "results.log")?);
        let coordinators = self.coordinators.iter().map(|c| (c, COORDINATOR));
        for (running, port) in coordinators.chain(self.results.iter().map(|r| (r, RESULTS))) {
            self.wait_serving(&https(&running.host, port)).await?;
        }
        Ok(())
    }

    fn start_workers(&mut self, size: Size, token: &Secret) -> anyhow::Result<&'static str> {
        let mut slow = "none";
        for place in 0..size.workers {
            let name = worker_name(place);
            let host = self.network.host(&name)?;
            if place + 1 == size.workers {
                slow = self.network.slow_down(&host)?;
            }
            let worker = processes::Worker {
                name: &name,
                trainer: size.trainer,
                coordinators: &self.urls(),
                token,
            };
            let mut command = host.command(&size.trainer.program()?);
            worker.equip(&mut command, self.folder.path());
            let running = self.launch(host, command, &format!("{name}.log"))?;
            self.workers.push(running);
        }
        Ok(slow)
    }

    fn launch(&self, host: Host, mut command: Command, log: &str) -> anyhow::Result<Running> {
        let file = |name: &str| self.folder.path().join(name);
        command
            .env("TEMPER_TLS_CERT", file("server.pem"))
            .env("TEMPER_TLS_KEY", file("server.key"))
            .env("TEMPER_TLS_CA", file("ca.pem"));
        let process = processes::launch(command, self.folder.path(), &file(log))?;
        Ok(Running { host, process })
    }

    async fn wait_serving(&self, url: &str) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let asked = self.temper(&["health", "--address", url]).await;
            let Err(error) = asked else { return Ok(()) };
            let folder = self.folder.path().display();
            ensure!(
                Instant::now() < end,
                "{url} does not serve: {error}; logs are in {folder}"
            );
            sleep(PAUSE).await;
        }
    }

    /// The coordinators' addresses, as clients take them.
    fn urls(&self) -> String {
        let hosts = self.coordinators.iter().map(|running| &running.host);
        let urls: Vec<_> = hosts.map(|host| https(host, COORDINATOR)).collect();
        urls.join(",")
    }

    /// The command `temper` at the desk.
    fn desk(&self) -> anyhow::Result<Command> {
        let mut command = self.desk.command(&program("temper")?);
        processes::shelter(command.as_std_mut());
        command
            .env("TEMPER_COORDINATOR", self.urls())
            .env("TEMPER_TLS_CA", self.folder.path().join("ca.pem"))
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .env("TEMPER_TOKEN", self.submitter.reveal())
            .kill_on_drop(true);
        if let Some(results) = &self.results {
            command.env("TEMPER_RESULTS", https(&results.host, RESULTS));
        }
        Ok(command)
    }

    /// What `temper` prints at the desk.
    ///
    /// # Errors
    /// When it fails; the message is what it said.
    pub async fn temper(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.desk()?.args(arguments).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "temper {arguments:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Submits a sweep, and gives its name.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn submit(&self, request: &v1::CreateSweepRequest) -> anyhow::Result<String> {
        let path = self.folder.path().join("sweep.json");
        fs::write(&path, to_json(request)?)?;
        let name = self
            .temper(&["submit", &path.display().to_string()])
            .await?;
        Ok(name.trim().to_owned())
    }

    /// How many curves the results service has of a sweep.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn curves(&self, sweep: &str) -> anyhow::Result<u64> {
        let answer = self.temper(&["results", sweep, "--json"]).await?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        let groups = answer["groups"].as_array().into_iter().flatten();
        Ok(groups.filter_map(|group| group["count"].as_u64()).sum())
    }

    /// How many workers there are; the last one's line is slow.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The host of a worker.
    #[must_use]
    pub fn worker(&self, place: usize) -> &Host {
        &self.workers[place].host
    }

    /// What a worker logged.
    #[must_use]
    pub fn worker_log(&self, place: usize) -> String {
        self.log(&worker_name(place))
    }

    /// What the coordinators logged.
    #[must_use]
    pub fn coordinator_logs(&self) -> Vec<String> {
        let places = 0..self.coordinators.len();
        places
            .map(|place| self.log(&format!("coordinator-{place}")))
            .collect()
    }

    /// Kills the first coordinator for good; its host goes with it where `vanishes`, so that nobody is told.
    ///
    /// # Errors
    /// When it is no longer there.
    pub async fn lose_coordinator(&mut self, vanishes: bool) -> anyhow::Result<()> {
        let lost = self.coordinators.first_mut().context("no coordinator")?;
        if vanishes {
            self.network.cut(&lost.host)?;
        }
        lost.process.kill().await.context("a coordinator is gone")
    }

    /// URL of the object store, a folder that all hosts share.
    #[must_use]
    pub fn objects(&self) -> String {
        processes::objects(self.folder.path())
    }

    /// Where the processes log. It is removed by [`Self::stop`] alone.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops everything; with `clean`, removes what it wrote.
    ///
    /// # Errors
    /// When that cannot be removed.
    pub async fn stop(self, clean: bool) -> anyhow::Result<()> {
        self.store.close().await;
        let folder = self.folder.path().to_owned();
        drop(self);
        if clean {
            fs::remove_dir_all(folder)?;
        }
        Ok(())
    }

    fn log(&self, name: &str) -> String {
        let path = self.folder.path().join(format!("{name}.log"));
        fs::read_to_string(path).unwrap_or_default()
    }
}

/// What a worker is called.
#[must_use]
pub fn worker_name(place: usize) -> String {
    format!("worker-{place}")
}

fn https(host: &Host, port: u16) -> String {
    format!("https://{}:{port}", host.address)
}

/// Makes the cluster's files as local mode does, then runs its server on the host. Whoever reaches its port is
/// let in: only hosts of this run do.
async fn start_postgres(host: &Host, folder: &Path) -> anyhow::Result<(Child, Store)> {
    let local = processes::postgres(folder).await?;
    let url = local.url().to_owned();
    local.stop().await?;
    let home = folder.join("postgres");
    let data = home.join("data");
    let rules = data.join("pg_hba.conf");
    let opened = format!(
        "{}host all all samenet trust\n",
        fs::read_to_string(&rules)?
    );
    fs::write(&rules, opened)?;
    let owner = fs::metadata(&data)?;
    let programs = checkout().join(".local/postgres/bin").canonicalize()?;
    // The last to become somebody else: entering a namespace is root's.
    let mut command = host.command(Path::new("setpriv"));
    command
        .arg(format!("--reuid={}", owner.uid()))
        .arg(format!("--regid={}", owner.gid()))
        .arg("--clear-groups")
        .arg(programs.join("postgres"))
        .arg("-D")
        .arg(&data)
        .arg("-k")
        .arg(home.join("socket"))
        .args(["-c", &format!("listen_addresses={}", host.address)])
        .current_dir(&home);
    let postgres = processes::launch(command, folder, &folder.join("postgres.log"))?;
    let end = Instant::now() + PATIENCE;
    let store = loop {
        match Store::connect(&url, 4).await {
            Ok(store) => break store,
            Err(error) if Instant::now() > end => return Err(error.into()),
            Err(_) => sleep(PAUSE).await,
        }
    };
    store.migrate().await?;
    Ok((postgres, store))
}

/// An authority, and one certificate for all servers.
fn certify<'a>(folder: &Path, hosts: impl Iterator<Item = &'a Host>) -> anyhow::Result<()> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(folder.join("ca.pem"), authority.pem())?;
    let key = KeyPair::generate()?;
    let names: Vec<_> = hosts.map(|host| host.address.to_string()).collect();
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    fs::write(folder.join("server.pem"), certificate.pem())?;
    Ok(fs::write(folder.join("server.key"), key.serialize_pem())?)
}
