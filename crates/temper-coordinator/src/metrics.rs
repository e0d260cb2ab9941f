//! What a coordinator tells of the queue, of attempts and of its connections.
//!
//! What it counts is what went through it: over several coordinators the counts add up. The queue's gauges
//! are the database's, so that each of them tells the same: of these take the largest.

use std::time::{Duration, Instant};

use futures::{FutureExt as _, future::BoxFuture};
use temper_core::{
    job::{FailureClass, JobState},
    placement::DeviceKind,
};
use temper_service::{
    metrics::{Collect, Metric, connections, counter, gauge},
    status,
};
use temper_store::{AttemptOutcome, QueueStanding, Store, StoreError};
use tokio::{sync::Mutex, time::timeout};

const JOBS: &str = "temper_queue_jobs";
const OLDEST: &str = "temper_queue_oldest_age_seconds";
const HELD: &str = "temper_held_jobs";
const ATTEMPTS: &str = "temper_attempts_total";
const LOST: &str = "temper_leases_lost_total";
const RESCUES: &str = "temper_rescues_total";

/// What is told beside the figures of calls.
pub const METRICS: &[Metric] = &[
    gauge(
        JOBS,
        "Jobs that workers may take (queued) or hold (leased), by the kind of device that they ask for. \
         Jobs that wait for others or whose sweeps are paused are in neither.",
    ),
    gauge(
        OLDEST,
        "Age of the oldest of these jobs: since it was asked for, of leased ones since the lease was given; \
         0 where there is none.",
    ),
    gauge(
        HELD,
        "Jobs that workers hold, by the kind of device that they have, whatever the jobs ask for.",
    ),
    counter(
        ATTEMPTS,
        "Attempts that have ended, by outcome and, of failed ones, by class.",
    ),
    counter(LOST, "Leases that ran out with no word from their worker."),
    counter(
        RESCUES,
        "Attempts that took up a job whose attempt before was lost.",
    ),
];

/// So long what was read of the queue is told again: a scrape costs a look at everything that waits.
const FRESH: Duration = Duration::from_secs(5);

/// How long the database may take to answer: less than a scrape waits, so that what is told is not what was
/// true once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Begins the counters at 0, so that their first steps are seen as such.
pub fn begin() {
    metrics::counter!(LOST).increment(0);
    metrics::counter!(RESCUES).increment(0);
    for class in FailureClass::ALL {
        attempts(AttemptOutcome::Failed, Some(class), 0);
    }
    for outcome in [
        AttemptOutcome::Succeeded,
        AttemptOutcome::Released,
        AttemptOutcome::Cancelled,
    ] {
        attempts(outcome, None, 0);
    }
    attempts(AttemptOutcome::Lost, Some(FailureClass::Lost), 0);
}

/// Counts attempts that have ended.
pub fn attempts(outcome: AttemptOutcome, class: Option<FailureClass>, number: usize) {
    let class = class.map_or("none", FailureClass::as_str);
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    metrics::counter!(ATTEMPTS, "outcome" => outcome.as_str(), "failure_class" => class)
        .increment(number);
}

/// Counts leases that have run out, whose attempts were lost with them.
pub fn lost(leases: usize) {
    attempts(AttemptOutcome::Lost, Some(FailureClass::Lost), leases);
    metrics::counter!(LOST).increment(u64::try_from(leases).unwrap_or(u64::MAX));
}

/// Counts an attempt that takes up a job after a lost one.
pub fn rescued() {
    metrics::counter!(RESCUES).increment(1);
}

/// The gauges of queue and connections.
pub struct Gauges {
    store: Store,
    /// When the queue was last read. Whoever scrapes meanwhile waits for that reading.
    read: Mutex<Option<Instant>>,
}

impl Gauges {
    pub fn new(store: Store) -> Self {
        let read = Mutex::default();
        Self { store, read }
    }

    async fn update(&self) {
        let pool = self.store.connections();
        connections(pool.used, pool.idle, pool.most);
        let mut read = self.read.lock().await;
        if read.is_some_and(|read| read.elapsed() < FRESH) {
            return;
        }
        let error = match timeout(PATIENCE, self.measure()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(status::chain(&error)),
            Err(_) => Some("the database does not answer".to_owned()),
        };
        if let Some(error) = error {
            tracing::warn!(error, "the queue cannot be measured");
            // Better nothing than what was true once.
            tell(|_, _| (f64::NAN, f64::NAN));
            tell_held(|_| f64::NAN);
        }
        *read = Some(Instant::now());
    }

    async fn measure(&self) -> Result<(), StoreError> {
        let standing = self.store.queue_standing().await?;
        let held = self.store.lease_standing().await?;
        tell(|kind, state| of(&standing, kind, state));
        tell_held(|kind| {
            let found = held.iter().find(|held| held.device_kind == kind);
            found.map_or(0.0, |held| float(held.jobs))
        });
        Ok(())
    }
}

impl Collect for Gauges {
    fn collect(&self) -> BoxFuture<'_, ()> {
        self.update().boxed()
    }
}

/// Sets every gauge of the queue, those of what there is none of too.
fn tell(value: impl Fn(Option<DeviceKind>, JobState) -> (f64, f64)) {
    for kind in [None, Some(DeviceKind::Cpu), Some(DeviceKind::Cuda)] {
        for state in [JobState::Queued, JobState::Leased] {
            let (jobs, oldest) = value(kind, state);
            let class = kind.map_or("any", DeviceKind::as_str);
            let state = state.as_str();
            metrics::gauge!(JOBS, "device_class" => class, "state" => state).set(jobs);
            metrics::gauge!(OLDEST, "device_class" => class, "state" => state).set(oldest);
        }
    }
}

/// Sets the gauge of what is held, by kind of device.
fn tell_held(value: impl Fn(DeviceKind) -> f64) {
    for kind in DeviceKind::ALL {
        metrics::gauge!(HELD, "device_class" => kind.as_str()).set(value(kind));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Jobs and age of one kind and state.
fn of(standing: &[QueueStanding], kind: Option<DeviceKind>, state: JobState) -> (f64, f64) {
    let found = standing
        .iter()
        .find(|row| row.device_kind == kind && row.state == state);
    found.map_or((0.0, 0.0), |row| {
        (float(row.jobs), row.oldest.as_secs_f64())
    })
}
