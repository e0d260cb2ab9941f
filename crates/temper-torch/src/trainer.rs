//! Adversarial fine-tuning of one model (Madry et al. 2018) along an epsilon schedule.

use std::path::Path;

use temper_core::{report::EpochMetrics, spec::TrainSpec};
use temper_data::ImageSet;

use crate::{
    Checkpoint, TorchError,
    engine::{self, Device},
    run::Run,
};

/// What a run needs.
pub struct Training<'a> {
    /// The job.
    pub spec: &'a TrainSpec,
    /// Pretrained weights, safetensors with timm's names; the caller has checked their digest.
    pub weights: &'a Path,
    /// What the model learns from; at least two images.
    pub train: &'a ImageSet,
    /// What is measured each epoch; may be empty.
    pub validation: &'a ImageSet,
    /// Where it runs.
    pub device: Device,
}

/// What a run is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Hand over a checkpoint and stop.
    Drain,
    /// Stop at once.
    Abort,
}

/// An observer could not take what it was given, and knows why: the run stops as if aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

/// Who watches a run, on the run's own thread: the run waits for every answer.
pub trait Observer {
    /// Asked before every optimiser step and within validation. Once it is not `Continue` it stays
    /// so.
    fn control(&mut self) -> Control;

    /// An optimiser step over so many samples is done.
    fn stepped(&mut self, _samples: u64) {}

    /// An epoch is over. A resumed run reports the epochs after its checkpoint again.
    ///
    /// # Errors
    /// [`Interrupted`] ends the run.
    fn epoch(&mut self, metrics: EpochMetrics) -> Result<(), Interrupted>;

    /// Whether it is time for a checkpoint within an epoch; asked before every optimiser step.
    fn wants_checkpoint(&mut self) -> bool {
        false
    }

    /// The state to resume from: after every reported epoch, when wanted, and at a drain, unless
    /// the state is that of the checkpoint before. A copy on the host: the run goes on while the
    /// observer writes it elsewhere.
    ///
    /// # Errors
    /// [`Interrupted`] ends the run.
    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Interrupted>;
}

/// A finished model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainedModel {
    /// Safetensors with timm's names, head included: see [`crate::models::Network::to_safetensors`].
    pub bytes: Vec<u8>,
    /// Epochs done.
    pub epochs: u32,
    /// Optimiser steps done.
    pub steps: u64,
    /// The model of the best epoch on the validation split; none of a run without epochs.
    pub best: Option<BestModel>,
    /// Samples a forward pass at the end: fewer than asked for where memory was short.
    pub micro_batch_size: u32,
}

/// The model of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BestModel {
    /// As [`TrainedModel::bytes`], and equal to them when the last epoch was the best.
    pub bytes: Vec<u8>,
    /// The epoch, from 0.
    pub epoch: u32,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrainOutcome {
    /// All epochs are done.
    Finished(TrainedModel),
    /// Stopped as asked; the last checkpoint handed over resumes exactly there.
    Drained,
    /// Stopped as asked, or interrupted by the observer.
    Aborted,
}

/// Trains. Every step crafts its batch in evaluation mode, at the strength that the schedule gives
/// for the share of steps done, then takes one training-mode step along the objective's gradient;
/// at strength 0 nothing is crafted. Where memory is short, a model without batch norm goes on with
/// half the micro-batch, twice at most. With `resume`, the bytes of a [`Checkpoint`] of the same job,
/// the run goes on from there; on one thread it then yields the same weights to the last bit.
///
/// # Errors
/// [`TorchError::BadCheckpoint`] when `resume` cannot be used (an older checkpoint, or none, may
/// do); [`TorchError::Diverged`]; [`TorchError::OutOfMemory`]; [`TorchError::Device`]; an error
/// naming the weights file when it does not fit; [`TorchError::BadInput`] for images or settings that cannot be trained on.
pub fn train(
    training: &Training<'_>,
    resume: Option<&[u8]>,
    observer: &mut dyn Observer,
) -> Result<TrainOutcome, TorchError> {
    engine::run(|| Run::new(training, resume)?.drive(observer))
}
