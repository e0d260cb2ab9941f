//! `make e2e-hosts`: a laboratory of several hosts whose lines fail. Root's to run.

use std::{process::ExitCode, time::Instant};

use anyhow::bail;
use clap::Parser;
use temper_e2e::{
    chaos::{self, Against},
    hosts::{self, Plan, Report, network},
};
use temper_service::{stop::Stop, telemetry::Telemetry};

/// Cuts and loses hosts of a laboratory while it works
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    telemetry: Telemetry,
    /// The short form, as in the tests
    #[arg(long)]
    short: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(report) => {
            println!("e2e-hosts: ok {report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("e2e-hosts: FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    arguments.telemetry.init()?;
    if let Some(reason) = network::impossible() {
        bail!("{reason}");
    }
    // Whoever interrupts us wants the hosts to be gone, too.
    let stop = Stop::on_signals()?;
    tokio::select! {
        report = measure(arguments.short) => report,
        () = stop.graceful.cancelled() => bail!("interrupted"),
    }
}

async fn measure(short: bool) -> anyhow::Result<Report> {
    let started = Instant::now();
    let report = if short {
        hosts::run(Plan::short(), Against::Truth).await?
    } else {
        let plan = Plan::full();
        let reference = chaos::calm(plan.settings).await?;
        println!(
            "left alone: jobs={} seconds={}",
            plan.settings.jobs(),
            started.elapsed().as_secs()
        );
        hosts::run(plan, Against::Run(&reference)).await?
    };
    for wrong in &report.findings.wrong {
        println!("  wrong: {wrong}");
    }
    report.verdict()?;
    Ok(report)
}
