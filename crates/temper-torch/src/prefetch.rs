//! Training batches made ready ahead of the step that takes them, on a thread of their own, so
//! that pages of a memory map are read from disk there and no step waits for them.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use temper_core::{
    random::{Keyed, Purpose},
    schedule::{Moment, Plateau},
    spec::TrainSpec,
};
use temper_data::ImageSet;

use crate::{TorchError, batch, engine, objective, plan::Plan};

/// Batches that lie ready, beside the one that is being made. They hide what a slow page costs,
/// and each takes `n * 3 * s * s` bytes, five times that with noise.
const READY: usize = 2;

/// What is computed at once: a batch, or a micro batch of it, in the host's memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The epoch it is of, from 0.
    pub epoch: u32,
    /// Indices of its `n` samples in the training split.
    pub samples: Vec<usize>,
    /// `u8[n, 3, s, s]`.
    pub pixels: Vec<u8>,
    /// `i64[n]`.
    pub labels: Vec<i64>,
    /// Start noise of the attack, `f32[n, 3, s, s]`, of the kind that it wants, where it wants one.
    pub noise: Option<Vec<f32>>,
}

/// The batches of a run, in the order in which it takes them. Dropping it ends its thread.
pub struct Loader {
    ready: Option<Receiver<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Starts to make the batches of `spec` on `set`, from optimiser step `step` on.
    ///
    /// # Errors
    /// [`TorchError::BadInput`] for settings that cannot be trained on; [`TorchError::Loader`]
    /// when no thread can be started.
    pub fn start(spec: &TrainSpec, set: &ImageSet, step: u64) -> Result<Self, TorchError> {
        Self::of_plan(Plan::new(spec, set.len())?, spec, set, step)
    }

    /// The same by `plan`, whose micro-batches may be smaller.
    pub(crate) fn of_plan(
        plan: Plan,
        spec: &TrainSpec,
        set: &ImageSet,
        step: u64,
    ) -> Result<Self, TorchError> {
        let work = Work {
            plan,
            spec: spec.clone(),
            set: set.clone(),
        };
        let (sender, ready) = sync_channel(READY);
        let thread = thread::Builder::new()
            .name("loader".to_owned())
            .spawn(move || work.run(step, &sender))
            .map_err(|error| TorchError::Loader(error.to_string()))?;
        Ok(Self {
            ready: Some(ready),
            thread: Some(thread),
        })
    }

    /// The next batch; waits until it is ready.
    ///
    /// # Errors
    /// [`TorchError::Loader`] when the thread has failed, or the run has no more batches.
    pub fn next_batch(&mut self) -> Result<Batch, TorchError> {
        let received = self.ready.as_ref().and_then(|ready| ready.recv().ok());
        received.ok_or_else(|| {
            let end = self.thread.take().map(JoinHandle::join);
            TorchError::Loader(match &end {
                Some(Err(panic)) => engine::panic_message(panic.as_ref()).to_owned(),
                _ => "there are no more batches".to_owned(),
            })
        })
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Without a receiver the thread's next batch cannot be sent, and that ends it.
        self.ready = None;
        if let Some(thread) = self.thread.take() {
            // A panic there concerns nobody any more: no batch was missed.
            let _ = thread.join();
        }
    }
}

/// All that the thread needs; the pixels are shared with the run's own set.
struct Work {
    spec: TrainSpec,
    plan: Plan,
    set: ImageSet,
}

impl Work {
    fn run(&self, from: u64, sender: &SyncSender<Batch>) {
        let mut order = (None, Vec::new());
        for step in from..self.plan.steps() {
            let epoch = self.plan.epoch(step);
            if order.0 != Some(epoch) {
                let keyed = Keyed::new(self.spec.seed, Purpose::Shuffle, epoch, 0);
                order = (Some(epoch), keyed.permutation(self.set.len()));
            }
            for part in self.plan.micro_batches(self.plan.batch(step)) {
                let made = self.make(step, order.1[part].to_vec());
                if sender.send(made).is_err() {
                    return;
                }
            }
        }
    }

    fn make(&self, step: u64, samples: Vec<usize>) -> Batch {
        let epoch = self.plan.epoch(step);
        let (pixels, labels) = batch::gather(&self.set, &samples);
        let crafts = self.spec.ramp.may_craft(&Moment {
            progress: self.plan.progress(step),
            epoch,
            seed: self.spec.seed,
            plateau: Plateau::default(),
        });
        let wanted = objective::noise(&self.spec.training).filter(|_| crafts);
        let noise = wanted.map(|kind| {
            let keyed = Keyed::new(self.spec.seed, Purpose::TrainNoise, epoch, 0);
            batch::noise(&self.set, kind, &keyed, &samples)
        });
        Batch {
            epoch,
            samples,
            pixels,
            labels,
            noise,
        }
    }
}
