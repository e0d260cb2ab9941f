//! What a worker tells Prometheus. It counts; rates are Prometheus's.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt as _, future::BoxFuture};
use temper_service::metrics::{Collect, Metric, counter, gauge, histogram};
use temper_torch::{Device, DeviceMemory, device_memory};
use tokio::{sync::Mutex, task::spawn_blocking};

const EPOCHS: &str = "temper_worker_epochs_total";
const STEPS: &str = "temper_worker_steps_total";
const IMAGES: &str = "temper_worker_images_total";
const JOBS: &str = "temper_worker_jobs_total";
const BUSY: &str = "temper_worker_busy";
const HEARTBEAT: &str = "temper_worker_heartbeat_timestamp_seconds";
const CHECKPOINT_BYTES: &str = "temper_worker_checkpoint_bytes_total";
const CHECKPOINT_SECONDS: &str = "temper_worker_checkpoint_duration_seconds";
const MEMORY_USED: &str = "temper_worker_device_memory_used_bytes";
const MEMORY: &str = "temper_worker_device_memory_bytes";

/// What is told.
pub const METRICS: &[Metric] = &[
    counter(EPOCHS, "Epochs of trainings that are over."),
    counter(STEPS, "Optimiser steps."),
    counter(
        IMAGES,
        "Images seen: in training one a sample and step, in an evaluation one a sample and strength.",
    ),
    counter(
        JOBS,
        "Jobs that this process has ended: completed, failed, released, discarded because the lease was over, or refused by the coordinator.",
    ),
    gauge(BUSY, "1 while a job is leased, else 0."),
    gauge(
        HEARTBEAT,
        "When a heartbeat was last answered, in seconds since 1970.",
    ),
    counter(
        CHECKPOINT_BYTES,
        "Bytes of checkpoints that were stored and registered.",
    ),
    histogram(
        CHECKPOINT_SECONDS,
        "Time to store and register a checkpoint.",
    ),
    gauge(
        MEMORY_USED,
        "Memory of the device that is used, by whomever; of a processor, the machine's.",
    ),
    gauge(MEMORY, "Memory of the device."),
];

/// What an image is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Train,
    Evaluate,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Evaluate => "evaluate",
        }
    }
}

/// Begins the counters at 0, so that their first steps are seen as such.
pub(crate) fn begin() {
    metrics::counter!(EPOCHS).increment(0);
    metrics::counter!(STEPS).increment(0);
    metrics::counter!(CHECKPOINT_BYTES).increment(0);
    images(Phase::Train, 0);
    images(Phase::Evaluate, 0);
    metrics::gauge!(BUSY).set(0.0);
}

pub(crate) fn epoch() {
    metrics::counter!(EPOCHS).increment(1);
}

/// Counts a step over so many images.
pub(crate) fn step(samples: u64) {
    metrics::counter!(STEPS).increment(1);
    images(Phase::Train, samples);
}

pub(crate) fn images(phase: Phase, number: u64) {
    metrics::counter!(IMAGES, "phase" => phase.as_str()).increment(number);
}

/// Counts a job that has ended here; `kind` is `none` of one that could not be read.
pub(crate) fn job(kind: &'static str, outcome: &'static str) {
    metrics::counter!(JOBS, "kind" => kind, "outcome" => outcome).increment(1);
}

/// Tells that a job is leased, until dropped.
#[must_use]
pub(crate) fn busy() -> Busy {
    metrics::gauge!(BUSY).set(1.0);
    Busy
}

/// A job is leased.
pub(crate) struct Busy;

impl Drop for Busy {
    fn drop(&mut self) {
        metrics::gauge!(BUSY).set(0.0);
    }
}

pub(crate) fn heartbeat_answered() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a time for people, which decides nothing"
    )]
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    metrics::gauge!(HEARTBEAT).set(since.unwrap_or_default().as_secs_f64());
}

pub(crate) fn checkpoint(bytes: u64, took: Duration) {
    metrics::counter!(CHECKPOINT_BYTES).increment(bytes);
    metrics::histogram!(CHECKPOINT_SECONDS).record(took);
}

/// What the device's memory is like, by a driver that may hang.
type Ask = dyn Fn(Device) -> Option<DeviceMemory> + Send + Sync;

/// The gauges of the device's memory, where it is known.
pub(crate) struct Memory {
    device: Device,
    ask: Arc<Ask>,
    /// Held by the question that is under way.
    asking: Arc<Mutex<()>>,
}

impl Memory {
    pub(crate) fn of(device: Device) -> Self {
        Self {
            device,
            ask: Arc::new(device_memory),
            asking: Arc::default(),
        }
    }

    /// Asks off the async threads. Nothing while an older question, of a scrape that was given up, has no
    /// answer: each takes a thread, and where the driver hangs they would pile up.
    async fn asked(&self) -> Option<DeviceMemory> {
        let asking = Arc::clone(&self.asking).try_lock_owned().ok()?;
        let (device, ask) = (self.device, Arc::clone(&self.ask));
        let asked = spawn_blocking(move || {
            let memory = ask(device);
            drop(asking);
            memory
        });
        asked.await.ok().flatten()
    }
}

impl Collect for Memory {
    fn collect(&self) -> BoxFuture<'_, ()> {
        async move {
            let Some(memory) = self.asked().await else {
                return;
            };
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            let (used, total) = (memory.used as f64, memory.total as f64);
            metrics::gauge!(MEMORY_USED).set(used);
            metrics::gauge!(MEMORY).set(total);
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex as Held, mpsc};

    use super::*;

    const MEMORY: DeviceMemory = DeviceMemory { used: 3, total: 9 };

    #[tokio::test]
    async fn driver_that_hangs_is_not_asked_again_by_the_next_scrape() {
        let (answer, held) = mpsc::channel();
        let held = Held::new(held);
        let memory = Memory {
            device: Device::CPU,
            ask: Arc::new(move |_| held.lock().unwrap().recv().ok()),
            asking: Arc::default(),
        };
        {
            let mut first = std::pin::pin!(memory.asked());
            assert!(futures::poll!(first.as_mut()).is_pending());
            assert_eq!(memory.asked().await, None);
        }
        assert_eq!(memory.asked().await, None, "the first scrape was given up");
        answer.send(MEMORY).unwrap();
        // Until the first question is answered, to nobody.
        drop(memory.asking.lock().await);
        answer.send(MEMORY).unwrap();
        assert_eq!(memory.asked().await, Some(MEMORY));
    }
}
