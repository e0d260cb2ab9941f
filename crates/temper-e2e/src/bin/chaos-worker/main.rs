//! `chaos-worker`: a worker like `temper-worker`, with a trainer that only waits. What is leased,
//! heartbeaten, reported and given up, and when, is decided by the same code.

mod trainer;

use std::{io::Read as _, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use temper_service::{
    stop::Stop,
    telemetry::{self, Telemetry},
};
use temper_worker::{config::Config, logs::Capture, session};

use trainer::Fake;

/// Runs Temper's jobs without computing them
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    telemetry: Telemetry,
    #[command(flatten)]
    config: Config,
    /// Milliseconds that an epoch takes; a measurement takes two of them
    #[arg(long)]
    epoch_millis: u64,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let capture = Capture::new();
    arguments.telemetry.init_with(Some(capture.layer()))?;
    // Whoever hurts this process is gone: nobody is left to end it.
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(|| {
            let mut stdin = std::io::stdin().lock();
            while matches!(stdin.read(&mut [0; 16]), Ok(1..)) {}
            std::process::exit(1);
        })
        .context("no thread for stdin")?;
    let stop = Stop::on_signals()?;
    let backend = Fake {
        epoch: Duration::from_millis(arguments.epoch_millis),
    };
    let ended = session::run_with(Arc::new(backend), arguments.config, capture, stop).await;
    telemetry::flush();
    ended?;
    Ok(())
}
