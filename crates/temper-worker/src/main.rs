//! `temper-worker`: leases jobs and runs them on one device, or on each of several.

use std::{io::Read as _, process::ExitCode, thread, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use temper_service::{
    stop::{Stop, StopSignal},
    telemetry::{self, Telemetry},
};
use temper_worker::{
    CUT,
    check::{self, CheckConfig},
    config::Config,
    fleet::{self, FleetEnd},
    logs::Capture,
    session::{self, Left},
    slurm::Slurm,
};
use tracing::Instrument as _;

/// Below the help of `run`.
const EXAMPLES: &str = "\
Examples:
  temper-worker run --coordinator https://lab:7070 --token-file worker.token --device cuda:0
  temper-worker run --coordinator https://lab:7070 --token-file worker.token --devices all
  temper-worker run … --devices cuda:0,cuda:1 --exit-when-idle 10m --grace 1m
  exec temper-worker run … --walltime-from-slurm --requeue-on-signal     # in a batch script of Slurm's";

/// How a run ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Nothing is held any more.
    Well(Left),
    /// By the second stage of the stop.
    Cut,
}

/// How long a drain may take when whoever started this process is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// Runs Temper's jobs on one device, or on each of several
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
    /// Lease jobs and run them, until told to stop
    ///
    /// SIGTERM, SIGINT or SIGUSR1: no more jobs; the one at work stops at its next step, writes a
    /// checkpoint and goes back, at no cost of its attempts; status 0. A second signal, or twice the
    /// grace, ends the process at once with status 75, and the lease runs out.
    #[command(after_help = EXAMPLES)]
    Run(Box<Config>),
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
        Command::Run(config) => end(run(*config, capture)),
        Command::Check(config) => check(&config),
    }
}

/// Ends the process here and now. libtorch may still be at a step that nobody waits for, and what it
/// would have to do at a process's end must not happen around that.
fn end(ended: anyhow::Result<Ended>) -> ! {
    let status = match ended {
        Ok(Ended::Well(_)) => 0,
        Ok(Ended::Cut) => {
            eprintln!("temper-worker: cut: what was under way is lost up to its last checkpoint");
            CUT
        }
        Err(error) => {
            eprintln!("temper-worker: {error:#}");
            1
        }
    };
    signal_hook::low_level::exit(status.into())
}

fn check(config: &CheckConfig) -> anyhow::Result<()> {
    let report = check::run(config)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    let complaints = report.complaints();
    anyhow::ensure!(complaints.is_empty(), "{}", complaints.join("; "));
    Ok(())
}

fn run(mut config: Config, capture: Capture) -> anyhow::Result<Ended> {
    let slurm = slurm(&mut config)?;
    // Two threads: heartbeats go on while a checkpoint is digested.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let ended = runtime.block_on(async {
        let stop = Stop::on_batch_signals().context("signals cannot be handled")?;
        if config.stop_on_stdin_eof {
            watch_stdin(&stop)?;
        }
        let ended = Box::pin(work(config, capture, &stop)).await?;
        if let Some(slurm) = slurm.filter(|_| wants_requeue(ended, &stop)) {
            tracing::info!("having Slurm queue this job again");
            slurm.requeue()?;
        }
        Ok(ended)
    });
    telemetry::flush();
    // A read of images that was cut must not hold the process.
    runtime.shutdown_background();
    ended
}

/// Asks Slurm for the time that is left; the job that is to be queued again, where it is.
fn slurm(config: &mut Config) -> anyhow::Result<Option<Slurm>> {
    if config.batch.walltime_from_slurm {
        let left = Slurm::from_environment("--walltime-from-slurm")?.time_left()?;
        tracing::info!(?left, "Slurm tells how long this job may run");
        config.wall_time = left;
    }
    let requeues = config.batch.requeue_on_signal;
    let job = requeues.then(|| Slurm::from_environment("--requeue-on-signal"));
    Ok(job.transpose()?)
}

/// Works on the device, or on each of the devices.
async fn work(config: Config, capture: Capture, stop: &Stop) -> anyhow::Result<Ended> {
    if let Some(devices) = &config.devices {
        let arguments = std::env::args_os().skip(1).collect();
        let ended = fleet::run(&config, devices, arguments, stop.clone()).await?;
        return Ok(match ended {
            FleetEnd::Well(left) => Ended::Well(left),
            FleetEnd::Cut => Ended::Cut,
        });
    }
    let span = if config.in_fleet {
        let (device, worker) = (config.device, config.worker_name());
        tracing::info_span!("worker", %device, worker)
    } else {
        tracing::Span::none()
    };
    let session = session::run(config, capture, stop.clone()).instrument(span);
    tokio::select! {
        biased;
        // Whatever hangs, this ends.
        () = stop.cut.cancelled() => Ok(Ended::Cut),
        ended = session => Ok(Ended::Well(ended?)),
    }
}

/// Whether Slurm's job is to come back: it was warned, or its time is over. Who cancels or preempts it
/// says SIGTERM, and who cuts it wants it gone.
fn wants_requeue(ended: Ended, stop: &Stop) -> bool {
    match (ended, stop.signal()) {
        (_, Some(StopSignal::User1)) => stop.cut_signal().is_none(),
        (Ended::Well(Left::TimeOver), None) => true,
        _ => false,
    }
}

/// Drains when it is said on standard input, by anything; and when that ends, upon which it cuts soon:
/// whoever started this process is gone, and the coordinator may be gone with it. The thread ends with
/// the process at the latest.
fn watch_stdin(stop: &Stop) -> anyhow::Result<()> {
    let stop = stop.clone();
    let watch = move || {
        let mut stdin = std::io::stdin().lock();
        let mut bytes = [0; 256];
        while matches!(stdin.read(&mut bytes), Ok(1..)) {
            tracing::info!("told to stop");
            stop.gracefully();
        }
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
