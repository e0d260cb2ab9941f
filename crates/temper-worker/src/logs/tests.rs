use temper_core::job::FailureClass;
use temper_proto::v1::FailureClass as Class;
use temper_service::objects::Objects;
use tonic::Status;
use tracing::{Instrument as _, Span, instrument::WithSubscriber as _};
use tracing_subscriber::{layer::SubscriberExt as _, registry};

use super::*;
use crate::{
    fake::{Call, Running, Script, anywhere},
    lease::Lease,
    report::Reports,
};

fn lease() -> v1::LeaseRef {
    v1::LeaseRef {
        job: "jobs/1".into(),
        incarnation: "i".into(),
        fence: 7,
    }
}

/// Reports of a job whose log has these lines.
fn reports(running: &Running, lines: &[&str]) -> (Reports, Logs) {
    let capture = Capture::default();
    let captured = tracing::subscriber::with_default(registry().with(capture.layer()), || {
        let span = tracing::info_span!("job");
        let captured = capture.attach(&span);
        span.in_scope(|| lines.iter().for_each(|line| tracing::info!("{line}")));
        captured
    });
    let coordinator = Coordinator::new(&running.url(), &Running::credentials()).unwrap();
    let logs = Logs::new(coordinator.clone(), lease(), captured);
    let objects = Objects::open(&running.objects()).unwrap();
    let reports = Reports::new(coordinator, objects, Arc::new(Lease::new(lease())));
    (reports.with_logs(logs.clone()), logs)
}

fn lines(first: i32, lines: &[&str]) -> Call {
    Call::Logs(first, lines.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn last_lines_arrive_before_the_attempt_ends() {
    let mut running = Running::start(anywhere(), Script::default()).await;
    let (failing, _) = reports(&running, &["training", "failed"]);
    failing
        .fail(FailureClass::BadInput, "torn".to_owned())
        .await
        .unwrap();
    assert_eq!(running.call().await, lines(1, &["training", "failed"]));
    let failed = Call::Fail(Class::BadInput, "torn".to_owned());
    assert_eq!(running.call().await, failed);

    let (draining, _) = reports(&running, &["stopping"]);
    draining.release().await.unwrap();
    assert_eq!(running.call().await, lines(1, &["stopping"]));
    assert_eq!(running.call().await, Call::Release);
}

#[tokio::test]
async fn reason_of_a_failure_names_an_address_without_its_password() {
    let mut running = Running::start(anywhere(), Script::default()).await;
    let (failing, _) = reports(&running, &[]);
    let reason = "no answer from s3://key:secret@bucket/x".to_owned();
    failing
        .fail(FailureClass::Infrastructure, reason)
        .await
        .unwrap();
    let told = "no answer from s3://***@bucket/x".to_owned();
    assert_eq!(
        running.call().await,
        Call::Fail(Class::Infrastructure, told)
    );
}

#[tokio::test]
async fn lines_that_were_not_taken_are_sent_again_under_their_numbers() {
    let script = Script {
        logs: [Some(Err(Status::unavailable("starting")))].into(),
        ..Script::default()
    };
    let mut running = Running::start(anywhere(), script).await;
    let (_, logs) = reports(&running, &["one", "two"]);
    logs.send().await;
    assert_eq!(running.call().await, lines(1, &["one", "two"]));
    logs.send().await;
    assert_eq!(running.call().await, lines(1, &["one", "two"]));
    logs.send().await;
    assert_eq!(logs.0.captured.buffer().batch(), None, "taken once");
}

#[tokio::test]
async fn coordinator_that_takes_no_lines_is_left_alone() {
    let script = Script {
        logs: [Some(Err(Status::unimplemented("of the release before")))].into(),
        ..Script::default()
    };
    let mut running = Running::start(anywhere(), script).await;
    let (reports, logs) = reports(&running, &["one"]);
    logs.send().await;
    assert_eq!(running.call().await, lines(1, &["one"]));
    logs.send().await;
    reports.release().await.unwrap();
    assert_eq!(running.call().await, Call::Release);
}

#[tokio::test]
async fn coordinator_that_hangs_holds_the_end_of_a_job_up_for_seconds_at_most() {
    let script = Script {
        logs: [None].into(),
        ..Script::default()
    };
    let mut running = Running::start(anywhere(), script).await;
    let (reports, _) = reports(&running, &["one"]);
    reports.release().await.unwrap();
    assert_eq!(running.call().await, lines(1, &["one"]));
    assert_eq!(running.call().await, Call::Release);
}

#[tokio::test]
async fn lines_are_sent_while_the_job_runs_and_no_more_once_it_is_done() {
    let mut running = Running::start(anywhere(), Script::default()).await;
    let capture = Capture::default();
    let coordinator = Coordinator::new(&running.url(), &Running::credentials()).unwrap();
    let end = CancellationToken::new();
    let ends = end.clone();
    let job = async {
        let captured = capture.attach(&Span::current());
        let logs = Logs::new(coordinator, lease(), captured);
        let sending = tokio::spawn(logs.send_until(ends));
        tracing::info!("first");
        assert_eq!(running.call().await, lines(1, &["first"]));
        tracing::info!("second");
        assert_eq!(running.call().await, lines(2, &["second"]));
        end.cancel();
        sending.await.unwrap();
    };
    let subscriber = registry().with(capture.layer());
    // The span is made under the subscriber that knows it.
    let job = async { job.instrument(tracing::info_span!("job")).await };
    job.with_subscriber(subscriber).await;
}
