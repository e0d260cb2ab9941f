//! `make chaos`: a cluster that is hurt while it works, first with the real trainer and then, at length,
//! with one that only waits. `--seed N` says what is hurt when.

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use temper_e2e::chaos::{self, Against, Report, Settings};
use temper_service::telemetry::Telemetry;

/// What the full run has to do at least.
const LEAST: [(&str, u32); 5] = [
    ("worker_kills", 20),
    ("coordinator_kills", 5),
    ("pg_restarts", 3),
    ("stops", 10),
    ("late_refused", 5),
];

/// Hurts a cluster while it works
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    telemetry: Telemetry,
    /// What is hurt, and when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The short form, as in the tests
    #[arg(long)]
    short: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(report) => {
            println!("chaos: ok {report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("chaos: FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    arguments.telemetry.init()?;
    let seed = arguments.seed;
    if !arguments.short {
        let started = Instant::now();
        let settings = Settings::real(seed);
        let reference = chaos::calm(settings).await?;
        let (report, _) = chaos::run(settings, Against::Run(&reference)).await?;
        report.verdict(&[("late_refused", 1), ("worker_kills", 3)])?;
        tell(
            "real trainer, against a run that was left alone",
            &report,
            started,
        );
    }
    let started = Instant::now();
    let settings = if arguments.short {
        Settings::short(seed)
    } else {
        Settings::full(seed)
    };
    let (report, _) = chaos::run(settings, Against::Truth).await?;
    tell("fake trainer", &report, started);
    report.verdict(if arguments.short { &[] } else { &LEAST })?;
    Ok(report)
}

/// More than the last line has room for.
fn tell(run: &str, report: &Report, started: Instant) {
    let (lost, seconds) = (report.lost_attempts, started.elapsed().as_secs());
    let done: Vec<_> = report
        .done
        .iter()
        .map(|(name, count)| format!("{name}={count}"))
        .collect();
    println!(
        "{run}: jobs={} {} lost_attempts={lost} seconds={seconds}",
        report.jobs,
        done.join(" ")
    );
    for wrong in &report.findings.wrong {
        println!("  wrong: {wrong}");
    }
}
