//! Accuracy against epsilon of a trained model.
//!
//! A measurement is a row of rounds over (sample, strength) pairs; [`state`] says which pairs come
//! when and what their answers mean, [`drive`] runs them, [`flags`] looks for signs of hidden
//! gradients. All that a measurement knows is in its state, so that it can be put down between
//! pools of pairs and taken up again elsewhere.

mod drive;
mod flags;
mod state;
#[cfg(test)]
mod tests;

use std::path::Path;

use temper_core::{
    curve::Point,
    report::{Audit, MaskingFlag},
    spec::EvaluateSpec,
};
use temper_data::ImageSet;

use crate::{
    Control, Interrupted, TorchError,
    batch::Images,
    engine::{self, Device},
    models::{Architecture, Head, Mode, Network, Source},
    tensors::Tensors,
};

use drive::Job;

/// A trained model.
#[derive(Debug, Clone, Copy)]
pub struct StoredModel<'a> {
    /// Safetensors as a training yields it.
    pub bytes: &'a [u8],
    /// The module's file, where the architecture is a scripted one.
    pub module: Option<&'a Path>,
}

/// What a round measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The curve. Round 0 is clean accuracy; the rounds after it are the grid's points, or steps of
    /// the bisection.
    Curve,
    /// The samples that audit a bisection, at each point of the grid from 1.
    Audit,
}

/// How far an evaluation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is measured.
    pub stage: Stage,
    /// Which round of it.
    pub round: usize,
    /// The most rounds that the stage can have, numbered from 0.
    pub rounds: usize,
    /// Samples seen in this round.
    pub done: usize,
    /// Samples to be seen in this round.
    pub samples: usize,
    /// Pairs of sample and strength seen since the evaluation began, resumed parts included.
    pub pairs: u64,
}

/// What an evaluation goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interim {
    /// Pairs of sample and strength seen.
    pub pairs: u64,
    /// JSON, which names the evaluation.
    pub bytes: Vec<u8>,
}

/// Who watches an evaluation, on the evaluation's own thread: it waits for every answer.
pub trait EvaluateObserver {
    /// Asked after every pool of pairs, and before every iteration of an attack on one. Once it is not
    /// `Continue` it stays so.
    fn control(&mut self, progress: Progress) -> Control;

    /// Whether a checkpoint is due: asked after every pool, once `control` said `Continue`.
    fn checkpoint_due(&mut self) -> bool;

    /// The state to resume from, when it is due and at a drain.
    ///
    /// # Errors
    /// [`Interrupted`] ends the evaluation.
    fn checkpoint(&mut self, interim: Interim) -> Result<(), Interrupted>;
}

/// Nobody watches: the evaluation runs to its end.
impl EvaluateObserver for () {
    fn control(&mut self, _: Progress) -> Control {
        Control::Continue
    }

    fn checkpoint_due(&mut self) -> bool {
        false
    }

    fn checkpoint(&mut self, _: Interim) -> Result<(), Interrupted> {
        Ok(())
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// One point for each strength of the grid.
    pub points: Vec<Point>,
    /// How far bisection is from exact; none in other modes and where nothing was audited.
    pub audit: Option<Audit>,
    /// Signs that the model hides its gradients, ascending.
    pub flags: Vec<MaskingFlag>,
    /// Passes of one image through the network, forward or backward.
    pub passes: u64,
}

/// How an evaluation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum EvaluateOutcome {
    /// All is measured.
    Finished(Measurement),
    /// Stopped as asked; the last checkpoint handed over resumes exactly there.
    Drained,
    /// Stopped as asked, or interrupted by the observer.
    Aborted,
}

/// Measures `model` on all of `test` in the mode of `spec`; see [`temper_core::spec::CurveMode`].
/// At epsilon 0 nothing is crafted, so that the first point is the clean accuracy; a sample that is
/// wrong there is attacked at no strength and counts as wrong at all of them. Where there are
/// several attacks, each runs on what the ones before have not broken.
///
/// With `resume`, the bytes of an [`Interim`] of the same evaluation, it goes on from there, and
/// yields what it would have without the interruption.
///
/// Pairs of sample and strength are attacked 128 at a time, and passes are over 32 images (fewer where
/// no more are left), because a kernel's last bits may depend on their number. Start noise is keyed
/// by seed, index on the grid, sample, attack and restart.
///
/// # Errors
/// [`TorchError::Damaged`], [`TorchError::MissingTensors`], [`TorchError::Shape`] or
/// [`TorchError::UnknownArchitecture`] for a model that cannot be loaded, [`TorchError::BadInput`]
/// for images that do not fit, an empty test split, no attacks or a grid that does not ascend from
/// 0, [`TorchError::BadCheckpoint`] when `resume` cannot be used (an older checkpoint, or none,
/// may do), [`TorchError::NotFinite`] for outputs that are not finite, else what libtorch says.
pub fn evaluate(
    spec: &EvaluateSpec,
    model: StoredModel<'_>,
    test: &ImageSet,
    (device, resume): (Device, Option<&[u8]>),
    observer: &mut dyn EvaluateObserver,
) -> Result<EvaluateOutcome, TorchError> {
    engine::run(|| {
        let stored = Tensors::parse("the trained model", model.bytes)?;
        let source = Source::stored(&stored, model.module);
        let architecture = Architecture::of(&spec.train);
        let network = Network::load(&architecture, source, Head::Stored, device)?;
        let wanted = (spec.train.data.image_size, architecture.classes);
        let images = Images::new("test", test, wanted, device)?;
        let logits = |x: &tch::Tensor| network.logits(x, Mode::Evaluate);
        Job::new(spec, &logits, &images)?.run(resume, observer)
    })
}
