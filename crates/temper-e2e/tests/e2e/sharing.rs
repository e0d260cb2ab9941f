//! Requests repeated, cells shared, sweeps cancelled.

use anyhow::ensure;
use temper_e2e::{Options, System, sweeps};
use temper_proto::v1::{self, JobKind, JobState, SweepState};
use tonic::Code;
use uuid::Uuid;

#[tokio::test]
async fn work_that_is_done_is_never_done_again() -> anyhow::Result<()> {
    let mut system = System::start(Options::default()).await?;
    let mut request = sweeps::tiny([0]);
    request.request_id = Uuid::new_v4().to_string();
    let first = system.submit(request.clone()).await?;
    let repeated = system.submit(request.clone()).await?;
    ensure!(
        first.name == repeated.name,
        "one request id made two sweeps"
    );
    let mut other = sweeps::tiny([5]);
    other.request_id.clone_from(&request.request_id);
    let refused = system.sweeps().await?.create_sweep(other).await.err();
    ensure!(refused.map(|status| status.code()) == Some(Code::AlreadyExists));
    ensure!(system.finish(&first.name).await?.state() == SweepState::Succeeded);

    let again = system.submit(sweeps::tiny([0])).await?;
    ensure!(
        again.name != first.name && again.jobs_created == 0,
        "{again:?}"
    );
    ensure!(again.state() == SweepState::Succeeded, "results at once");

    let mut wider = sweeps::tiny([0]);
    sweeps::spec(&mut wider).evaluations[0].grid_end = "4/255".to_owned();
    let wider = system.submit(wider).await?;
    ensure!(wider.jobs_created == 1, "{wider:?}");
    let wider = system.finish(&wider.name).await?;
    let jobs = system.jobs_of(&wider.name).await?;
    let trainings = |jobs: &[v1::Job]| {
        let trainings = jobs.iter().filter(|job| job.kind() == JobKind::Train);
        trainings
            .map(|job| (job.name.clone(), job.attempts.len()))
            .collect::<Vec<_>>()
    };
    ensure!(trainings(&jobs) == trainings(&system.jobs_of(&first.name).await?));
    ensure!(
        trainings(&jobs)[0].1 == 1,
        "the training ran once for all three"
    );
    system.stop().await
}

#[tokio::test]
async fn cancelling_one_of_two_sweeps_leaves_the_other_whole() -> anyhow::Result<()> {
    let mut system = System::start(Options::default()).await?;
    let both = system.submit(sweeps::long([0, 1])).await?;
    let one = system.submit(sweeps::long([0])).await?;
    ensure!(one.jobs_created == 0, "{one:?}");
    // While the shared training runs.
    system
        .watch_until(&one.name, |_, jobs| {
            jobs.iter().any(|job| job.epochs_done > 0)
        })
        .await?;
    let request = v1::CancelSweepRequest {
        name: both.name.clone(),
    };
    let cancelled = system
        .sweeps()
        .await?
        .cancel_sweep(request.clone())
        .await?
        .into_inner();
    ensure!(cancelled.state() == SweepState::Cancelled);
    // Twice changes nothing.
    system.sweeps().await?.cancel_sweep(request).await?;
    ensure!(system.finish(&one.name).await?.state() == SweepState::Succeeded);
    for job in system.jobs_of(&both.name).await? {
        let shared = job.state() == JobState::Succeeded && job.attempts.len() == 1;
        let alone = job.state() == JobState::Cancelled;
        ensure!(shared || alone, "{job:?}");
    }
    system.stop().await
}

#[tokio::test]
async fn a_running_job_that_nobody_wants_any_more_stops_on_its_worker() -> anyhow::Result<()> {
    // Its worker hears of it by a heartbeat.
    let mut system = System::start(Options::short_lease()).await?;
    let unwanted = system.submit(sweeps::long([0])).await?;
    system
        .watch_until(&unwanted.name, |_, jobs| {
            jobs.iter().any(|job| job.epochs_done > 0)
        })
        .await?;
    let request = v1::CancelSweepRequest {
        name: unwanted.name.clone(),
    };
    system.sweeps().await?.cancel_sweep(request).await?;
    // Its only worker is free for another one.
    let wanted = system.submit(sweeps::tiny([3])).await?;
    ensure!(system.finish(&wanted.name).await?.state() == SweepState::Succeeded);
    // A live sweep that wants it brings it back; it resumes where it was.
    let back = system.submit(sweeps::long([0])).await?;
    ensure!(system.finish(&back.name).await?.state() == SweepState::Succeeded);
    system.stop().await
}
