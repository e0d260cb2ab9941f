//! `temper-worker`: leases jobs and runs them on one device.

use std::{io::Read as _, process::ExitCode, thread, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use temper_service::{
    stop::Stop,
    telemetry::{self, Telemetry},
};
use temper_worker::{
    check::{self, CheckConfig},
    config::Config,
    logs::Capture,
    session,
};

/// How long a drain may take when whoever started this process is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// Runs Temper's jobs on one device
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    telemetry: Telemetry,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lease jobs and run them, until SIGTERM or SIGINT; a second signal cuts
    Run(Config),
    /// Compare this machine's device with its processor: attacks, exact resume, speed, memory
    ///
    /// Prints one JSON document. Fails when a difference is above what is allowed; the speed and the
    /// memory are for you to judge.
    Check(CheckConfig),
}

fn main() -> ExitCode {
    temper_torch::keep_freed_memory();
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("temper-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let capture = Capture::new();
    arguments.telemetry.init_with(Some(capture.layer()))?;
    match arguments.command {
        Command::Run(config) => run(config, capture),
        Command::Check(config) => check(&config),
    }
}

fn check(config: &CheckConfig) -> anyhow::Result<()> {
    let report = check::run(config)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    let complaints = report.complaints();
    anyhow::ensure!(complaints.is_empty(), "{}", complaints.join("; "));
    Ok(())
}

fn run(config: Config, capture: Capture) -> anyhow::Result<()> {
    // Two threads: heartbeats go on while a checkpoint is digested.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let ended = runtime.block_on(async {
        let stop = Stop::on_signals().context("signals cannot be handled")?;
        if config.stop_on_stdin_eof {
            watch_stdin(&stop)?;
        }
        session::run(config, capture, stop).await?;
        anyhow::Ok(())
    });
    telemetry::flush();
    // A read of images that was cut must not hold the process.
    runtime.shutdown_background();
    ended
}

/// Drains when standard input ends, and cuts soon after: whoever started this process is gone, and
/// the coordinator may be gone with it. The thread ends with the process at the latest.
fn watch_stdin(stop: &Stop) -> anyhow::Result<()> {
    let stop = stop.clone();
    let watch = move || {
        let mut stdin = std::io::stdin().lock();
        let mut bytes = [0; 256];
        while matches!(stdin.read(&mut bytes), Ok(1..)) {}
        tracing::warn!("standard input ended: stopping");
        stop.gracefully();
        thread::sleep(ORPHAN_GRACE);
        stop.now();
    };
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(watch)
        .context("no thread for stdin")?;
    Ok(())
}
