//! `temper-worker`: leases jobs and runs them on one device, or on each of several.

use std::{io::Read as _, process::ExitCode, thread, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use temper_service::{
    stop::{Stop, StopSignal},
    telemetry::{self, Telemetry},
};
use temper_worker::{
    check::{self, CheckConfig},
    config::Config,
    exit,
    fleet::{self, FleetEnd},
    logs::Capture,
    session::{self, Left},
    slurm::Slurm,
};
use tokio_util::sync::CancellationToken;
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
    /// The same, but a worker of the fleet failed when it was told to stop.
    Failed,
    /// By the second stage of the stop, which the wall time began, or something else.
    Cut { time_over: bool },
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
        Command::Run(config) => {
            let in_fleet = config.in_fleet;
            end(run(*config, capture), in_fleet)
        }
        Command::Check(config) => check(&config),
    }
}

/// Ends the process here and now. libtorch may still be at a step that nobody waits for, and what it
/// would have to do at a process's end must not happen around that.
fn end(ended: anyhow::Result<Ended>, in_fleet: bool) -> ! {
    let status = match ended {
        Ok(Ended::Well(left)) => exit::status(left, in_fleet),
        Ok(Ended::Failed) => {
            eprintln!(
                "temper-worker: a worker failed when it was told to stop: what it said is above"
            );
            exit::FAILED
        }
        Ok(Ended::Cut { .. }) => {
            eprintln!("temper-worker: cut: what was under way is lost up to its last checkpoint");
            exit::CUT
        }
        Err(error) => {
            eprintln!("temper-worker: {error:#}");
            exit::FAILED
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

fn run(config: Config, capture: Capture) -> anyhow::Result<Ended> {
    // Two threads: heartbeats go on while a checkpoint is digested.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let ended = runtime.block_on(Box::pin(work_and_requeue(config, capture)));
    telemetry::flush();
    // A read of images that was cut must not hold the process.
    runtime.shutdown_background();
    ended
}

async fn work_and_requeue(mut config: Config, capture: Capture) -> anyhow::Result<Ended> {
    // Before signals are handled: one that comes while Slurm is asked ends the process.
    let slurm = slurm(&mut config).await?;
    let stop = Stop::on_batch_signals().context("signals cannot be handled")?;
    if config.stop_on_stdin_eof {
        watch_stdin(&stop)?;
    }
    let ended = work(config, capture, &stop).await?;
    let signals = (stop.signal(), stop.cut_signal());
    if let Some(slurm) = slurm.filter(|_| wants_requeue(ended, signals)) {
        requeue(&slurm, &stop).await?;
    }
    Ok(ended)
}

/// Asks Slurm for the time that is left; the job that is to be queued again, where it is.
async fn slurm(config: &mut Config) -> anyhow::Result<Option<Slurm>> {
    if config.batch.walltime_from_slurm {
        let slurm = Slurm::from_environment("--walltime-from-slurm")?;
        let left = slurm.time_left().await?;
        tracing::info!(?left, "Slurm tells how long this job may run");
        config.wall_time = left;
    }
    let requeues = config.batch.requeue_on_signal;
    let job = requeues.then(|| Slurm::from_environment("--requeue-on-signal"));
    Ok(job.transpose()?)
}

/// Has Slurm queue its job again, unless the stop is cut meanwhile.
async fn requeue(slurm: &Slurm, stop: &Stop) -> anyhow::Result<()> {
    tracing::info!("having Slurm queue this job again");
    let was_cut = stop.cut.is_cancelled();
    tokio::select! {
        queued = slurm.requeue() => Ok(queued?),
        () = stop.cut.cancelled(), if !was_cut => {
            tracing::warn!("cut: Slurm may not have queued this job again");
            Ok(())
        }
    }
}

/// Works on the device, or on each of the devices.
async fn work(config: Config, capture: Capture, stop: &Stop) -> anyhow::Result<Ended> {
    if let Some(devices) = &config.devices {
        let arguments = std::env::args_os().skip(1).collect();
        let ended = fleet::run(&config, devices, arguments, stop.clone()).await?;
        return Ok(match ended {
            FleetEnd::Well(left) => Ended::Well(left),
            FleetEnd::Failed => Ended::Failed,
            FleetEnd::Cut => Ended::Cut { time_over: false },
        });
    }
    let span = if config.in_fleet {
        let (device, worker) = (config.device, config.worker_name());
        tracing::info_span!("worker", %device, worker)
    } else {
        tracing::Span::none()
    };
    let time_over = CancellationToken::new();
    let session = session::run(config, capture, stop.clone(), time_over.clone());
    // A task of its own: whatever hangs in it, this one goes on.
    let session = tokio::spawn(session.instrument(span));
    tokio::select! {
        biased;
        () = stop.cut.cancelled() => Ok(Ended::Cut {
            time_over: time_over.is_cancelled(),
        }),
        ended = session => Ok(Ended::Well(ended.context("the session broke off")??)),
    }
}

/// Whether Slurm's job is to come back: it was warned, or its time is over, even where the drain then
/// took too long. Who cancels or preempts it says SIGTERM, and who cuts it wants it gone. `signals`: which
/// began the stop, and which cut it.
fn wants_requeue(ended: Ended, signals: (Option<StopSignal>, Option<StopSignal>)) -> bool {
    match (ended, signals) {
        (_, (Some(StopSignal::User1), cut)) => cut.is_none(),
        (Ended::Well(Left::TimeOver) | Ended::Cut { time_over: true }, (None, _)) => true,
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

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Ended = Ended::Cut { time_over: false };
    const LATE: Ended = Ended::Cut { time_over: true };

    #[test]
    fn job_whose_time_is_over_comes_back_even_where_its_drain_was_cut() {
        for ended in [Ended::Well(Left::TimeOver), LATE] {
            assert!(wants_requeue(ended, (None, None)), "{ended:?}");
        }
        for ended in [Ended::Well(Left::Idle), Ended::Well(Left::Told), CUT] {
            assert!(!wants_requeue(ended, (None, None)), "{ended:?}");
        }
    }

    #[test]
    fn warned_job_comes_back_unless_somebody_cuts_it() {
        let warned = Some(StopSignal::User1);
        for ended in [Ended::Well(Left::Told), Ended::Failed, CUT, LATE] {
            assert!(wants_requeue(ended, (warned, None)), "{ended:?}");
            let cut = (warned, Some(StopSignal::Terminate));
            assert!(!wants_requeue(ended, cut), "{ended:?}");
        }
    }

    #[test]
    fn cancelled_job_stays_away() {
        let cancelled = Some(StopSignal::Terminate);
        for ended in [Ended::Well(Left::TimeOver), LATE, CUT] {
            assert!(!wants_requeue(ended, (cancelled, None)), "{ended:?}");
        }
    }
}
