//! A results service that is started before its database.

use std::{path::Path, time::Duration};

use temper_core::access::Role;
use temper_proto::v1::{ListPublishedRequest, results_service_client::ResultsServiceClient};
use temper_results::{Config, run};
use temper_service::{
    access::Secret,
    client::{Credentials, connect},
    server::Server,
    stop::Stop,
};
use temper_store::{
    Actor, NewToken, Store,
    postgres::{LocalPostgres, Options},
};

async fn start(folder: &Path) -> anyhow::Result<LocalPostgres> {
    let linked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.local/postgres");
    let options = Options {
        installation: linked.join("bin").is_dir().then_some(linked),
        ephemeral: false,
    };
    Ok(LocalPostgres::start(folder, options).await?)
}

#[tokio::test]
async fn database_that_is_away_is_waited_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("database");
    let down = start(&database).await?;
    let database_url = down.url().to_owned();
    down.stop().await?;
    let server = Server::bind(([127, 0, 0, 1], 0).into()).await?;
    let url = format!("http://{}", server.address());
    let config = Config {
        database_url,
        connections: 4,
    };
    let stop = Stop::new();
    let running = tokio::spawn(run(config, server, stop.clone()));

    let up = start(&database).await?;
    let secret = Secret::generate()?;
    let token = NewToken::new("ann", Role::Viewer, secret.digest());
    let store = Store::connect(up.url(), 1).await?;
    store.migrate().await?;
    store
        .token_create(&Actor::at_database("test"), token)
        .await?;
    store.close().await;
    let credentials = Credentials::default().with_token(secret);
    let mut client = ResultsServiceClient::new(connect(&url, &credentials).await?);
    let request = ListPublishedRequest::default();
    tokio::time::timeout(Duration::from_mins(1), client.list_published(request)).await??;
    stop.gracefully();
    running.await??;
    Ok(up.stop().await?)
}
