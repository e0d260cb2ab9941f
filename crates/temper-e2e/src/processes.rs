//! What is started one by one, where `temper up` would hide it: a PostgreSQL, processes, their tokens.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use temper_core::access::Role;
use temper_proto::v1::{self, sweep_service_client::SweepServiceClient};
use temper_service::{
    access::Secret,
    client::{Credentials, connect},
};
use temper_store::{
    Actor, NewToken, Store,
    postgres::{LocalPostgres, Options},
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{checkout, program};

/// Connections of each coordinator to PostgreSQL.
const CONNECTIONS: u32 = 8;
/// Longest that a coordinator may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Starts a PostgreSQL below `folder` that forces to disk what it commits.
///
/// # Errors
/// When it does not come up.
pub async fn postgres(folder: &Path) -> anyhow::Result<LocalPostgres> {
    let options = Options {
        installation: Some(checkout().join(".local/postgres")),
        ephemeral: false,
    };
    Ok(LocalPostgres::start(&folder.join("postgres"), options).await?)
}

/// Makes a token, named after its role, as a command at the database does.
///
/// # Errors
/// When the database refuses.
pub async fn token(store: &Store, role: Role) -> anyhow::Result<Secret> {
    let secret = Secret::generate()?;
    let token = NewToken::new(role.as_str(), role, secret.digest());
    let actor = Actor::at_database("temper-e2e");
    store.token_create(&actor, token).await?;
    Ok(secret)
}

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trainer {
    /// `chaos-worker`: waits so long for each epoch.
    Fake(Duration),
    /// `temper-worker`.
    Real,
}

/// How a worker is started.
#[derive(Debug, Clone, Copy)]
pub struct Worker<'a> {
    /// Its name.
    pub name: &'a str,
    /// Who computes.
    pub trainer: Trainer,
    /// Where coordinators are.
    pub coordinators: &'a str,
    /// By what they know it.
    pub token: &'a Secret,
}

/// How a coordinator is started.
#[derive(Debug, Clone, Copy)]
pub struct Coordinator<'a> {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where its database is.
    pub database: &'a str,
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
}

impl Trainer {
    /// The program.
    ///
    /// # Errors
    /// When it is not built.
    pub fn program(self) -> anyhow::Result<PathBuf> {
        program(match self {
            Self::Fake(_) => "chaos-worker",
            Self::Real => "temper-worker",
        })
    }
}

impl Worker<'_> {
    /// Gives a command that runs the trainer's program its arguments; what it caches lies below `folder`.
    pub fn equip(&self, command: &mut Command, folder: &Path) {
        match self.trainer {
            Trainer::Fake(epoch) => {
                command.args(["--epoch-millis", &epoch.as_millis().to_string()]);
            }
            Trainer::Real => {
                command.args(["run", "--stop-on-stdin-eof", "--mirror"]);
                command.arg(checkout().join(".local/mirror"));
                command.env("OMP_WAIT_POLICY", "passive");
            }
        }
        command.args(["--threads", "1", "--name", self.name]);
        command.args(["--coordinator", self.coordinators]);
        command.env("TEMPER_CACHE", folder.join("cache"));
        command.env("TEMPER_TOKEN", self.token.reveal());
    }
}

impl Coordinator<'_> {
    /// Gives a command that runs `temper-coordinator` its arguments; objects lie below `folder`.
    pub fn equip(&self, command: &mut Command, folder: &Path) {
        command.args(["--listen", &self.listen.to_string()]);
        command.args(["--database-connections", &CONNECTIONS.to_string()]);
        command.args(["--object-store", &objects(folder)]);
        command.args(["--lease-seconds", &self.lease.as_secs().to_string()]);
        // Busy, so that it would be seen if it deleted what is wanted.
        command.args(["--janitor-seconds", "1"]);
        command.env("TEMPER_DATABASE_URL", self.database);
    }
}

/// URL of the object store below a folder.
#[must_use]
pub fn objects(folder: &Path) -> String {
    format!("file://{}", folder.join("objects").display())
}

/// Starts a process that logs as JSON, sees nothing of the user's and no network, and ends with us.
///
/// # Errors
/// When it cannot be started.
pub fn launch(mut command: Command, folder: &Path, log: &Path) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    command
        .env("HF_HOME", folder.join("hub"))
        .env("HF_HUB_OFFLINE", "1")
        .env_remove("TEMPER_TOKEN_FILE")
        .env("TEMPER_LOG", "info")
        .env("TEMPER_LOG_FORMAT", "json")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    Ok(command.spawn()?)
}

/// Whether a coordinator answers from its database.
pub async fn serves(url: &str, token: &Secret) -> bool {
    let credentials = Credentials::default().with_token(token.clone());
    let answer = async {
        let channel = connect(url, &credentials).await.ok()?;
        let mut client = SweepServiceClient::new(channel);
        let request = v1::ListSweepsRequest::default();
        client.list_sweeps(request).await.ok()
    };
    let answer = timeout(ANSWER, answer).await;
    answer.is_ok_and(|answer| answer.is_some())
}

/// An address that nobody listens on: a coordinator has the same in all of its lives.
///
/// # Errors
/// When there is none.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
