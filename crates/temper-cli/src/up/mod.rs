//! `temper up`, local mode: a PostgreSQL, the coordinator and the results service in this process,
//! workers as child processes.
//!
//! They start in that order and stop in the reverse one, whatever the reason. When this process is
//! killed, the workers end because the pipe to their standard input does, and the PostgreSQL of
//! the folder is taken over by the next `temper up`.

mod backoff;
mod beacon;
mod catalog;
mod database;
mod folder;
mod services;
mod tokens;
mod workers;

use std::{io::Write as _, net::SocketAddr, num::NonZeroU32, path::PathBuf};

use anyhow::ensure;
use temper_data::Inputs;
use temper_service::stop::Stop;

use crate::{catalog::CatalogFile, checkout, local};

use beacon::Beacon;
use database::Database;
use folder::Folder;
use services::Services;
use tokens::Tokens;
use workers::Crew;

/// How to run locally.
#[derive(clap::Args)]
pub struct Args {
    /// Folder for everything that is kept [default: `temper` in `$XDG_DATA_HOME` or `~/.local/share`]
    #[arg(long, env = "TEMPER_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Worker processes; they share the cores
    #[arg(long, default_value = "1", value_name = "COUNT")]
    workers: NonZeroU32,
    /// Devices of the workers, in turn: cpu, or for instance cuda:0,cuda:1
    #[arg(
        long,
        env = "TEMPER_DEVICE",
        default_value = "cpu",
        value_delimiter = ','
    )]
    device: Vec<String>,
    /// Where the coordinator listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    listen_coordinator: SocketAddr,
    /// Where the results service listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7071", value_name = "ADDRESS")]
    listen_results: SocketAddr,
    /// A database of your own instead of one in the folder
    #[arg(
        long,
        env = "TEMPER_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: Option<String>,
    /// The `bin` folder of the PostgreSQL to run, version 15 or later [default: the system's]
    #[arg(long, env = "TEMPER_POSTGRES", value_name = "FOLDER")]
    postgres: Option<PathBuf>,
    /// Seconds that a lease lasts without a heartbeat
    #[arg(
        long,
        env = "TEMPER_LEASE_SECONDS",
        default_value_t = 30,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(3..=3600)
    )]
    lease: u64,
    #[command(flatten)]
    catalog: CatalogFile,
    #[command(flatten)]
    inputs: Inputs,
    /// The worker's program [default: temper-worker beside this one]
    #[arg(long, env = "TEMPER_WORKER", value_name = "FILE")]
    worker: Option<PathBuf>,
}

/// Runs until Ctrl-C or SIGTERM; a second one cuts.
pub async fn run(mut args: Args) -> anyhow::Result<()> {
    args.inputs = checkout::with_mirror(args.inputs);
    for address in [args.listen_coordinator, args.listen_results] {
        ensure!(
            address.ip().is_loopback(),
            "{address} can be reached from other machines, and local mode speaks no TLS: \
             listen on 127.0.0.1"
        );
    }
    let program = workers::program(args.worker.as_deref())?;
    let folder = Folder::open(args.data.clone())?;
    let stop = Stop::on_signals()?;
    let database = Database::start(&args, &folder).await?;
    let outcome = serve(&args, program, &folder, database.url(), &stop).await;
    let stopped = database.stop().await;
    outcome.and(stopped)
}

async fn serve(
    args: &Args,
    program: PathBuf,
    folder: &Folder,
    database_url: &str,
    stop: &Stop,
) -> anyhow::Result<()> {
    let tokens = tokens::make(folder, database_url).await?;
    let crew = Crew::new(args, program, folder, &tokens);
    let catalog = catalog::load(args.catalog.clone(), args.inputs.clone()).await?;
    let config = services::config(args, folder, database_url, catalog)?;
    let services = Services::start(args, config).await?;
    let outcome = attend(folder, crew, &services, &tokens, stop).await;
    folder.retract();
    local::retract(&[services.coordinator(), services.results()]);
    let stopped = services.stop(stop).await;
    // What ended a service is the reason; what attending says of it is only that it ended.
    stopped.and(outcome)
}

/// From the services' readiness to the workers' end.
async fn attend(
    folder: &Folder,
    crew: Crew,
    services: &Services,
    tokens: &Tokens,
    stop: &Stop,
) -> anyhow::Result<()> {
    tokio::select! {
        ready = services.ready() => ready?,
        () = services.ended() => return Ok(()),
        () = stop.graceful.cancelled() => return Ok(()),
    }
    let beacon = Beacon::new(folder, services, tokens);
    let urls = [services.coordinator(), services.results()];
    if let Err(error) = local::announce(&urls, &tokens.user) {
        let path = tokens.user.display();
        tracing::warn!(%error, "other commands find the token by TEMPER_TOKEN_FILE={path} alone");
    }
    let workers = crew.start(services.coordinator(), &beacon);
    // Whoever started us may not listen to it.
    let _ = write!(
        std::io::stdout(),
        "coordinator {}\nresults {}\ndata {}\ntoken {}\nready\n",
        services.coordinator(),
        services.results(),
        folder.path().display(),
        tokens.user.display()
    );
    let outcome = tokio::select! {
        () = stop.graceful.cancelled() => Ok(()),
        () = services.ended() => Ok(()),
        given_up = workers.given_up() => Err(given_up),
    };
    outcome.and(workers.stop(stop).await)
}
