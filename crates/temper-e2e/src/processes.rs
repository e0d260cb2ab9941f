//! What is started one by one, where `temper up` would hide it: a PostgreSQL, processes, their tokens.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::Path,
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

use crate::checkout;

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
