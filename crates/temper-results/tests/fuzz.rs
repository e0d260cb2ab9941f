//! Every method with any bytes, as for the coordinator: it answers, and it stores nothing.

use std::time::Duration;

use anyhow::{anyhow, ensure};
use temper_core::{
    Violations,
    access::Role,
    catalog::{Catalog, Input},
    expand, key,
    placement::Placement,
};
use temper_proto::{from_json, parse_sweep_spec, v1};
use temper_results::{Config, run};
use temper_service::{
    access::Secret,
    client::{Channel, Credentials, connect},
    server::Server,
    stop::Stop,
    testing::{Panics, Plan, Words, call, methods, objection, one, requests},
};
use temper_store::{
    Actor, NewSweep, NewToken,
    testing::{Database, tables::tally},
};
use tokio::runtime::Runtime;

const SHORT: u64 = 200;
/// A call that has not answered by then hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// A sweep of one cell.
const SPEC: &str = r#"{"models": ["mobilenetv2"], "datasets": ["fashion-mnist"], "schedules": [{"fixed": {}}],
    "targetEpsilons": ["2/255"], "seeds": [0]}"#;

/// Stores a sweep of which nothing has run, and gives its name.
async fn sweep(database: &Database) -> anyhow::Result<String> {
    let message: v1::SweepSpec = from_json(SPEC)?;
    let spec = parse_sweep_spec(&message, &mut Violations::default());
    let catalog = Catalog::built_in()?;
    let (model, dataset) = (
        catalog.model("mobilenetv2")?,
        catalog.dataset("fashion-mnist")?,
    );
    let inputs = [Input::from(&model), Input::from(&dataset)];
    let sweep = NewSweep {
        request_id: None,
        request_digest: key::digest_of(&spec),
        owner: "ann",
        display_name: "a sweep",
        labels: &std::collections::BTreeMap::new(),
        priority: 0,
        placement: &Placement::default(),
        parallel_jobs: None,
        spec: &spec,
        expansion: &expand::expand(&spec, &[model], &[dataset]),
        inputs: &inputs,
        trace: None,
    };
    let actor = Actor::at_database("test");
    let created = database.store().sweep_create(&actor, sweep).await?;
    Ok(format!("sweeps/{}", created.id))
}

/// A channel to a results service of this database.
async fn open(database: &Database, stop: &Stop) -> anyhow::Result<Channel> {
    let server = Server::bind("127.0.0.1:0".parse()?).await?;
    let url = format!("http://{}", server.address());
    let config = Config {
        database_url: database.url().to_owned(),
        connections: 2,
    };
    tokio::spawn(run(config, server, stop.clone()));
    let secret = Secret::generate()?;
    let token = NewToken::new("viewer", Role::Viewer, secret.digest());
    let actor = Actor::at_database("test");
    database.store().token_create(&actor, token).await?;
    Ok(connect(&url, &Credentials::default().with_token(secret)).await?)
}

#[test]
fn any_bytes_are_answered_and_nothing_is_stored() -> anyhow::Result<()> {
    let (plan, runtime, panics) = (Plan::read(SHORT)?, Runtime::new()?, Panics::noted());
    let mut runner = plan.runner();
    let methods = methods(&["ResultsService"])?;
    ensure!(methods.len() >= 2, "{} methods", methods.len());
    let (database, stop) = (runtime.block_on(Database::new())?, Stop::new());
    let sweep = runtime.block_on(sweep(&database))?;
    let channel = runtime.block_on(open(&database, &stop))?;
    let words = Words::default()
        .with("sweep", &[&sweep])
        .with("name", &["jobs/1", "jobs/2"]);
    let (requests, before) = (
        requests(&methods, &words),
        runtime.block_on(tally(database.store()))?,
    );
    let mut done = 0;
    while plan.goes_on(done) {
        let answered = one(&mut runner, &requests, |method, request| {
            let method = &methods[method];
            let answer = call(channel.clone(), method, request.0, PATIENCE);
            let answer = runtime.block_on(answer);
            match objection(&answer, false) {
                Some(objection) => Err(format!("{}: {objection}", method.path)),
                None => Ok(true),
            }
        });
        if let Some(panic) = panics.first() {
            return Err(anyhow!("{answered:?}: {panic}"));
        }
        answered.map_err(|found| anyhow!(found))?;
        done += 1;
    }
    ensure!(runtime.block_on(tally(database.store()))? == before);
    stop.gracefully();
    plan.tell("requests", done);
    Ok(())
}
