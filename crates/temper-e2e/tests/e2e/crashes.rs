//! Processes that die, and what is left of their work.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use temper_e2e::{Options, System, processes::wait_ended, signal, sweeps};
use temper_proto::v1::{self, AttemptOutcome, JobKind, SweepState};

/// How long workers may take to see that their system is gone, and to end.
const GRACE: Duration = Duration::from_secs(30);

/// Waits until a training has reported an epoch, and is not through.
async fn mid_training(system: &System, sweep: &str) -> anyhow::Result<()> {
    let started = |job: &v1::Job| job.epochs_done > 0 && job.epochs_done < job.epochs;
    let sweep = system
        .watch_until(sweep, |_, jobs| jobs.iter().any(started))
        .await?;
    ensure!(
        sweep.state() == SweepState::Running,
        "the training was over too soon"
    );
    Ok(())
}

/// The attempts of the sweep's only training.
async fn training(system: &System, sweep: &str) -> anyhow::Result<v1::Job> {
    let jobs = system.jobs_of(sweep).await?;
    jobs.into_iter()
        .find(|job| job.kind() == JobKind::Train)
        .context("no training")
}

#[tokio::test]
async fn a_killed_worker_is_replaced_and_its_training_resumed() -> anyhow::Result<()> {
    let mut system = System::start(Options::short_lease()).await?;
    let sweep = system.submit(sweeps::long([0])).await?.name;
    mid_training(&system, &sweep).await?;
    let killed = system.workers()?[0];
    signal("KILL", killed)?;
    ensure!(system.finish(&sweep).await?.state() == SweepState::Succeeded);
    let job = training(&system, &sweep).await?;
    let outcomes: Vec<_> = job.attempts.iter().map(v1::Attempt::outcome).collect();
    ensure!(
        outcomes == [AttemptOutcome::Lost, AttemptOutcome::Succeeded],
        "{:?}",
        job.attempts
    );
    ensure!(job.attempts[0].fence < job.attempts[1].fence);
    let epochs: Vec<_> = job.epoch_metrics.iter().map(|epoch| epoch.epoch).collect();
    ensure!(
        epochs == (0..8).collect::<Vec<_>>(),
        "every epoch once: {epochs:?}"
    );
    ensure!(!system.workers()?.contains(&killed));
    system.stop().await
}

#[tokio::test]
async fn a_worker_told_to_stop_gives_its_job_back_without_burning_an_attempt() -> anyhow::Result<()>
{
    let mut system = System::start(Options::default()).await?;
    let sweep = system.submit(sweeps::long([0])).await?.name;
    mid_training(&system, &sweep).await?;
    signal("TERM", system.workers()?[0])?;
    ensure!(system.finish(&sweep).await?.state() == SweepState::Succeeded);
    let job = training(&system, &sweep).await?;
    let outcomes: Vec<_> = job.attempts.iter().map(v1::Attempt::outcome).collect();
    ensure!(
        outcomes == [AttemptOutcome::Released, AttemptOutcome::Succeeded],
        "{outcomes:?}"
    );
    system.stop().await
}

/// A measurement long enough to be interrupted.
fn long_measurement() -> v1::CreateSweepRequest {
    let mut request = sweeps::tiny([0]);
    let measured = &mut sweeps::spec(&mut request).evaluations[0];
    measured.attack.get_or_insert_default().steps = Some(60);
    measured.samples = 500;
    measured.set_mode(v1::CurveMode::Bisect);
    request
}

#[tokio::test]
async fn a_stopped_measurement_goes_on_and_tells_of_its_audit() -> anyhow::Result<()> {
    let mut system = System::start(Options::default()).await?;
    let sweep = system.submit(long_measurement()).await?.name;
    let measures =
        |job: &v1::Job| job.kind() == JobKind::Evaluate && job.state() == v1::JobState::Leased;
    system
        .watch_until(&sweep, |_, jobs| jobs.iter().any(measures))
        .await?;
    // Before it does there is nothing to go on from.
    system.wait_logged("worker-0", "measuring").await?;
    signal("TERM", system.workers()?[0])?;
    ensure!(system.finish(&sweep).await?.state() == SweepState::Succeeded);
    let jobs = system.jobs_of(&sweep).await?;
    let job = jobs.iter().find(|job| job.kind() == JobKind::Evaluate);
    let job = job.context("no evaluation")?;
    let outcomes: Vec<_> = job.attempts.iter().map(v1::Attempt::outcome).collect();
    ensure!(
        outcomes == [AttemptOutcome::Released, AttemptOutcome::Succeeded],
        "{outcomes:?}"
    );
    ensure!(system.log("worker-0").contains("resuming"));
    let request = v1::GetCurveRequest {
        name: job.name.clone(),
    };
    let curve = system.curves().await?.get_curve(request).await?;
    let curve = curve.into_inner();
    let audit = curve.audit.context("no audit")?;
    ensure!(audit.samples == 25 && curve.passes > 0, "{curve:?}");
    system.stop().await
}

#[tokio::test]
async fn a_system_killed_and_started_again_continues_and_loses_nothing() -> anyhow::Result<()> {
    let mut system = System::start(Options::short_lease()).await?;
    let done = system.submit(sweeps::tiny([0])).await?.name;
    ensure!(system.finish(&done).await?.state() == SweepState::Succeeded);
    let sweep = system.submit(sweeps::long([0, 1])).await?.name;
    mid_training(&system, &sweep).await?;
    let orphans = system.workers()?;
    system.kill().await?;
    system.restart().await?;
    ensure!(system.finish(&sweep).await?.state() == SweepState::Succeeded);
    let kept = v1::GetSweepRequest { name: done };
    let kept = system.sweeps().await?.get_sweep(kept).await?.into_inner();
    ensure!(kept.state() == SweepState::Succeeded, "{kept:?}");
    for job in system.jobs_of(&sweep).await? {
        let accepted = job
            .attempts
            .iter()
            .filter(|a| a.outcome() == AttemptOutcome::Succeeded);
        ensure!(accepted.count() == 1, "{job:?}");
    }
    wait_ended(&orphans, GRACE)
        .await
        .context("a worker outlived its system")?;
    system.stop().await
}
