//! Many jobs, several workers.

use std::collections::HashSet;

use anyhow::ensure;
use temper_e2e::{Options, System, sweeps};
use temper_proto::v1::{self, AttemptOutcome, JobKind, SweepState};

#[tokio::test]
async fn two_workers_share_forty_jobs_and_each_has_one_result() -> anyhow::Result<()> {
    let mut system = System::start(Options {
        workers: 2,
        ..Options::default()
    })
    .await?;
    let mut request = sweeps::tiny(0..20);
    sweeps::spec(&mut request)
        .training
        .get_or_insert_default()
        .epochs = Some(1);
    let sweep = system.submit(request).await?;
    ensure!(sweep.jobs_created == 40, "{sweep:?}");
    let ended = system.finish(&sweep.name).await?;
    ensure!(
        ended.state() == SweepState::Succeeded && ended.cells_succeeded == 20,
        "{ended:?}"
    );
    let jobs = system.jobs_of(&sweep.name).await?;
    ensure!(jobs.len() == 40);
    let mut workers = HashSet::new();
    for job in &jobs {
        let [attempt] = job.attempts.as_slice() else {
            anyhow::bail!("{} has {} attempts", job.name, job.attempts.len());
        };
        ensure!(
            attempt.outcome() == AttemptOutcome::Succeeded,
            "{attempt:?}"
        );
        workers.insert(attempt.worker.clone());
    }
    ensure!(workers.len() == 2, "both workers had work: {workers:?}");

    // The artifact of each training is what its digest says; the client checks it.
    let training = jobs.iter().find(|job| job.kind() == JobKind::Train);
    let name = training.map(|job| job.name.clone()).unwrap_or_default();
    let request = v1::GetArtifactRequest {
        name,
        ..Default::default()
    };
    let mut parts = system
        .jobs()
        .await?
        .get_artifact(request)
        .await?
        .into_inner();
    let (mut info, mut length) = (None, 0);
    while let Some(message) = parts.message().await? {
        match message.part {
            Some(v1::get_artifact_response::Part::Info(stated)) => info = Some(stated),
            Some(v1::get_artifact_response::Part::Chunk(bytes)) => length += bytes.len(),
            None => {}
        }
    }
    ensure!(
        info.is_some_and(|info| info.size > 8_000_000 && usize::try_from(info.size) == Ok(length))
    );
    system.stop().await
}
