//! How a worker leaves: by signals, under a grace, for want of work.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use temper_e2e::{
    site::{Site, step},
    sweeps,
};
use temper_proto::v1;
use temper_store::testing::tables::Tables;

/// What the coordinator is promised of a worker that is told to stop.
const GRACE: Duration = Duration::from_secs(30);
/// Longer than any of these tests.
const LEASE: Duration = Duration::from_mins(5);
/// Status of a process that was cut.
const CUT: i32 = 75;
const STEPS_PER_EPOCH: u64 = 40;
const BATCH: u64 = 20;

/// A training of four epochs, each long enough to be left in its middle.
fn training() -> v1::CreateSweepRequest {
    let mut request = sweeps::tiny([0]);
    let spec = sweeps::spec(&mut request);
    spec.training.get_or_insert_default().epochs = Some(4);
    spec.data.get_or_insert_default().train_samples =
        u32::try_from(STEPS_PER_EPOCH * BATCH).unwrap_or(u32::MAX);
    spec.evaluations.clear();
    request
}

/// Whether the first epoch is over and has its checkpoint.
fn first_epoch_is_over(tables: &Tables) -> bool {
    !tables.checkpoints.is_empty()
}

async fn drains_by(name: &str) -> anyhow::Result<()> {
    let site = Site::start(LEASE).await?;
    site.submit(training()).await?;
    let mut worker = site.start_worker("leaving", site.worker()?)?;
    site.wait_tables(first_epoch_is_over).await?;
    worker.signal(name)?;
    let status = worker.ended(GRACE).await?;
    ensure!(status.success(), "{status}: {}", worker.log());

    let tables = Tables::read(&site.store).await?;
    let steps: Vec<_> = tables.checkpoints.iter().map(step).collect();
    let last = *steps.last().context("no checkpoint")?;
    // A signal that was late may have come at an epoch's validation, which leaves the epoch open too.
    let closed = u64::try_from(tables.epochs.len())?;
    ensure!(
        closed > 0 && last > STEPS_PER_EPOCH * closed,
        "no checkpoint within an epoch: {steps:?}, {closed} epochs are over"
    );
    let job = &tables.jobs[0];
    ensure!((job.state.as_str(), job.leases) == ("queued", 0), "{job:?}");
    let outcomes: Vec<_> = tables
        .attempts
        .iter()
        .map(|a| a.outcome.as_deref())
        .collect();
    ensure!(outcomes == [Some("released")], "{outcomes:?}");

    // Whoever comes next goes on from that very step.
    let mut next = site.start_worker("next", site.worker()?)?;
    let resumed = format!("/{last}\"");
    next.wait_logged(1, &resumed).await?;
    ensure!(next.log().contains("resuming"), "{}", next.log());
    drop(next);
    site.stop().await
}

#[tokio::test]
async fn worker_told_to_stop_in_mid_epoch_registers_a_checkpoint_and_gives_the_job_back()
-> anyhow::Result<()> {
    drains_by("TERM").await
}

#[tokio::test]
async fn warning_of_a_batch_system_drains_as_well() -> anyhow::Result<()> {
    drains_by("USR1").await
}

#[tokio::test]
async fn second_signal_ends_a_worker_whose_drain_is_stuck() -> anyhow::Result<()> {
    let site = Site::start(LEASE).await?;
    site.submit(training()).await?;
    let mut worker = site.worker()?;
    worker.args(["--grace", "1h"]);
    let mut worker = site.start_worker("stuck", worker)?;
    site.wait_tables(first_epoch_is_over).await?;
    site.hang_coordinator()?;
    worker.signal("TERM")?;
    // It has a checkpoint to register, and nobody answers.
    worker.wait_logged(1, "a second signal cuts").await?;
    worker.wait_logged(1, "no answer").await?;
    worker.signal("TERM")?;
    let status = worker.ended(GRACE).await?;
    ensure!(status.code() == Some(CUT), "{status}: {}", worker.log());
    ensure!(worker.log().contains("cut: what was under way is lost"));
    site.stop().await
}

#[tokio::test]
async fn twice_the_grace_ends_a_worker_whose_drain_is_stuck() -> anyhow::Result<()> {
    let site = Site::start(LEASE).await?;
    site.submit(training()).await?;
    let mut worker = site.worker()?;
    worker.args(["--grace", "1s"]);
    let mut worker = site.start_worker("stuck", worker)?;
    site.wait_tables(first_epoch_is_over).await?;
    site.hang_coordinator()?;
    worker.signal("TERM")?;
    let status = worker.ended(GRACE).await?;
    ensure!(status.code() == Some(CUT), "{status}: {}", worker.log());
    ensure!(worker.log().contains("twice the grace is over"));
    site.stop().await
}
