//! The results service: curves, what is said of them and of groups of them, exports. Reads only.

mod access;
mod aggregate;
mod compare;
mod export;
mod group;
mod grpc;
mod leaderboard;
mod metrics;
mod published;
mod sensitivity;
#[cfg(test)]
mod testing;
mod transfer;

use std::sync::Arc;

use temper_service::{database, server::Server, stop::Stop};
use temper_store::{Store, StoreError};

/// What the results service needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// `postgres://…`, of a database that a coordinator has migrated. The role that it names need only
    /// be allowed to read.
    pub database_url: String,
    /// Connections to the database at a time. Exports take at most half of them.
    pub connections: u32,
}

/// Serves until `stop`. A database that is away is waited for, now as later.
///
/// # Errors
/// When the database refuses, or serving fails.
pub async fn run(config: Config, server: Server, stop: Stop) -> anyhow::Result<()> {
    let connect = || Store::connect_reading(&config.database_url, config.connections);
    let opened = database::open(&stop, connect, StoreError::kind).await?;
    let Some(store) = opened else { return Ok(()) };
    let published = temper_core::published::built_in()?;
    let tokens = Arc::new(access::Tokens(store.clone()));
    let exports = usize::try_from(config.connections / 2)?.max(1);
    let server = grpc::services(server, store.clone(), published, exports)
        .collecting(Arc::new(metrics::Gauges(store.clone())));
    let outcome = server.serve(tokens, stop).await;
    store.close().await;
    Ok(outcome?)
}
