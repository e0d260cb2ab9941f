//! The worker protocol against a real coordinator on a real PostgreSQL, spoken by hand: what a
//! worker may do late, twice, or under another's lease.

mod access;
mod fuzz;
mod house;
mod jobs;
mod metrics;
mod refusals;
mod results;
mod scaler;
mod steering;
mod traces;

use anyhow::{Context as _, ensure};
use temper_core::Digest;
use temper_proto::v1::{self, sweep_service_client::SweepServiceClient};
use tonic::Code;

use crate::house::{Hand, House, SHORT_LEASE};

#[tokio::test]
async fn late_worker_is_refused_with_a_reason_and_its_files_harm_nothing() -> anyhow::Result<()> {
    let house = House::open_leasing(SHORT_LEASE).await?;
    house.submit("").await?;
    let mut late = Hand::register(&house, "late").await?;
    let mut successor = Hand::register(&house, "successor").await?;
    let first = late.lease().await?;
    let first_lease = first.lease.clone().context("a lease")?;
    late.report(&first_lease, &[0, 1]).await?;
    // No heartbeat: the lease runs out, and the waiting successor is given the job.
    let second = successor.lease().await?;
    let second_lease = second.lease.clone().context("a lease")?;
    ensure!(second_lease.job == first_lease.job && second_lease.fence > first_lease.fence);
    ensure!(late.heartbeat(&first_lease).await? == v1::LeaseStatus::Lost);
    ensure!(successor.heartbeat(&second_lease).await? == v1::LeaseStatus::Continue);

    let refused = late
        .complete(&first, b"late model")
        .await
        .err()
        .context("accepted")?;
    ensure!(refused.code() == Code::Aborted, "{refused:?}");
    ensure!(refused.message().contains("lease"), "{refused:?}");
    let refused = late
        .report(&first_lease, &[0])
        .await
        .err()
        .context("accepted")?;
    ensure!(refused.code() == Code::Aborted, "{refused:?}");

    // The late worker's epochs went with its lease: handing in without them is refused.
    let gap = successor
        .complete(&second, b"model")
        .await
        .err()
        .context("accepted")?;
    ensure!(gap.code() == Code::FailedPrecondition, "{gap:?}");
    successor.report(&second_lease, &[0, 1]).await?;
    successor.complete(&second, b"model").await?;
    // As after a lost reply.
    successor.complete(&second, b"model").await?;
    ensure!(late.complete(&first, b"late model").await.is_err());

    ensure!(
        house
            .artifact(&second_lease.job, v1::Selection::Unspecified)
            .await?
            == b"model"
    );
    let job = house.job(&second_lease.job).await?;
    let outcomes: Vec<_> = job.attempts.iter().map(v1::Attempt::outcome).collect();
    ensure!(
        outcomes == [v1::AttemptOutcome::Lost, v1::AttemptOutcome::Succeeded],
        "{job:?}"
    );
    house.close().await
}

#[tokio::test]
async fn lease_whose_answer_was_lost_is_given_back_by_asking_again() -> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let mut other = Hand::register(&house, "other").await?;
    let unheard = worker.ask(true, 20).await?.context("no job")?;
    let unheard = unheard.lease.context("a lease")?;
    // Nobody waits for it to run out: it is the same job, under a fence that what is under way lacks.
    let heard = worker.ask(true, 20).await?.context("no job")?;
    let heard = heard.lease.context("a lease")?;
    ensure!(heard.job == unheard.job && heard.fence > unheard.fence);
    ensure!(worker.heartbeat(&unheard).await? == v1::LeaseStatus::Lost);
    // What another worker holds stays its own.
    ensure!(other.ask(true, 0).await?.is_none());
    ensure!(worker.heartbeat(&heard).await? == v1::LeaseStatus::Continue);
    let job = house.job(&heard.job).await?;
    ensure!(
        job.attempts[0].outcome() == v1::AttemptOutcome::Released,
        "{job:?}"
    );
    house.close().await
}

#[tokio::test]
async fn a_lease_covers_neither_another_folder_nor_another_job() -> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let job = worker.lease().await?;
    let lease = job.lease.clone().context("a lease")?;
    let checkpoint = v1::Checkpoint {
        step: 1,
        epochs: 0,
        path: format!("{}/{}/1", job.key, lease.fence + 1),
        sha256: Digest::of(b"state").to_string(),
        size: 5,
    };
    let request = v1::RegisterCheckpointRequest {
        lease: Some(lease.clone()),
        checkpoint: Some(checkpoint),
    };
    let refused = worker
        .client
        .register_checkpoint(request)
        .await
        .err()
        .context("accepted")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    let mut stolen = Hand::register(&house, "thief").await?;
    let lease = v1::LeaseRef {
        incarnation: stolen.incarnation.clone(),
        ..lease
    };
    let refused = stolen
        .report(&lease, &[0])
        .await
        .err()
        .context("accepted")?;
    ensure!(refused.code() == Code::Aborted, "{refused:?}");
    house.close().await
}

#[tokio::test]
async fn bad_input_fails_the_job_at_once_and_cancels_what_depends_on_it() -> anyhow::Result<()> {
    let house = House::open().await?;
    let sweep = house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let job = worker.lease().await?;
    let request = v1::FailRequest {
        lease: job.lease.clone(),
        failure_class: v1::FailureClass::BadInput.into(),
        message: "weights.safetensors is cut short".to_owned(),
        ..v1::FailRequest::default()
    };
    worker.client.fail(request).await?;
    let mut client = SweepServiceClient::new(house.channel.clone());
    let watched = v1::WatchSweepRequest { name: sweep.name };
    let mut stream = client.watch_sweep(watched).await?.into_inner();
    let mut last = v1::WatchSweepResponse::default();
    while let Some(message) = stream.message().await? {
        last = message;
    }
    let sweep = last.sweep.context("no sweep")?;
    ensure!(sweep.state() == v1::SweepState::Failed, "{sweep:?}");
    let counts = sweep.jobs.unwrap_or_default();
    ensure!((counts.failed, counts.cancelled) == (1, 1), "{counts:?}");
    let lease = job.lease.context("a lease")?;
    ensure!(
        house
            .job(&lease.job)
            .await?
            .message
            .contains("weights.safetensors")
    );
    house.close().await
}

#[tokio::test]
async fn jobs_of_a_large_sweep_are_told_in_parts_and_the_sweep_with_the_last() -> anyhow::Result<()>
{
    let house = House::open().await?;
    let mut request = house::request("", 0);
    let axes = request.sweep.as_mut().and_then(|sweep| sweep.spec.as_mut());
    axes.context("a spec")?.seeds = (0..3000).collect();
    let mut client = SweepServiceClient::new(house.channel.clone());
    let sweep = client.create_sweep(request).await?.into_inner();
    let watched = v1::WatchSweepRequest { name: sweep.name };
    let mut stream = client.watch_sweep(watched).await?.into_inner();
    let mut told = std::collections::HashSet::new();
    for (jobs, is_whole) in [(5000, false), (1000, true)] {
        let message = stream.message().await?.context("no message")?;
        ensure!(message.jobs.len() == jobs, "{} jobs", message.jobs.len());
        ensure!(message.sweep.is_some() == is_whole, "{:?}", message.sweep);
        told.extend(message.jobs.into_iter().map(|job| job.name));
    }
    ensure!(told.len() == 6000, "{} were told", told.len());
    house.close().await
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_no_name_is_invalid() -> anyhow::Result<()> {
    let house = House::open().await?;
    let mut client = SweepServiceClient::new(house.channel.clone());
    let mut code = async |name: String| {
        let answer = client.get_sweep(v1::GetSweepRequest { name }).await;
        answer.err().map(|status| status.code())
    };
    ensure!(code(format!("sweeps/{}", uuid::Uuid::nil())).await == Some(Code::NotFound));
    ensure!(code("sweeps/one".to_owned()).await == Some(Code::InvalidArgument));
    let refused = house.submit("not a uuid").await.err().context("accepted")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    house.close().await
}

#[tokio::test]
async fn pages_of_sweeps_follow_one_another_without_gap_or_repeat() -> anyhow::Result<()> {
    let house = House::open().await?;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(house.submit("").await?.name);
    }
    made.reverse();
    let mut client = SweepServiceClient::new(house.channel.clone());
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListSweepsRequest {
            page_size: 2,
            page_token,
            ..v1::ListSweepsRequest::default()
        };
        let page = client.list_sweeps(request).await?.into_inner();
        ensure!(page.sweeps.len() <= 2);
        listed.extend(page.sweeps.into_iter().map(|sweep| sweep.name));
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    ensure!(listed == made, "{listed:?} {made:?}");
    let request = v1::ListSweepsRequest {
        page_token: "zz".to_owned(),
        ..v1::ListSweepsRequest::default()
    };
    let refused = client
        .list_sweeps(request)
        .await
        .err()
        .context("accepted")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    house.close().await
}
