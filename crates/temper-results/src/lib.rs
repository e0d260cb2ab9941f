//! The results service: curves, and what groups of them say. Reads only.

mod access;
mod aggregate;
mod grpc;

use std::sync::Arc;

use temper_service::{server::Server, stop::Stop};
use temper_store::Store;

/// What the results service needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// `postgres://…`, of a database that a coordinator has migrated.
    pub database_url: String,
    /// Connections to the database at a time.
    pub connections: u32,
}

/// Serves until `stop`.
///
/// # Errors
/// When the database cannot be opened, or serving fails.
pub async fn run(config: Config, server: Server, stop: Stop) -> anyhow::Result<()> {
    let store = Store::connect(&config.database_url, config.connections).await?;
    let tokens = Arc::new(access::Tokens(store.clone()));
    let server = grpc::services(server, store.clone());
    let outcome = server.serve(tokens, stop).await;
    store.close().await;
    Ok(outcome?)
}
