//! The `temper-coordinator` process.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use temper_coordinator::{Config, METRICS, run};
use temper_core::catalog::Catalog;
use temper_service::{
    database::Database,
    metrics::{DATABASE, MetricsArgs},
    server::{Bind, Server},
    stop::Stop,
    telemetry::{self, Telemetry},
    tls::ServerTls,
};

/// A worker that holds a job is not silent for longer, however long its lease: after a minute without a word
/// it counts as gone (placement, `temper explain`, alerts).
const HEARTBEAT: Duration = Duration::from_secs(40);

/// Takes sweeps, expands them into jobs and leases these to workers. Keeps all state in PostgreSQL:
/// any number may run over one database.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    telemetry: Telemetry,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    bind: Bind,
    #[command(flatten)]
    tls: ServerTls,
    #[command(flatten)]
    database: Database,
    /// Connections to PostgreSQL at a time.
    #[arg(long, env = "TEMPER_DATABASE_CONNECTIONS", default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(1..))]
    database_connections: u32,
    /// Where checkpoints and trained models go: `file:///folder` (shared by all hosts) or
    /// `s3://bucket/prefix`.
    #[arg(long, env = "TEMPER_STORE")]
    object_store: String,
    /// Catalog file (TOML) whose entries are added to the built-in ones and win over them.
    #[arg(long, env = "TEMPER_CATALOG")]
    catalog: Option<PathBuf>,
    /// Seconds that a lease lasts without a heartbeat. Workers send three in that time, and one every 40 s at
    /// least.
    #[arg(long, env = "TEMPER_LEASE_SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(3..=3600))]
    lease_seconds: u64,
    /// Seconds between two looks for checkpoints that nobody will resume from, which are deleted.
    #[arg(long, env = "TEMPER_JANITOR_SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=86400))]
    janitor_seconds: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    args.telemetry.init()?;
    let mut catalog = Catalog::built_in()?;
    if let Some(path) = &args.catalog {
        let named = || format!("catalog {}", path.display());
        let text = std::fs::read_to_string(path).with_context(named)?;
        catalog.overlay(Catalog::parse(&text).with_context(named)?);
    }
    let stop = Stop::on_signals()?;
    let tls = args.tls.load()?;
    let version = env!("CARGO_PKG_VERSION");
    let metrics = args.metrics.bind(version, &[DATABASE, METRICS]).await?;
    let server = Server::bind(args.bind.listen).await?;
    let server = server.secured(tls).measured(metrics);
    let lease = Duration::from_secs(args.lease_seconds);
    let config = Config {
        database_url: args.database.url()?,
        connections: args.database_connections,
        object_store: args.object_store,
        catalog,
        hub: temper_coordinator::hub()?,
        lease,
        heartbeat: (lease / 3).min(HEARTBEAT),
        janitor: Duration::from_secs(args.janitor_seconds),
    };
    let ended = run(config, server, stop).await;
    telemetry::flush();
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_connection_at_least() {
        let connections = |count| {
            let url = ["temper-coordinator", "--database-url", "postgres:///temper"];
            let rest = [
                "--object-store",
                "file:///tmp",
                "--database-connections",
                count,
            ];
            let line = url.into_iter().chain(rest);
            Args::try_parse_from(line).map(|args| args.database_connections)
        };
        assert_eq!(connections("1").unwrap(), 1);
        assert!(connections("0").is_err());
    }
}
