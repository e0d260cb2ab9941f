use clap::Parser;

use super::*;
use crate::fake::{self, Call, Running, Script, Stuck, anywhere};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

fn config(running: &Running) -> Config {
    let fixed = [
        "worker",
        "--mirror",
        "absent",
        "--threads",
        "1",
        "--coordinator",
    ];
    let (url, token) = (running.url(), running.token_file());
    let given = [&url, "--token-file", &token];
    Arguments::parse_from(fixed.into_iter().chain(given)).config
}

async fn run(config: Config, capture: Capture, stop: Stop) -> Result<Left, SessionError> {
    Box::pin(super::run(config, capture, stop, CancellationToken::new())).await
}

fn assignment() -> v1::Assignment {
    let lease = v1::LeaseRef {
        job: "jobs/5".into(),
        incarnation: String::new(),
        fence: 9,
    };
    v1::Assignment {
        lease: Some(lease),
        ..v1::Assignment::default()
    }
}

#[tokio::test]
async fn forgotten_incarnation_is_replaced_and_the_drain_ends_the_wait() {
    let forgotten = Err(Status::not_found("no such incarnation"));
    let script = Script {
        leases: [forgotten, Ok(None)].into(),
        ..Script::default()
    };
    let mut running = Running::start(anywhere(), script).await;
    let stop = Stop::new();
    let session = tokio::spawn(run(config(&running), Capture::default(), stop.clone()));

    let Call::Register(first) = running.call().await else {
        panic!("no registration")
    };
    assert_eq!(running.call().await, Call::Lease(first.clone()));
    let Call::Register(second) = running.call().await else {
        panic!("no registration")
    };
    assert_ne!(first, second);
    // One that is answered at once, and one that waits.
    assert_eq!(running.call().await, Call::Lease(second.clone()));
    assert_eq!(running.call().await, Call::Lease(second));
    stop.gracefully();
    session.await.unwrap().unwrap();
}

#[tokio::test]
async fn unreadable_assignment_fails_as_a_defect_and_the_worker_goes_on() {
    let script = Script {
        leases: [Ok(Some(assignment()))].into(),
        ..Script::default()
    };
    let mut running = Running::start(anywhere(), script).await;
    let stop = Stop::new();
    let session = tokio::spawn(run(config(&running), Capture::default(), stop.clone()));

    let Call::Register(incarnation) = running.call().await else {
        panic!("no registration")
    };
    assert_eq!(running.call().await, Call::Lease(incarnation.clone()));
    let Call::Fail(class, message) = running.call().await else {
        panic!("no failure")
    };
    assert_eq!(class, v1::FailureClass::Code);
    assert!(message.contains("no spec"), "{message}");
    assert_eq!(running.call().await, Call::Lease(incarnation));
    stop.now();
    session.await.unwrap().unwrap();
}

#[tokio::test]
async fn worker_waits_for_its_coordinator() {
    let absent = Running::start(anywhere(), Script::default()).await;
    let (address, config) = (absent.address, config(&absent));
    absent.stop.now();
    absent.task.await.unwrap().unwrap();
    let stop = Stop::new();
    let session = tokio::spawn(run(config, Capture::default(), stop.clone()));
    tokio::task::yield_now().await;

    let mut running = Running::start(address, Script::default()).await;
    assert!(matches!(running.call().await, Call::Register(_)));
    stop.gracefully();
    session.await.unwrap().unwrap();
}

#[tokio::test]
async fn worker_with_too_little_time_left_asks_for_nothing_and_ends() {
    let mut running = Running::start(anywhere(), Script::default()).await;
    let mut config = config(&running);
    config.wall_time = Some(config.checkpoint_every);
    let left = run(config, Capture::default(), Stop::new()).await.unwrap();
    assert_eq!(left, Left::TimeOver);
    assert!(matches!(running.call().await, Call::Register(_)));
    assert!(running.calls.try_recv().is_err());
}

#[tokio::test]
async fn worker_that_is_given_nothing_for_as_long_as_it_may_be_idle_ends_well() {
    let mut running = Running::start(anywhere(), Script::default()).await;
    let mut config = config(&running);
    config.exit_when_idle = Some(Duration::from_secs(2));
    let left = run(config, Capture::default(), Stop::new()).await.unwrap();
    assert_eq!(left, Left::Idle);
    let Call::Register(incarnation) = running.call().await else {
        panic!("no registration")
    };
    assert_eq!(running.call().await, Call::Lease(incarnation));
}

#[tokio::test]
async fn worker_without_a_coordinator_is_idle() {
    let absent = Running::start(anywhere(), Script::default()).await;
    let mut config = config(&absent);
    absent.stop.now();
    absent.task.await.unwrap().unwrap();
    config.exit_when_idle = Some(Duration::from_millis(1));
    run(config, Capture::default(), Stop::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn worker_stops_before_its_time_is_over() {
    let stop = Stop::new();
    let began = Instant::now();
    let time_over = CancellationToken::new();
    leave(Duration::from_hours(1), stop.clone(), time_over.clone()).await;
    assert!(stop.graceful.is_cancelled() && time_over.is_cancelled());
    assert_eq!(began.elapsed(), Duration::from_hours(1));
}

#[test]
fn drain_has_a_minute_or_twice_the_grace_before_the_wall_time() {
    let stays = |grace| stay(Duration::from_hours(1), Duration::from_secs(grace));
    assert_eq!(stays(5), Duration::from_mins(59));
    assert_eq!(stays(90), Duration::from_mins(57));
    assert_eq!(stays(3600), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn worker_leaves_in_time_for_its_drain_before_its_wall_time() {
    let began = Instant::now();
    let mut host = fake::host(Arc::new(Stuck::new().0));
    host.leaves_at = Some(began + Duration::from_hours(1));
    let _until = limit(Duration::from_secs(90), &host);
    host.stop.graceful.cancelled().await;
    assert_eq!(began.elapsed(), Duration::from_mins(57));
    assert!(host.time_over.is_cancelled());
    host.stop.cut.cancelled().await;
    assert_eq!(began.elapsed(), Duration::from_hours(1));
    assert!(host.late.is_cancelled());
}

#[tokio::test]
async fn job_that_does_not_stop_within_the_grace_goes_back_without_being_waited_for() {
    let script = Script {
        leases: [Ok(Some(fake::training()))].into(),
        ..Script::default()
    };
    let mut running = Running::start(anywhere(), script).await;
    let (stop, (stuck, hand)) = (Stop::new(), Stuck::new());
    let mut config = config(&running);
    // Twice of it is longer than this test.
    config.grace = Duration::from_secs(2);
    let session = run_with(Arc::new(stuck), config, Capture::default(), stop.clone());
    let session = tokio::spawn(session);
    assert!(matches!(running.call().await, Call::Register(_)));
    assert!(matches!(running.call().await, Call::Lease(_)));
    hand.started.notified().await;
    stop.gracefully();
    assert_eq!(running.call().await, Call::Release);
    assert!(!stop.cut.is_cancelled());
    drop(hand);
    assert_eq!(session.await.unwrap().unwrap(), Left::Told);
}

#[tokio::test]
async fn worker_whose_token_is_refused_ends_and_says_so() {
    let running = Running::start(anywhere(), Script::default()).await;
    let mut config = config(&running);
    config.access.token_file = None;
    // Which it does not wait for.
    config.wall_time = Some(Duration::from_hours(1));
    let refused = run(config, Capture::default(), Stop::new())
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("TEMPER_TOKEN_FILE"), "{refused}");
}

#[tokio::test]
async fn worker_whose_token_is_taken_no_more_ends_and_no_passing_failure_ends_it() {
    for refusal in [
        Status::unauthenticated("this token was revoked"),
        Status::permission_denied("this token has another role"),
    ] {
        let passing = Err(Status::unavailable("the database is away"));
        let script = Script {
            leases: [passing, Err(refusal)].into(),
            ..Script::default()
        };
        let mut running = Running::start(anywhere(), script).await;
        let ended = run(config(&running), Capture::default(), Stop::new()).await;
        let refused = ended.unwrap_err();
        assert!(matches!(refused, SessionError::Refused(_)), "{refused}");
        assert!(refused.to_string().contains("this token"), "{refused}");
        let Call::Register(incarnation) = running.call().await else {
            panic!("no registration")
        };
        assert_eq!(running.call().await, Call::Lease(incarnation.clone()));
        assert_eq!(running.call().await, Call::Lease(incarnation));
    }
}

#[tokio::test]
async fn worker_whose_device_fails_reports_the_job_and_ends() {
    let script = Script {
        leases: [Ok(Some(fake::training()))].into(),
        ..Script::default()
    };
    let mut running = Running::start(anywhere(), script).await;
    let backend = Arc::new(fake::Broken);
    let session = run_with(backend, config(&running), Capture::default(), Stop::new());
    let ended = Box::pin(session).await.unwrap_err();
    assert!(matches!(ended, SessionError::Failed { .. }), "{ended}");
    let text = ended.to_string();
    assert!(
        text.contains("cpu failed") && text.contains("illegal memory"),
        "{text}"
    );
    assert!(matches!(running.call().await, Call::Register(_)));
    assert!(matches!(running.call().await, Call::Lease(_)));
    let Call::Fail(class, message) = running.call().await else {
        panic!("no failure")
    };
    assert_eq!(class, v1::FailureClass::Infrastructure);
    assert!(message.contains("illegal memory"), "{message}");
    assert!(
        running.calls.try_recv().is_err(),
        "it asked for another job"
    );
}

#[test]
fn terms_that_cannot_be_kept_are_refused() {
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for (lease_duration, heartbeat_interval) in [
        (None, seconds(1)),
        (seconds(5), seconds(0)),
        (seconds(5), seconds(5)),
    ] {
        let answer = v1::RegisterResponse {
            lease_duration,
            heartbeat_interval,
            object_store: String::new(),
        };
        assert!(
            matches!(timing(&answer), Err(SessionError::Terms(_))),
            "{answer:?}"
        );
    }
}
