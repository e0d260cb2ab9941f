//! `make bench-dashboards`: what dashboards cost, as `temper_reader` on a PostgreSQL that forces to disk
//! what it commits.
//!
//! **Panels.** Every statement of every panel, choice and alert is sent as Grafana sends it and read to its
//! end, twenty times, over 20 sweeps of 1,000 cells each: 1,000,000 epochs, 100,000 points. The dashboards
//! show one of the sweeps, everything of it chosen.
//!
//! **The queue.** Four workers at the store claim, report and complete jobs, by turns alone and beside four
//! readers. Each reader goes through all the statements, as a browser with every dashboard open,
//! once in each of the shortest pauses between two refreshes that a dashboard has. What is left of
//! the rate when they go round without any pause is told too and not judged: they ask for every
//! core there is, and whoever else runs on the machine gets a share of it.

#[path = "../../tests/store/lab.rs"]
#[expect(dead_code, reason = "what only the tests use")]
mod lab;
mod panels;
mod queue;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use temper_store::{
    postgres::{LocalPostgres, Options},
    testing::Database,
};

/// Milliseconds that a panel may take, in 95 of 100 cases.
const P95_MS: f64 = 500.0;
/// Share of the queue's throughput that must be left.
const QUEUE_KEPT: f64 = 0.8;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok((line, missed)) if missed.is_empty() => {
            println!("bench-dashboards: ok {line}");
            ExitCode::SUCCESS
        }
        Ok((line, missed)) => {
            println!("{line}");
            println!("bench-dashboards: FAILED {}", missed.join("; "));
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("bench-dashboards: FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The figures, and those that miss their bars.
async fn run() -> Result<(String, Vec<String>)> {
    let folder = tempfile::Builder::new()
        .prefix("temper-bench-dashboards-")
        .tempdir()?;
    let postgres = LocalPostgres::start(folder.path(), Options::default()).await?;
    let database = Database::on(postgres.url()).await?;
    let asked = panels::Asked::lay_out(&database).await?;
    let panels = panels::time(&database, &asked).await?;
    let queue = queue::measure(&database, &asked)
        .await
        .context("the queue")?;
    database.store().close().await;
    postgres.stop().await?;
    let line = format!(
        "p95_ms={:.0} slowest={} slowest_p95_ms={:.0} queue_kept={:.2} queue_kept_without_pause={:.2}",
        panels.p95_ms, panels.slowest.0, panels.slowest.1, queue.kept, queue.kept_without_pause
    );
    let mut missed = Vec::new();
    if panels.slowest.1 > P95_MS {
        missed.push(format!(
            "slowest_p95_ms={:.0}, at most {P95_MS} is wanted",
            panels.slowest.1
        ));
    }
    if queue.kept < QUEUE_KEPT {
        missed.push(format!(
            "queue_kept={:.2}, at least {QUEUE_KEPT} is wanted",
            queue.kept
        ));
    }
    Ok((line, missed))
}
