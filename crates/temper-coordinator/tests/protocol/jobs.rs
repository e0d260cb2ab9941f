//! What people do to jobs: trying them again, cancelling them, reading what they logged.

use anyhow::{Context as _, ensure};
use temper_proto::v1::{self, job_service_client::JobServiceClient};
use temper_service::client::Channel;
use tonic::{Code, Status};

use crate::house::{Hand, House};

fn jobs(house: &House) -> JobServiceClient<Channel> {
    JobServiceClient::new(house.channel.clone())
}

async fn fail(worker: &mut Hand, lease: &v1::LeaseRef, message: &str) -> Result<(), Status> {
    let request = v1::FailRequest {
        lease: Some(lease.clone()),
        failure_class: v1::FailureClass::BadInput.into(),
        message: message.to_owned(),
        ..v1::FailRequest::default()
    };
    worker.client.fail(request).await.map(drop)
}

fn lines(messages: &[&str]) -> Vec<v1::LogLine> {
    let line = |message: &&str| v1::LogLine {
        number: 0,
        time: "2026-01-02T03:04:05Z".parse().ok(),
        level: v1::LogLevel::Info.into(),
        target: "temper_worker::train".to_owned(),
        message: (*message).to_owned(),
    };
    messages.iter().map(line).collect()
}

async fn log(
    worker: &mut Hand,
    lease: &v1::LeaseRef,
    first_line: i32,
    lines: Vec<v1::LogLine>,
) -> Result<(), Status> {
    let request = v1::ReportLogsRequest {
        lease: Some(lease.clone()),
        first_line,
        lines,
    };
    worker.client.report_logs(request).await.map(drop)
}

async fn told(mut stream: tonic::Streaming<v1::GetLogsResponse>) -> Result<Vec<String>, Status> {
    let mut told = Vec::new();
    while let Some(message) = stream.message().await? {
        let lines = message.lines.into_iter();
        told.extend(lines.map(|line| format!("{} {}", line.number, line.message)));
    }
    Ok(told)
}

#[tokio::test]
async fn failed_job_is_retried_by_filter_and_a_slip_in_the_filter_is_named() -> anyhow::Result<()> {
    let house = House::open().await?;
    let sweep = house.submit("").await?.name;
    let mut worker = Hand::register(&house, "worker").await?;
    let lease = worker.lease().await?.lease.context("a lease")?;
    fail(&mut worker, &lease, "weights.safetensors is cut short").await?;

    let retry = async |filter: v1::JobFilter, validate_only: bool| {
        let request = v1::RetryJobsRequest {
            parent: sweep.clone(),
            filter: Some(filter),
            validate_only,
        };
        let answer = jobs(&house).retry_jobs(request).await;
        answer.map(tonic::Response::into_inner)
    };
    let wrong = v1::JobFilter {
        cells: Some(v1::CellMatch {
            models: vec!["mobilenetv3".to_owned()],
            ..v1::CellMatch::default()
        }),
        ..v1::JobFilter::default()
    };
    let refused = retry(wrong, false).await.err().context("accepted")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    ensure!(
        refused.message().contains("filter.cells.models[0]"),
        "{refused:?}"
    );
    let wrong = v1::JobFilter {
        states: vec![v1::JobState::Succeeded.into()],
        cells: Some(v1::CellMatch {
            schedules: vec!["sudden".to_owned()],
            ..v1::CellMatch::default()
        }),
        ..v1::JobFilter::default()
    };
    let refused = retry(wrong, false).await.err().context("accepted")?;
    for field in ["filter.states[0]", "filter.cells.schedules[0]"] {
        ensure!(refused.message().contains(field), "{refused:?}");
    }

    let right = v1::JobFilter {
        states: vec![v1::JobState::Failed.into()],
        failure_classes: vec![v1::FailureClass::BadInput.into()],
        cells: Some(v1::CellMatch {
            models: vec!["mobilenetv2".to_owned()],
            target_epsilons: vec!["2/255".to_owned()],
            ..v1::CellMatch::default()
        }),
        ..v1::JobFilter::default()
    };
    let preview = retry(right.clone(), true).await?;
    ensure!(
        preview.jobs == [lease.job.clone()] && preview.count == 1,
        "{preview:?}"
    );
    ensure!(house.job(&lease.job).await?.state() == v1::JobState::Failed);
    ensure!(retry(right.clone(), false).await? == preview);
    ensure!(retry(right, false).await?.count == 0);
    let again = worker.lease().await?.lease.context("a lease")?;
    ensure!(
        again.job == lease.job && again.fence > lease.fence,
        "{again:?}"
    );
    house.close().await
}

#[tokio::test]
async fn cancelled_job_tells_its_worker_to_stop_and_attempts_are_listed() -> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let lease = worker.lease().await?.lease.context("a lease")?;
    let request = v1::CancelJobRequest {
        name: lease.job.clone(),
    };
    for _ in 0..2 {
        let cancelled = jobs(&house).cancel_job(request.clone()).await?.into_inner();
        ensure!(
            cancelled.state() == v1::JobState::Cancelled,
            "{cancelled:?}"
        );
        ensure!(cancelled.message.contains("a person"), "{cancelled:?}");
    }
    ensure!(worker.heartbeat(&lease).await? == v1::LeaseStatus::Cancel);

    let request = v1::ListAttemptsRequest {
        parent: lease.job.clone(),
        page_size: 1,
        page_token: String::new(),
    };
    let page = jobs(&house).list_attempts(request).await?.into_inner();
    ensure!(page.next_page_token.is_empty(), "{page:?}");
    let [attempt] = page.attempts.as_slice() else {
        anyhow::bail!("{page:?}")
    };
    ensure!(
        attempt.outcome() == v1::AttemptOutcome::Cancelled,
        "{attempt:?}"
    );
    let seconds = attempt.device_seconds.context("no device time")?;
    let job = house.job(&lease.job).await?;
    ensure!((job.device_seconds - seconds).abs() < 1e-9, "{job:?}");
    ensure!((job.wasted_share - 1.0).abs() < 1e-9, "{job:?}");
    house.close().await
}

#[tokio::test]
async fn log_is_followed_until_its_attempt_ends_and_read_again_afterwards() -> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let lease = worker.lease().await?.lease.context("a lease")?;
    let request = |follow, after_line| v1::GetLogsRequest {
        name: lease.job.clone(),
        attempt: 0,
        follow,
        after_line,
    };
    log(&mut worker, &lease, 1, lines(&["one", "two"])).await?;
    let mut followed = jobs(&house).get_logs(request(true, 0)).await?.into_inner();
    let first = followed.message().await?.context("nothing said")?;
    ensure!(first.attempt == 1 && first.lines.len() == 2, "{first:?}");
    let rest = tokio::spawn(told(followed));
    log(&mut worker, &lease, 2, lines(&["two", "three"])).await?;
    log(&mut worker, &lease, 9, lines(&["nine"])).await?;
    fail(&mut worker, &lease, "no").await?;
    ensure!(rest.await?? == ["3 three", "9 nine"]);

    let read = jobs(&house).get_logs(request(false, 1)).await?.into_inner();
    ensure!(told(read).await? == ["2 two", "3 three", "9 nine"]);
    let mut read = jobs(&house).get_logs(request(false, 0)).await?.into_inner();
    let all = read.message().await?.context("nothing said")?;
    ensure!(all.dropped_lines == 5, "{all:?}");
    let late = log(&mut worker, &lease, 10, lines(&["late"])).await;
    ensure!(late.err().map(|status| status.code()) == Some(Code::Aborted));
    house.close().await
}

#[tokio::test]
async fn log_that_is_none_and_lines_that_are_none_are_refused() -> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let get = async |name: &str, attempt| {
        let request = v1::GetLogsRequest {
            name: name.to_owned(),
            attempt,
            ..v1::GetLogsRequest::default()
        };
        let answer = jobs(&house).get_logs(request).await;
        answer.err().map(|status| status.code())
    };
    ensure!(get("jobs/1", 0).await == Some(Code::FailedPrecondition));
    ensure!(get("jobs/99", 0).await == Some(Code::NotFound));
    ensure!(get("jobs/1", -1).await == Some(Code::InvalidArgument));
    let lease = worker.lease().await?.lease.context("a lease")?;
    ensure!(get(&lease.job, 0).await.is_none());
    ensure!(get(&lease.job, 2).await == Some(Code::NotFound));

    let mut timeless = lines(&["one"]);
    timeless[0].time = None;
    let mut shapeless = lines(&["one", "two"]);
    shapeless[1].level = 0;
    for (first, lines, field) in [
        (0, lines(&["one"]), "first_line"),
        (1, timeless, "lines[0].time"),
        (1, shapeless, "lines[1].level"),
        (1, lines(&["x"; 1001]), "lines"),
    ] {
        let refused = log(&mut worker, &lease, first, lines).await;
        let refused = refused.err().context("accepted")?;
        ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
        ensure!(refused.message().contains(field), "{refused:?}");
    }
    house.close().await
}
