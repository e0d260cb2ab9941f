//! What is started one by one, where `temper up` would hide it: a PostgreSQL, processes, their tokens.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
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
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{checkout, program};

/// Connections of each coordinator to PostgreSQL.
const CONNECTIONS: u32 = 8;
/// Longest that a coordinator may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two looks at processes that are not ours to wait for.
const PAUSE: Duration = Duration::from_millis(30);
/// What the variables begin with that say something to programs of Temper's.
const VARIABLES: [&str; 2] = ["TEMPER_", "OTEL_"];
/// Where the system keeps the ports that it gives to whoever asks for any.
const GIVEN_OUT: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// The first of them where it does not say.
const FIRST_GIVEN_OUT: u16 = 32_768;
/// The lowest port that we take; below are those of well-known services.
const LOWEST: u16 = 20_000;

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
    shelter(command.as_std_mut());
    command
        .env("HF_HOME", folder.join("hub"))
        .env("HF_HUB_OFFLINE", "1")
        .env("TEMPER_LOG", "info")
        .env("TEMPER_LOG_FORMAT", "json")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    Ok(command.spawn()?)
}

/// Keeps from a process what our own environment says to programs of Temper's: the user's database, token,
/// devices or log are not the test's. What the command sets by itself stays, be it before this or after.
pub fn shelter(command: &mut std::process::Command) {
    let ours = std::env::vars_os().map(|(name, _)| name);
    shelter_from(command, ours);
}

fn shelter_from(command: &mut std::process::Command, ours: impl Iterator<Item = OsString>) {
    let own = command.get_envs().map(|(name, _)| name.to_owned());
    let own: HashSet<OsString> = own.collect();
    for name in ours {
        let bytes = name.as_encoded_bytes();
        let mut prefixes = VARIABLES.iter();
        let is_heard = prefixes.any(|prefix| bytes.starts_with(prefix.as_bytes()));
        if is_heard && !own.contains(&name) {
            command.env_remove(&name);
        }
    }
}

/// Whether a process has ended. One that nobody has waited for yet has; whoever takes up orphans may take
/// its time.
#[must_use]
pub fn has_ended(process: u32) -> bool {
    let Ok(facts) = fs::read_to_string(format!("/proc/{process}/stat")) else {
        return true;
    };
    let state = facts.rsplit(") ").next();
    state.is_some_and(|state| state.starts_with('Z'))
}

/// Waits until all of these processes have ended.
///
/// # Errors
/// When one lives for longer than `limit`.
pub async fn wait_ended(processes: &[u32], limit: Duration) -> anyhow::Result<()> {
    let ended = async {
        while !processes.iter().all(|process| has_ended(*process)) {
            sleep(PAUSE).await;
        }
    };
    timeout(limit, ended)
        .await
        .with_context(|| format!("some of {processes:?} live on"))
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

/// An address that nobody listens on: a coordinator has the same in all of its lives. Nobody is given it
/// by chance before or between them, as far as the machine leaves such ports.
///
/// # Errors
/// When there is none.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let given_out = fs::read_to_string(GIVEN_OUT).ok();
    let ports = LOWEST..given_out.as_deref().map_or(FIRST_GIVEN_OUT, first_port);
    let count = u128::try_from(ports.len())?.max(1);
    // Not all in one order: others look for a port in this moment.
    let skipped = usize::try_from(Uuid::new_v4().as_u128() % count)?;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let port = ports.clone().skip(skipped).chain(ports).find(free);
    if let Some(port) = port {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The first port of a range as the system writes it.
fn first_port(range: &str) -> u16 {
    let first = range.split_whitespace().next();
    let first = first.and_then(|port| port.parse().ok());
    first.unwrap_or(FIRST_GIVEN_OUT)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn ports_are_taken_from_below_those_that_are_given_out() {
        assert_eq!(first_port("32768\t60999\n"), 32_768);
        assert_eq!(first_port("1024\t65535\n"), 1024);
        assert_eq!(first_port(""), FIRST_GIVEN_OUT);
        let address = free_address().unwrap();
        assert!(TcpListener::bind(address).is_ok(), "{address}");
    }

    #[test]
    fn process_that_has_ended_is_told_from_one_that_lives() {
        assert!(!has_ended(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let zombie = child.id();
        while !has_ended(zombie) {
            std::thread::sleep(PAUSE);
        }
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn command_keeps_its_own_variables_and_gets_none_of_ours() {
        let mut command = std::process::Command::new("true");
        command.env("TEMPER_LOG", "warn");
        let ours = ["TEMPER_LOG", "TEMPER_DEVICES", "OTEL_SERVICE_NAME", "PATH"];
        shelter_from(&mut command, ours.into_iter().map(OsString::from));
        let said: Vec<_> = command
            .get_envs()
            .map(|(name, value)| (name.to_str(), value.and_then(OsStr::to_str)))
            .collect();
        let expected = [
            (Some("OTEL_SERVICE_NAME"), None),
            (Some("TEMPER_DEVICES"), None),
            (Some("TEMPER_LOG"), Some("warn")),
        ];
        assert_eq!(said, expected);
    }
}
