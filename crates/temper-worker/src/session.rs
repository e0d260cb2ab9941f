//! Registering and leasing, until this process is to stop.

mod error;
mod idle;

use std::{sync::Arc, time::Duration};

use temper_core::spec::{Precision, RESULT_VERSION};
use temper_proto::v1;
use temper_service::{
    client::is_transient,
    metrics::Metrics,
    objects::Objects,
    status,
    stop::{Stop, Tasks},
    traces,
};
use temper_torch::{Device, free_memory};
use tokio::{task::spawn_blocking, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    backend::{Backend, Torch},
    config::Config,
    coordinator::Coordinator,
    drain,
    engine::Engine,
    evaluate::Models,
    job::{self, DeviceFailed, Host, Terms},
    lease::Timing,
    lock,
    logs::Capture,
    metrics::{self, METRICS, Memory},
    report::Backoff,
};
pub use error::SessionError;
use idle::Idle;

/// A poll that ends sooner than this without a job was no long poll.
const SHORT_POLL: Duration = Duration::from_millis(500);

/// What is left of the time on the machine when a worker begins to leave: for its checkpoint.
const LAST_MINUTE: Duration = Duration::from_mins(1);

/// How long an answer to Lease that is under way may take when this process is to stop: a job that it
/// brings is given back, which a job that nobody hears of is not.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// How long the step that runs may take to notice a cut.
const LAST_STEP: Duration = Duration::from_secs(5);

/// Why a worker left that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It was told to.
    Told,
    /// Its time on the machine is over.
    TimeOver,
    /// It got nothing to do.
    Idle,
}

/// What became of waiting for a job.
enum Leased {
    Job(Box<v1::Assignment>),
    Nothing,
    /// The coordinator does not know this incarnation.
    Unknown,
    /// It does not want this worker any more.
    Refused(Status),
    Stopping,
}

/// Works until `stop`. A coordinator that is away is waited for. What jobs log goes through `capture`,
/// whose layer the process's subscriber should have. `time_over` is cancelled when the wall time begins
/// the stop, for whoever sees no end of this.
///
/// # Errors
/// When the coordinator refuses this worker for good, its object store is out of reach, others use the
/// device, or the device fails.
pub async fn run(
    config: Config,
    capture: Capture,
    stop: Stop,
    time_over: CancellationToken,
) -> Result<Left, SessionError> {
    let asked = config.clone();
    // It asks the driver, which may hang: not on a thread that async code runs on.
    let claimed = spawn_blocking(move || lock::claim(&asked));
    // Held to the end.
    let _lock = tokio::select! {
        claimed = claimed => claimed.map_err(SessionError::Claim)??,
        () = stop.graceful.cancelled() => return Ok(Left::Told),
    };
    let backend = Torch {
        sources: config.inputs.sources()?,
        device: config.device,
    };
    serve(Arc::new(backend), config, capture, stop, time_over).await
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
) -> Result<Left, SessionError> {
    serve(backend, config, capture, stop, CancellationToken::new()).await
}

/// A session from its beginning to its end.
async fn serve(
    backend: Arc<dyn Backend>,
    config: Config,
    capture: Capture,
    stop: Stop,
    time_over: CancellationToken,
) -> Result<Left, SessionError> {
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
        time_over,
        late: CancellationToken::new(),
        tasks: Tasks::new(&stop),
        stop: stop.clone(),
    };
    let done = limit(config.grace, &host);
    let ended = tokio::select! {
        ended = work(&config, &host, &coordinator) => ended,
        () = tell(measured, host.device) => Ok(Left::Told),
        () = stop.cut.cancelled() => {
            tracing::warn!("cut: what was under way is dropped");
            Ok(Left::Told)
        }
    };
    // A session that fails has told nobody to stop, and its tasks would go on to the wall time.
    stop.gracefully();
    drop(done);
    let Host { engine, tasks, .. } = host;
    engine.finish(LAST_STEP).await;
    tasks.finish().await?;
    let left = ended?;
    tracing::info!(?left, "stopped");
    Ok(left)
}

/// Limits a stop by the grace, and the stay by the wall time, until the guard is dropped or the stop
/// begins. In tasks of their own, because whatever hangs in the session must not hang them.
fn limit(grace: Duration, host: &Host) -> DropGuard {
    let done = CancellationToken::new();
    let (until, stop, late) = (done.clone(), host.stop.clone(), host.late.clone());
    host.tasks.spawn("grace", async move {
        tokio::select! {
            () = drain::limit(grace, &stop, &late) => {}
            () = until.cancelled() => {}
        }
    });
    if let Some(time) = host.time_left() {
        let (stop, time_over) = (host.stop.clone(), host.time_over.clone());
        let leaving = leave(stay(time, grace), stop, time_over);
        host.tasks.spawn("wall-time", leaving);
    }
    done.drop_guard()
}

/// How long a worker stays that has to be gone after `time`: what is left is for its drain.
fn stay(time: Duration, grace: Duration) -> Duration {
    time.saturating_sub(LAST_MINUTE.max(2 * grace))
}

async fn work(
    config: &Config,
    host: &Host,
    coordinator: &Coordinator,
) -> Result<Left, SessionError> {
    let (mut backoff, mut idle) = (Backoff::new(), Idle::new(config.exit_when_idle));
    while let Some(terms) = register(config, host, coordinator, &idle).await? {
        loop {
            if idle.is_over() {
                tracing::info!("no job was given for long enough: ending");
                host.stop.gracefully();
                return Ok(Left::Idle);
            }
            if is_late(host, &terms) {
                tracing::info!("too little time is left on this machine for another job");
                host.time_over.cancel();
                host.stop.gracefully();
                return Ok(Left::TimeOver);
            }
            match lease(host, &terms, &idle).await {
                Leased::Job(assignment) => {
                    backoff = Backoff::new();
                    let lease = assignment.lease.clone().unwrap_or_default();
                    let span = tracing::info_span!("job", job = lease.job, fence = lease.fence);
                    if let Ok(parent) = assignment.traceparent.parse() {
                        traces::follow(&span, parent);
                    }
                    // Large, and one at a time.
                    let work = Box::pin(job::run(host, &terms, *assignment));
                    let ended = work.instrument(span).await;
                    let device = host.device;
                    ended.map_err(|DeviceFailed(said)| SessionError::Failed { device, said })?;
                    idle = Idle::new(config.exit_when_idle);
                }
                Leased::Nothing => {}
                Leased::Unknown => {
                    paused(&mut backoff, host).await;
                    break;
                }
                Leased::Refused(status) => return Err(SessionError::Refused(status)),
                Leased::Stopping => return Ok(left(host)),
            }
        }
    }
    Ok(if idle.is_over() {
        Left::Idle
    } else {
        left(host)
    })
}

/// Why a worker leaves that is stopping.
fn left(host: &Host) -> Left {
    if host.time_over.is_cancelled() {
        Left::TimeOver
    } else {
        Left::Told
    }
}

/// Tells metrics until dropped.
async fn tell(metrics: Option<Metrics>, device: Device) {
    match metrics {
        Some(metrics) => {
            let memory = Arc::new(Memory::of(device));
            metrics.collecting(memory).serve().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether the coordinator would not give this worker a job any more: too little time is left.
fn is_late(host: &Host, terms: &Terms) -> bool {
    let least = host.checkpoint_every + terms.timing.duration;
    host.time_left().is_some_and(|left| left < least)
}

/// Stops after so long, unless something else does before.
async fn leave(after: Duration, stop: Stop, time_over: CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(after) => {
            tracing::warn!("the time on this machine is nearly over: stopping");
            time_over.cancel();
            stop.gracefully();
        }
        () = stop.graceful.cancelled() => {}
    }
}

/// Introduces this process under a fresh incarnation; none when it is to end first.
async fn register(
    config: &Config,
    host: &Host,
    coordinator: &Coordinator,
    idle: &Idle,
) -> Result<Option<Terms>, SessionError> {
    let incarnation = Uuid::new_v4().to_string();
    let answer = tokio::select! {
        answer = introduce(config, host, coordinator, &incarnation) => {
            answer.map_err(SessionError::Refused)?
        }
        () = idle.over() => {
            tracing::warn!("no coordinator answered for as long as this worker may be idle: ending");
            host.stop.gracefully();
            return Ok(None);
        }
        () = host.stop.graceful.cancelled() => return Ok(None),
    };
    let terms = Terms {
        coordinator: coordinator.clone(),
        incarnation,
        timing: timing(&answer)?,
        objects: Objects::open(&answer.object_store)?,
    };
    tracing::info!(
        worker = config.worker_name(),
        device = %config.device,
        incarnation = terms.incarnation,
        objects = answer.object_store,
        "registered"
    );
    Ok(Some(terms))
}

/// Registers until a coordinator answers.
async fn introduce(
    config: &Config,
    host: &Host,
    coordinator: &Coordinator,
    incarnation: &str,
) -> Result<v1::RegisterResponse, Status> {
    let asked = config.clone();
    // The driver may hang.
    let memory = spawn_blocking(move || asked.memory_bytes()).await;
    let precisions = Precision::ALL.map(|precision| v1::Precision::from(precision).into());
    let request = v1::RegisterRequest {
        incarnation: incarnation.to_owned(),
        worker: config.worker_name(),
        device: config.device.to_string(),
        memory_bytes: memory.unwrap_or_default(),
        result_versions: vec![RESULT_VERSION],
        precisions: precisions.to_vec(),
        labels: config.labels.iter().cloned().collect(),
        time_left: host.time_left().and_then(|time| time.try_into().ok()),
        checkpoint_interval: config.checkpoint_every.try_into().ok(),
    };
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

/// Waits for a job. Whatever goes wrong and may go right again is logged, and followed by a pause.
async fn lease(host: &Host, terms: &Terms, idle: &Idle) -> Leased {
    let mut backoff = Backoff::new();
    while !idle.is_over() {
        let asked = Instant::now();
        if host.stop.graceful.is_cancelled() {
            return Leased::Stopping;
        }
        // Never dropped for being idle: the poll itself ends by then.
        let answer = poll(host, terms, idle);
        tokio::pin!(answer);
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            () = host.stop.graceful.cancelled() => {
                match tokio::time::timeout(LAST_ANSWER, answer).await {
                    Ok(answer) => answer,
                    Err(_elapsed) => return Leased::Stopping,
                }
            }
        };
        match answer {
            Ok(Some(assignment)) => return Leased::Job(Box::new(assignment)),
            Ok(None) if asked.elapsed() >= SHORT_POLL => return Leased::Nothing,
            Ok(None) => {}
            Err(status) if is_unknown(&status) => {
                tracing::warn!(reason = status.message(), "registering again");
                return Leased::Unknown;
            }
            Err(status) if is_refusal(&status) => return Leased::Refused(status),
            Err(status) => {
                tracing::warn!(reason = status::explain(&status), "no answer: asking again");
            }
        }
        paused(&mut backoff, host).await;
    }
    Leased::Nothing
}

async fn poll(host: &Host, terms: &Terms, idle: &Idle) -> Result<Option<v1::Assignment>, Status> {
    let device = host.device;
    // The driver may hang: not on a thread that heartbeats and stops need.
    let free = spawn_blocking(move || free_memory(device)).await;
    let free = free.ok().flatten();
    terms
        .coordinator
        .lease(&terms.incarnation, free, idle.left())
        .await
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

/// Whether the coordinator takes this worker's token no more, which asking again does not change. What
/// this side says of a broken connection is none.
fn is_refusal(status: &Status) -> bool {
    let refuses = matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied
    );
    refuses && !is_transient(status)
}

#[cfg(test)]
mod tests;
