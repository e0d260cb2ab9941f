//! The coordinator: takes sweeps, expands them into jobs, leases the jobs to workers and takes their
//! results. Everything that matters is in PostgreSQL: any number of coordinators can run over one
//! database, and any of them can die at any time.

mod access;
mod grpc;
mod janitor;
mod metrics;
mod pin;
mod reaper;
mod submit;
mod wake;

use std::{sync::Arc, time::Duration};

use temper_core::catalog::Catalog;
use temper_hub::{Hub, HubConfig, HubError, RetryPolicy};
use temper_service::{
    database,
    objects::Objects,
    server::Server,
    stop::{Stop, Tasks},
};
use temper_store::{Store, StoreError};
use tokio::sync::{Semaphore, watch};

pub use metrics::METRICS;

/// What a coordinator needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// `postgres://…`.
    pub database_url: String,
    /// Connections to the database at a time.
    pub connections: u32,
    /// Where checkpoints and artifacts go: `file:///…` or `s3://…`; workers are told the same.
    pub object_store: String,
    /// The names that sweeps may use.
    pub catalog: Catalog,
    /// Where names that the catalog does not pin are looked up.
    pub hub: Hub,
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// How often workers heartbeat; well below the lease.
    pub heartbeat: Duration,
    /// How often checkpoints that nobody will resume from are deleted.
    pub janitor: Duration,
}

/// What every handler shares.
struct Shared {
    store: Store,
    objects: Objects,
    config: Config,
    stop: Stop,
    /// Changes when a job may have become ready; those who listen are the calls that wait for one.
    ready: watch::Sender<()>,
    /// Whoever has waited looks again in turn, so that however many wait, half of the connections are left
    /// to those who have work.
    looks: Semaphore,
}

/// The hub by what the environment says (see [`temper_hub`]), with the patience of somebody who waits
/// for an answer.
///
/// # Errors
/// When a variable has no sense, or no client can be made.
pub fn hub() -> Result<Hub, HubError> {
    Ok(Hub::new(HubConfig {
        retry: RetryPolicy {
            retries: 1,
            longest_asked: Duration::from_secs(2),
            ..RetryPolicy::default()
        },
        timeout: Duration::from_secs(10),
        ..HubConfig::from_environment()?
    }))
}

/// Migrates the database, then serves until `stop`. A database that is away is waited for, now as later.
///
/// # Errors
/// When the database refuses, the object store cannot be opened, or serving fails.
pub async fn run(config: Config, server: Server, stop: Stop) -> anyhow::Result<()> {
    let opened = database::open(&stop, || open(&config), StoreError::kind).await?;
    let Some(store) = opened else { return Ok(()) };
    let objects = Objects::open(&config.object_store)?;
    let looks = usize::try_from(config.connections / 2)?.max(1);
    let shared = Arc::new(Shared {
        store,
        objects,
        config,
        stop: stop.clone(),
        ready: watch::Sender::new(()),
        looks: Semaphore::new(looks),
    });
    let tasks = Tasks::new(&stop);
    // All end with the graceful stop; the janitor finishes the batch in hand first, unless cut.
    tasks.spawn("reaper", reaper::run(Arc::clone(&shared)));
    tasks.spawn("janitor", janitor::run(Arc::clone(&shared)));
    tasks.spawn("wake", wake::run(Arc::clone(&shared)));
    let tokens = Arc::new(access::Tokens(shared.store.clone()));
    metrics::begin();
    let gauges = Arc::new(metrics::Gauges::new(shared.store.clone()));
    let server = grpc::services(server, &shared).collecting(gauges);
    let outcome = server.serve(tokens, stop.clone()).await;
    // Where serving itself broke, the tasks must end too.
    stop.gracefully();
    tasks.finish().await?;
    shared.store.close().await;
    Ok(outcome?)
}

/// The database, its tables up to date.
async fn open(config: &Config) -> Result<Store, StoreError> {
    let store = Store::connect(&config.database_url, config.connections).await?;
    store.migrate().await?;
    Ok(store)
}
