//! Registering and leasing, until this process is to stop.

use std::{sync::Arc, time::Duration};

use temper_core::spec::RESULT_VERSION;
use temper_proto::v1;
use temper_service::{
    client::{ConnectError, is_transient},
    objects::{Objects, ObjectsError},
    status,
    stop::{Stop, TaskPanicked, Tasks},
};
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    config::Config,
    coordinator::Coordinator,
    engine::Engine,
    evaluate::Models,
    job::{self, Host, Terms},
    lease::Timing,
    report::Backoff,
};

/// A poll that ends sooner than this without a job was no long poll.
const SHORT_POLL: Duration = Duration::from_millis(500);

/// Why a worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such address.
    #[error(transparent)]
    Address(#[from] ConnectError),
    /// The system gives no thread to libtorch.
    #[error("the libtorch thread cannot be started")]
    Engine(#[source] std::io::Error),
    /// The coordinator does not want this worker.
    #[error("the coordinator refused to register this worker: {}", status::explain(.0))]
    Refused(Status),
    /// The coordinator's terms make no sense.
    #[error("the coordinator's terms cannot be kept: {0}")]
    Terms(&'static str),
    /// The coordinator's object store is out of reach from here.
    #[error("the coordinator's object store cannot be used from this machine")]
    Objects(#[from] ObjectsError),
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

/// Works until `stop`. A coordinator that is away is waited for.
///
/// # Errors
/// When the coordinator refuses this worker for good, or its object store is out of reach.
pub async fn run(config: Config, stop: Stop) -> Result<(), SessionError> {
    let coordinator = Coordinator::new(&config.coordinator)?;
    let host = Host {
        engine: Engine::start(config.threads()).map_err(SessionError::Engine)?,
        sources: Arc::new(config.inputs.sources()),
        models: Models::default(),
        device: config.device,
        eval_batch: config.eval_batch.get(),
        tasks: Tasks::new(&stop),
        stop: stop.clone(),
    };
    tokio::select! {
        ended = work(&config, &host, &coordinator) => ended?,
        () = stop.cut.cancelled() => tracing::warn!("cut: what was under way is dropped"),
    }
    host.tasks.finish().await?;
    tracing::info!("stopped");
    Ok(())
}

async fn work(config: &Config, host: &Host, coordinator: &Coordinator) -> Result<(), SessionError> {
    while let Some(terms) = register(config, host, coordinator).await? {
        loop {
            match lease(host, &terms).await {
                Leased::Job(assignment) => {
                    let lease = assignment.lease.clone().unwrap_or_default();
                    let span = tracing::info_span!("job", job = lease.job, fence = lease.fence);
                    job::run(host, &terms, *assignment).instrument(span).await;
                }
                Leased::Nothing => {}
                Leased::Unknown => break,
                Leased::Stopping => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Introduces this process under a fresh incarnation; none when it is to stop first.
async fn register(
    config: &Config,
    host: &Host,
    coordinator: &Coordinator,
) -> Result<Option<Terms>, SessionError> {
    let incarnation = Uuid::new_v4().to_string();
    let request = v1::RegisterRequest {
        incarnation: incarnation.clone(),
        worker: config.worker_name(),
        device: config.device.to_string(),
        memory_bytes: config.memory_bytes(),
        result_versions: vec![RESULT_VERSION],
    };
    let attempts = async {
        let (mut backoff, mut told) = (Backoff::new(), false);
        loop {
            match coordinator.register(request.clone()).await {
                Err(status) if is_transient(&status) => {
                    if !std::mem::replace(&mut told, true) {
                        let reason = status.message();
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
    let terms = terms(coordinator, incarnation, &answer)?;
    tracing::info!(
        worker = request.worker,
        device = request.device,
        incarnation = terms.incarnation,
        objects = answer.object_store,
        "registered"
    );
    Ok(Some(terms))
}

fn terms(
    coordinator: &Coordinator,
    incarnation: String,
    answer: &v1::RegisterResponse,
) -> Result<Terms, SessionError> {
    let positive = |duration: Option<&_>| duration.copied().and_then(positive);
    let timing = Timing {
        duration: positive(answer.lease_duration.as_ref())
            .ok_or(SessionError::Terms("lease_duration must be above 0"))?,
        interval: positive(answer.heartbeat_interval.as_ref())
            .ok_or(SessionError::Terms("heartbeat_interval must be above 0"))?,
    };
    if timing.interval >= timing.duration {
        return Err(SessionError::Terms(
            "heartbeat_interval must be below lease_duration",
        ));
    }
    let objects = Objects::open(&answer.object_store)?;
    Ok(Terms {
        coordinator: coordinator.clone(),
        incarnation,
        timing,
        objects,
    })
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
            answer = terms.coordinator.lease(&terms.incarnation) => answer,
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
        tokio::select! {
            () = backoff.pause() => {}
            () = host.stop.graceful.cancelled() => return Leased::Stopping,
        }
    }
}

fn is_unknown(status: &Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::FailedPrecondition)
}
