//! The `temper-results` process.

use clap::Parser;
use temper_results::{Config, run};
use temper_service::{
    database::Database,
    metrics::{DATABASE, MetricsArgs},
    server::{Bind, Server},
    stop::Stop,
    telemetry::{self, Telemetry},
    tls::ServerTls,
};

/// Serves accuracy-against-epsilon curves and their aggregates. Reads the database that a
/// coordinator has migrated; changes nothing.
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
    #[arg(long, env = "TEMPER_DATABASE_CONNECTIONS", default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..))]
    database_connections: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    args.telemetry.init()?;
    let stop = Stop::on_signals()?;
    let tls = args.tls.load()?;
    let version = env!("CARGO_PKG_VERSION");
    let metrics = args.metrics.bind(version, &[DATABASE]).await?;
    let server = Server::bind(args.bind.listen).await?;
    let server = server.secured(tls).measured(metrics);
    let config = Config {
        database_url: args.database.url()?,
        connections: args.database_connections,
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
            let url = ["temper-results", "--database-url", "postgres:///temper"];
            let line = url.into_iter().chain(["--database-connections", count]);
            Args::try_parse_from(line).map(|args| args.database_connections)
        };
        assert_eq!(connections("1").unwrap(), 1);
        assert!(connections("0").is_err());
    }
}
