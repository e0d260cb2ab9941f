//! Who may ask a real results service, by the tokens in its database.

use anyhow::{Context as _, ensure};
use temper_core::access::Role;
use temper_proto::v1::{
    AggregateCurvesRequest, GetCurveRequest, results_service_client::ResultsServiceClient,
};
use temper_results::{Config, run};
use temper_service::{
    access::Secret,
    client::{Credentials, connect},
    server::Server,
    stop::Stop,
};
use temper_store::{Actor, NewToken, testing::Database};
use tonic::Code;

async fn credentials(database: &Database, role: Role) -> anyhow::Result<Credentials> {
    let secret = Secret::generate()?;
    let token = NewToken::new(role.as_str(), role, secret.digest());
    let actor = Actor::at_database("test");
    database.store().token_create(&actor, token).await?;
    Ok(Credentials::default().with_token(secret))
}

#[tokio::test]
async fn readers_are_answered_and_workers_and_strangers_refused() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let server = Server::bind("127.0.0.1:0".parse()?).await?;
    let (url, stop) = (format!("http://{}", server.address()), Stop::new());
    let config = Config {
        database_url: database.url().to_owned(),
        connections: 2,
    };
    let running = tokio::spawn(run(config, server, stop.clone()));
    let mut callers = vec![(Credentials::default(), Code::Unauthenticated)];
    for (role, expected) in [
        (Role::Viewer, Code::NotFound),
        (Role::Submitter, Code::NotFound),
        (Role::Admin, Code::NotFound),
        (Role::Worker, Code::PermissionDenied),
    ] {
        callers.push((credentials(&database, role).await?, expected));
    }
    for (credentials, expected) in callers {
        let mut results = ResultsServiceClient::new(connect(&url, &credentials).await?);
        let name = "jobs/1".to_owned();
        let curve = results.get_curve(GetCurveRequest { name }).await.err();
        let code = curve.context("answered")?.code();
        ensure!(code == expected, "{code:?}, not {expected:?}");
        let sweep = format!("sweeps/{}", "0".repeat(32));
        let groups = results.aggregate_curves(AggregateCurvesRequest {
            sweep,
            ..Default::default()
        });
        let code = groups.await.err().context("answered")?.code();
        ensure!(code == expected, "{code:?}, not {expected:?}");
    }
    // It only reads: that a token was used is for coordinators to note.
    let tokens = database.store().token_list(10, None).await?.tokens;
    ensure!(tokens.iter().all(|token| token.last_used_at.is_none()));
    stop.gracefully();
    running.await?
}
