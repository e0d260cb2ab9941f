//! Workers within a real Slurm of one node, by the batch script that is shipped: `make e2e-slurm`. A task
//! with two workers is warned by SIGUSR1 before its time is over, drains, has itself queued again, and
//! goes on from its checkpoints; and it is cancelled in its work. No job is lost by either.

mod cluster;

use std::{
    collections::BTreeSet,
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use temper_e2e::{checkout, processes::shelter, program, site::Site, sweeps};
use temper_proto::v1;
use temper_store::testing::tables::Tables;

use cluster::{Cluster, output};

const LEASE: Duration = Duration::from_secs(10);
/// Longest that the trainings may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(25);
const PAUSE: Duration = Duration::from_millis(300);
/// Slurm counts in minutes, and warns up to one sooner than asked: there are at least 30 seconds of
/// work before the warning, and it comes before the worker leaves by itself, a minute before the end.
const LIMITS: [&str; 2] = ["--time=3", "--signal=B:USR1@90"];
/// Longer than a task may stay.
const EPOCHS: u32 = 24;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(facts) => {
            println!("e2e-slurm: ok {facts}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("e2e-slurm: FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<String> {
    let started = Instant::now();
    let site = Site::start(LEASE).await?;
    let slurm = Cluster::start(site.folder()).await?;
    let tried = try_both(&site, &slurm).await;
    if tried.is_err() {
        eprintln!("{}\n{}", slurm.logs(), worker_logs(&site));
    }
    let facts = tried?;
    slurm.stop().await?;
    site.stop().await?;
    let seconds = started.elapsed().as_secs();
    Ok(format!("{facts} seconds={seconds}"))
}

async fn try_both(site: &Site, slurm: &Cluster) -> anyhow::Result<String> {
    site.submit(training(0..2)).await?;
    let task = submit(site, slurm).await?;
    println!("task {task} is submitted: it works until it is warned, and again after that");
    let restarts = requeued(site, slurm, &task).await?;
    println!("its jobs are done; it is cancelled in mid-training now");
    site.submit(training(2..4)).await?;
    cancelled(site, slurm, &task).await?;
    let tables = Tables::read(&site.store).await?;
    let of = |outcome: &str| count(&tables, outcome);
    ensure!(of("lost") == 0, "jobs were lost: {:?}", tables.attempts);
    ensure!(of("failed") == 0, "jobs failed: {:?}", tables.attempts);
    let (jobs, released) = (tables.jobs.len(), of("released"));
    Ok(format!(
        "jobs={jobs} requeues={restarts} released={released} lost=0"
    ))
}

/// Trainings that no task has the time for, in one life.
fn training(seeds: std::ops::Range<u64>) -> v1::CreateSweepRequest {
    let mut request = sweeps::tiny(seeds);
    let spec = sweeps::spec(&mut request);
    spec.training.get_or_insert_default().epochs = Some(EPOCHS);
    spec.data.get_or_insert_default().train_samples = 400;
    spec.evaluations.clear();
    request
}

/// Submits the script that is shipped, as its head says; two workers on the processor.
async fn submit(site: &Site, slurm: &Cluster) -> anyhow::Result<String> {
    let mut command = slurm.command("sbatch");
    command.args([
        "--parsable",
        "--array=1",
        "--gres=none",
        "--mem=0",
        "--cpus-per-task=1",
    ]);
    command.args(LIMITS);
    command.arg(checkout().join("deploy/slurm/workers.sbatch"));
    // The task sees what `sbatch` sees.
    shelter(command.as_std_mut());
    command
        .envs(site.environment())
        .env("WORKER", program("temper-worker")?)
        .env("TEMPER_DEVICES", "cpu,cpu")
        .env("TEMPER_CHECKPOINT_EVERY", "5s")
        .env("TEMPER_LOG_FORMAT", "json");
    let array = output(command).await?;
    Ok(format!("{}_1", array.trim()))
}

/// Waits until the jobs are done, which takes the task more than one life; says how often it was
/// queued again.
async fn requeued(site: &Site, slurm: &Cluster, task: &str) -> anyhow::Result<u32> {
    let end = Instant::now() + PATIENCE;
    loop {
        let tables = Tables::read(&site.store).await?;
        if tables.jobs.iter().all(|job| job.state == "succeeded") {
            break;
        }
        let waits = Instant::now() < end;
        ensure!(waits, "the jobs are not done: {:?}", tables.jobs);
        ensure!(count(&tables, "lost") == 0, "{:?}", tables.attempts);
        tokio::time::sleep(PAUSE).await;
    }
    let tables = Tables::read(&site.store).await?;
    ensure!(count(&tables, "released") > 0, "{:?}", tables.attempts);
    let named: BTreeSet<_> = tables.attempts.iter().map(|a| a.worker.as_str()).collect();
    ensure!(
        named.len() == 2,
        "two workers, by the same names in all lives: {named:?}"
    );
    let logs = worker_logs(site);
    ensure!(logs.contains("SIGUSR1"), "nobody was warned");
    ensure!(
        logs.contains("\"resuming\""),
        "nobody went on from a checkpoint"
    );
    let shown = slurm.run("scontrol", &["show", "job", task]).await?;
    let restarts = shown
        .split_whitespace()
        .find_map(|word| word.strip_prefix("Restarts="));
    let restarts = restarts.context("scontrol tells of no restarts")?.parse()?;
    ensure!(restarts > 0, "it was never queued again: {shown}");
    Ok(restarts)
}

/// Cancels the task while it works, and waits until it is gone.
async fn cancelled(site: &Site, slurm: &Cluster, task: &str) -> anyhow::Result<()> {
    let before = count(&Tables::read(&site.store).await?, "released");
    // Another life may have to begin first.
    site.wait_tables(|tables| {
        let mut open = tables.attempts.iter().filter(|a| a.outcome.is_none());
        open.any(|attempt| {
            let mut saved = tables.checkpoints.iter();
            saved.any(|saved| (saved.job_id, saved.fence) == (attempt.job_id, attempt.fence))
        })
    })
    .await?;
    slurm.run("scancel", &[task]).await?;
    let end = Instant::now() + PATIENCE;
    while !slurm
        .run(
            "squeue",
            &["--noheader", "--states=all", "--jobs", task, "--format=%T"],
        )
        .await?
        .contains("CANCELLED")
    {
        ensure!(Instant::now() < end, "the task is not gone");
        tokio::time::sleep(PAUSE).await;
    }
    let tables = site
        .wait_tables(|tables| tables.attempts.iter().all(|a| a.outcome.is_some()))
        .await?;
    let given_back = count(&tables, "released") - before;
    ensure!(
        given_back > 0,
        "nothing was given back: {:?}",
        tables.attempts
    );
    let queued = tables.jobs.iter().filter(|job| job.state == "queued");
    ensure!(queued.count() > 0, "{:?}", tables.jobs);
    Ok(())
}

fn count(tables: &Tables, outcome: &str) -> usize {
    let attempts = tables.attempts.iter();
    attempts
        .filter(|attempt| attempt.outcome.as_deref() == Some(outcome))
        .count()
}

/// What the tasks wrote, over all of their lives.
fn worker_logs(site: &Site) -> String {
    let files = fs::read_dir(site.folder().join("slurm"))
        .into_iter()
        .flatten();
    let paths = files.flatten().map(|file| file.path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect()
}
