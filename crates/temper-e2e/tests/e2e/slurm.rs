//! What a worker does within Slurm, by what it sees there: variables, commands and signals. The commands
//! are stand-ins, which write down what they are asked; `make e2e-slurm` has the real ones.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use anyhow::ensure;
use temper_e2e::{
    processes::shelter,
    program,
    site::{Hand, Site},
    sweeps,
};
use temper_store::testing::tables::Tables;
use tokio::process::Command;

const LEASE: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(30);
const OPTIONS: [&str; 2] = ["--walltime-from-slurm", "--requeue-on-signal"];

/// A task of an array, as Slurm 22.05 sets it, in which `squeue` says that so much time is left.
fn in_slurm(command: &mut Command, folder: &Path, left: &str) -> anyhow::Result<()> {
    let commands = folder.join("slurm");
    fs::create_dir_all(&commands)?;
    let asked = folder.join("asked").display().to_string();
    for (name, says) in [("squeue", left), ("scontrol", "")] {
        let path = commands.join(name);
        let script = format!("#!/bin/sh\necho {name} \"$@\" >> '{asked}'\necho {says}\n");
        fs::write(&path, script)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    }
    let path = format!("{}:{}", commands.display(), std::env::var("PATH")?);
    command
        .env("PATH", path)
        .env("SLURM_JOB_ID", "12")
        .env("SLURM_ARRAY_JOB_ID", "11")
        .env("SLURM_ARRAY_TASK_ID", "3")
        .env_remove("SLURM_JOB_END_TIME")
        .env("TEMPER_CHECKPOINT_EVERY", "1m")
        .args(OPTIONS);
    Ok(())
}

/// What Slurm's commands were asked.
fn asked(site: &Site) -> Vec<String> {
    let asked = fs::read_to_string(site.folder().join("asked")).unwrap_or_default();
    asked.lines().map(str::to_owned).collect()
}

/// The last thing that Slurm was asked is to queue the task again.
fn was_queued_again(site: &Site) -> anyhow::Result<()> {
    let asked = asked(site);
    let last = asked.last().map(String::as_str);
    ensure!(last == Some("scontrol requeue 11_3"), "{asked:?}");
    Ok(())
}

/// A worker in mid-training with hours left.
async fn mid_training(site: &Site) -> anyhow::Result<Hand> {
    site.submit(sweeps::long([0])).await?;
    let mut worker = site.worker()?;
    in_slurm(&mut worker, site.folder(), "11:59:58")?;
    let worker = site.start_worker("task", worker)?;
    site.wait_tables(|tables| !tables.checkpoints.is_empty())
        .await?;
    Ok(worker)
}

fn outcomes(tables: &Tables) -> Vec<Option<&str>> {
    let attempts = tables.attempts.iter();
    attempts.map(|attempt| attempt.outcome.as_deref()).collect()
}

#[tokio::test]
async fn warned_task_drains_and_has_itself_queued_again() -> anyhow::Result<()> {
    let site = Site::start(LEASE).await?;
    let mut worker = mid_training(&site).await?;
    worker.signal("USR1")?;
    let status = worker.ended(GRACE).await?;
    ensure!(status.success(), "{status}: {}", worker.log());
    let asked = asked(&site);
    let time = "squeue --noheader --jobs 11_3 --format=%L";
    ensure!(asked == [time, "scontrol requeue 11_3"], "{asked:?}");
    let tables = Tables::read(&site.store).await?;
    ensure!(tables.jobs[0].state == "queued", "{:?}", tables.jobs[0]);
    ensure!(outcomes(&tables) == [Some("released")], "{tables:?}");
    site.stop().await
}

#[tokio::test]
async fn cancelled_task_drains_and_stays_away() -> anyhow::Result<()> {
    let site = Site::start(LEASE).await?;
    let mut worker = mid_training(&site).await?;
    worker.signal("TERM")?;
    let status = worker.ended(GRACE).await?;
    ensure!(status.success(), "{status}: {}", worker.log());
    let asked = asked(&site);
    ensure!(
        asked.len() == 1 && asked[0].starts_with("squeue"),
        "{asked:?}"
    );
    let tables = Tables::read(&site.store).await?;
    ensure!(outcomes(&tables) == [Some("released")], "{tables:?}");
    site.stop().await
}

#[tokio::test]
async fn task_whose_time_is_nearly_over_takes_no_work_and_is_queued_again() -> anyhow::Result<()> {
    let site = Site::start(LEASE).await?;
    site.submit(sweeps::long([0])).await?;
    let mut worker = site.worker()?;
    in_slurm(&mut worker, site.folder(), "1:10")?;
    let mut worker = site.start_worker("task", worker)?;
    let status = worker.ended(GRACE).await?;
    ensure!(status.success(), "{status}: {}", worker.log());
    was_queued_again(&site)?;
    let tables = Tables::read(&site.store).await?;
    ensure!(tables.attempts.is_empty(), "{:?}", tables.attempts);
    site.stop().await
}

#[tokio::test]
async fn fleet_whose_time_is_nearly_over_is_queued_again_though_it_may_end_when_idle()
-> anyhow::Result<()> {
    let site = Site::start(LEASE).await?;
    site.submit(sweeps::long([0])).await?;
    let mut fleet = site.worker()?;
    in_slurm(&mut fleet, site.folder(), "1:10")?;
    fleet.args(["--devices", "cpu,cpu", "--exit-when-idle", "10m"]);
    let mut fleet = site.start_worker("task", fleet)?;
    let status = fleet.ended(GRACE).await?;
    ensure!(status.success(), "{status}: {}", fleet.log());
    was_queued_again(&site)?;
    site.stop().await
}

#[tokio::test]
async fn drain_that_the_time_began_and_twice_the_grace_cut_is_queued_again() -> anyhow::Result<()> {
    // A minute before the end it leaves, after 40 s. With checkpoints as often as this it takes a job until
    // then, for as long as lease and checkpoint fit into what is left; and holds it still when it leaves,
    // though nobody answers its heartbeats.
    let site = Site::start(Duration::from_secs(50)).await?;
    site.submit(sweeps::long([0])).await?;
    let mut worker = site.worker()?;
    in_slurm(&mut worker, site.folder(), "1:40")?;
    worker.env("TEMPER_CHECKPOINT_EVERY", "1s");
    worker.args(["--grace", "1s"]);
    let mut worker = site.start_worker("task", worker)?;
    worker.wait_logged(1, "\"leased\"").await?;
    site.hang_coordinator()?;
    let status = worker.ended(GRACE * 2).await?;
    ensure!(status.code() == Some(75), "{status}: {}", worker.log());
    was_queued_again(&site)?;
    site.stop().await
}

#[tokio::test]
async fn outside_slurm_and_without_its_answer_the_options_are_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let refused = async |left: Option<&str>| -> anyhow::Result<String> {
        let mut command = Command::new(program("temper-worker")?);
        shelter(command.as_std_mut());
        command.arg("run").env_remove("SLURM_JOB_ID");
        match left {
            Some(left) => in_slurm(&mut command, folder.path(), left)?,
            None => drop(command.args(OPTIONS)),
        }
        let output = command.output().await?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        Ok(String::from_utf8(output.stderr)?)
    };
    let said = refused(None).await?;
    ensure!(said.contains("SLURM_JOB_ID is not set"), "{said}");
    let said = refused(Some("INVALID")).await?;
    ensure!(
        said.contains("11_3") && said.contains("`INVALID`"),
        "{said}"
    );
    Ok(())
}
