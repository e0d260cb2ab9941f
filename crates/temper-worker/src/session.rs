//! Registering and leasing, until this process is to stop.

use std::{sync::Arc, time::Duration};

use temper_core::spec::{Precision, RESULT_VERSION};
use temper_data::DataError;
use temper_proto::v1;
use temper_service::{
    client::{ConnectError, CredentialsError, is_transient},
    metrics::{Metrics, MetricsError},
    objects::{Objects, ObjectsError},
    status,
    stop::{Stop, TaskPanicked, Tasks},
    traces,
};
use temper_torch::{Device, free_memory};
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    backend::{Backend, Torch},
    config::Config,
    coordinator::Coordinator,
    engine::Engine,
    evaluate::Models,
    job::{self, Host, Terms},
    lease::Timing,
    logs::Capture,
    metrics::{self, METRICS, Memory},
    report::Backoff,
};

/// A poll that ends sooner than this without a job was no long poll.
const SHORT_POLL: Duration = Duration::from_millis(500);

/// What is left of the time on the machine when a worker begins to leave: for its checkpoint.
const LAST_MINUTE: Duration = Duration::from_mins(1);

/// How long the step that runs may take to notice a cut.
const LAST_STEP: Duration = Duration::from_secs(5);

/// Why a worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such address.
    #[error(transparent)]
    Address(#[from] ConnectError),
    /// By what this worker shows who it is cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The system gives no thread to libtorch.
    #[error("the libtorch thread cannot be started")]
    Engine(#[source] std::io::Error),
    /// Where images and weights lie cannot be made out.
    #[error(transparent)]
    Inputs(#[from] DataError),
    /// The coordinator does not want this worker.
    #[error("the coordinator refused to register this worker: {}", status::explain(.0))]
    Refused(Status),
    /// The coordinator's terms make no sense.
    #[error("the coordinator's terms cannot be kept: {0}")]
    Terms(&'static str),
    /// The coordinator's object store is out of reach from here.
    #[error("the coordinator's object store cannot be used from this machine")]
    Objects(#[from] ObjectsError),
    /// Metrics cannot be told.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A task of this process broke.
    #[error(transparent)]
    Task(#[from] TaskPanicked),
}

/// What became of waiting for a job.
enum Leased {
    Job(Box<v1::Assignment>),
    Nothing,
    /// The coordinator does not know this incarnation.
    Unknown,
    Stopping,
}

/// Works until `stop`. A coordinator that is away is waited for. What jobs log goes through `capture`,
/// whose layer the process's subscriber should have.
///
/// # Errors
/// When the coordinator refuses this worker for good, or its object store is out of reach.
pub async fn run(config: Config, capture: Capture, stop: Stop) -> Result<(), SessionError> {
    let backend = Torch {
        sources: config.inputs.sources()?,
        device: config.device,
    };
    run_with(Arc::new(backend), config, capture, stop).await
}

/// The same with something else than libtorch to compute.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    backend: Arc<dyn Backend>,
    config: Config,
    capture: Capture,
    stop: Stop,
) -> Result<(), SessionError> {
    let version = env!("CARGO_PKG_VERSION");
    let measured = config.metrics.bind(version, &[METRICS]).await?;
    metrics::begin();
    let credentials = config.access.load()?;
    let coordinator = Coordinator::new(&config.coordinator, &credentials)?;
    let host = Host {
        engine: Engine::start(config.threads()).map_err(SessionError::Engine)?,
        backend,
        models: Models::default(),
        capture,
        device: config.device,
        checkpoint_every: config.checkpoint_every,
        leaves_at: config.wall_time.map(|time| Instant::now() + time),
        tasks: Tasks::new(&stop),
        stop: stop.clone(),
    };
    if let Some(time) = host.time_left() {
        let leaving = leave(time.saturating_sub(LAST_MINUTE), stop.clone());
        host.tasks.spawn("wall-time", leaving);
    }
    let ended = tokio::select! {
        ended = work(&config, &host, &coordinator) => ended,
        () = tell(measured, host.device) => Ok(()),
        () = stop.cut.cancelled() => {
            tracing::warn!("cut: what was under way is dropped");
            Ok(())
        }
    };
    let Host { engine, tasks, .. } = host;
    engine.finish(LAST_STEP).await;
    tasks.finish().await?;
    ended?;
    tracing::info!("stopped");
    Ok(())
}

async fn work(config: &Config, host: &Host, coordinator: &Coordinator) -> Result<(), SessionError> {
    let mut backoff = Backoff::new();
    while let Some(terms) = register(config, host, coordinator).await? {
        loop {
            if is_late(host, &terms) {
                tracing::info!("too little time is left on this machine for another job");
                host.stop.gracefully();
                return Ok(());
            }
            match lease(host, &terms).await {
                Leased::Job(assignment) => {
                    backoff = Backoff::new();
                    let lease = assignment.lease.clone().unwrap_or_default();
                    let span = tracing::info_span!("job", job = lease.job, fence = lease.fence);
                    if let Ok(parent) = assignment.traceparent.parse() {
                        traces::follow(&span, parent);
                    }
                    job::run(host, &terms, *assignment).instrument(span).await;
                }
                Leased::Nothing => {}
                Leased::Unknown => {
                    paused(&mut backoff, host).await;
                    break;
                }
                Leased::Stopping => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Tells metrics until dropped.
async fn tell(metrics: Option<Metrics>, device: Device) {
    match metrics {
        Some(metrics) => metrics.collecting(Arc::new(Memory(device))).serve().await,
        None => std::future::pending().await,
    }
}

/// Whether the coordinator would not give this worker a job any more: too little time is left.
fn is_late(host: &Host, terms: &Terms) -> bool {
    let least = host.checkpoint_every + terms.timing.duration;
    host.time_left().is_some_and(|left| left < least)
}

/// Stops after so long, unless something else does before.
async fn leave(after: Duration, stop: Stop) {
    tokio::select! {
        () = tokio::time::sleep(after) => {
            tracing::warn!("the time on this machine is nearly over: stopping");
            stop.gracefully();
        }
        () = stop.graceful.cancelled() => {}
    }
}

/// Introduces this process under a fresh incarnation; none when it is to stop first.
async fn register(
    config: &Config,
    host: &Host,
    coordinator: &Coordinator,
) -> Result<Option<Terms>, SessionError> {
    let incarnation = Uuid::new_v4().to_string();
    let precisions = Precision::ALL.map(|precision| v1::Precision::from(precision).into());
    let request = v1::RegisterRequest {
        incarnation: incarnation.clone(),
        worker: config.worker_name(),
        device: config.device.to_string(),
        memory_bytes: config.memory_bytes(),
        result_versions: vec![RESULT_VERSION],
        precisions: precisions.to_vec(),
        labels: config.labels.iter().cloned().collect(),
        time_left: host.time_left().and_then(|time| time.try_into().ok()),
        checkpoint_interval: config.checkpoint_every.try_into().ok(),
    };
    let attempts = async {
        let (mut backoff, mut told) = (Backoff::new(), false);
        loop {
            match coordinator.register(request.clone()).await {
                Err(status) if is_transient(&status) => {
                    if !std::mem::replace(&mut told, true) {
                        let reason = status::explain(&status);
                        tracing::warn!(url = config.coordinator, reason, "no coordinator yet");
                    }
                    backoff.pause().await;
                }
                answer => return answer,
            }
        }
    };
    let answer = tokio::select! {
        answer = attempts => answer.map_err(SessionError::Refused)?,
        () = host.stop.graceful.cancelled() => return Ok(None),
    };
    let terms = Terms {
        coordinator: coordinator.clone(),
        incarnation,
        timing: timing(&answer)?,
        objects: Objects::open(&answer.object_store)?,
    };
    tracing::info!(
        worker = request.worker,
        device = request.device,
        incarnation = terms.incarnation,
        objects = answer.object_store,
        "registered"
    );
    Ok(Some(terms))
}

fn timing(answer: &v1::RegisterResponse) -> Result<Timing, SessionError> {
    let positive = |duration: Option<&_>| duration.copied().and_then(positive);
    let duration = positive(answer.lease_duration.as_ref())
        .ok_or(SessionError::Terms("lease_duration must be above 0"))?;
    let interval = positive(answer.heartbeat_interval.as_ref())
        .filter(|interval| *interval < duration)
        .ok_or(SessionError::Terms(
            "heartbeat_interval must be above 0, below lease_duration",
        ))?;
    Ok(Timing { duration, interval })
}

fn positive(duration: prost_types::Duration) -> Option<Duration> {
    Duration::try_from(duration)
        .ok()
        .filter(|duration| !duration.is_zero())
}

/// Waits for a job. Whatever goes wrong is logged, and followed by a pause.
async fn lease(host: &Host, terms: &Terms) -> Leased {
    let mut backoff = Backoff::new();
    loop {
        let asked = Instant::now();
        let answer = tokio::select! {
            biased;
            () = host.stop.graceful.cancelled() => return Leased::Stopping,
            // Dropped while a job is on its way, the lease simply runs out.
            answer = terms.coordinator.lease(&terms.incarnation, free_memory(host.device)) => answer,
        };
        match answer {
            Ok(Some(assignment)) => return Leased::Job(Box::new(assignment)),
            Ok(None) if asked.elapsed() >= SHORT_POLL => return Leased::Nothing,
            Ok(None) => {}
            Err(status) if is_unknown(&status) => {
                tracing::warn!(reason = status.message(), "registering again");
                return Leased::Unknown;
            }
            Err(status) => {
                tracing::warn!(reason = status::explain(&status), "no answer: asking again");
            }
        }
        paused(&mut backoff, host).await;
    }
}

/// Pauses, unless this process is to stop.
async fn paused(backoff: &mut Backoff, host: &Host) {
    tokio::select! {
        () = backoff.pause() => {}
        () = host.stop.graceful.cancelled() => {}
    }
}

fn is_unknown(status: &Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::FailedPrecondition)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::fake::{Call, Running, Script, anywhere};

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
        run(config, Capture::default(), Stop::new()).await.unwrap();
        assert!(matches!(running.call().await, Call::Register(_)));
        assert!(running.calls.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn worker_stops_before_its_time_is_over() {
        let stop = Stop::new();
        let began = Instant::now();
        leave(Duration::from_hours(1), stop.clone()).await;
        assert!(stop.graceful.is_cancelled());
        assert_eq!(began.elapsed(), Duration::from_hours(1));
    }

    #[tokio::test]
    async fn worker_whose_token_is_refused_ends_and_says_so() {
        let running = Running::start(anywhere(), Script::default()).await;
        let mut config = config(&running);
        config.access.token_file = None;
        let refused = run(config, Capture::default(), Stop::new())
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("TEMPER_TOKEN_FILE"), "{refused}");
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
}
