//! Accuracy against epsilon of a trained model.

use std::path::Path;

use temper_core::{
    curve::Point,
    random::{Keyed, Purpose},
    spec::EvaluateSpec,
};
use temper_data::ImageSet;

use crate::{
    Control, TorchError, attack,
    batch::Images,
    engine::{self, Device},
    measure::{Attack, CHUNK, survivors},
    models::{Architecture, Head, Network, Source},
    tensors::Tensors,
};

/// A trained model.
#[derive(Debug, Clone, Copy)]
pub struct StoredModel<'a> {
    /// Safetensors as a training yields it.
    pub bytes: &'a [u8],
    /// The module's file, where the architecture is a scripted one.
    pub module: Option<&'a Path>,
}

/// How far an evaluation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Index on the epsilon grid.
    pub grid_index: usize,
    /// Points of the grid.
    pub grid_points: usize,
    /// Samples seen at this point.
    pub done: usize,
    /// Samples to be seen at this point: those that no smaller epsilon broke.
    pub samples: usize,
}

/// How an evaluation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvaluateOutcome {
    /// The curve, one point for each strength of the grid.
    Finished(Vec<Point>),
    /// The observer stopped it.
    Aborted,
}

/// Measures `model` on all of `test`, at each strength of
/// the grid in ascending order. A sample that is wrong at one strength counts as wrong at all
/// larger ones and is not attacked again; at epsilon 0 nothing is crafted, so that the first point
/// is the clean accuracy.
///
/// `observer` is asked after every `batch` samples, rounded up to a multiple of 32; anything but
/// `Continue` stops the evaluation. `batch` changes nothing else: forward passes are always over
/// 32 samples (the last of a strength over what is left), because a kernel's last bits may depend
/// on their number, and the start noise is keyed by seed, index on the grid and sample.
///
/// # Errors
/// [`TorchError::Damaged`], [`TorchError::MissingTensors`], [`TorchError::Shape`] or
/// [`TorchError::UnknownArchitecture`] for a model that cannot be loaded, [`TorchError::BadInput`]
/// for images that do not fit or an empty test split, [`TorchError::NotFinite`] for outputs that
/// are not finite, else what libtorch says.
pub fn evaluate(
    spec: &EvaluateSpec,
    model: StoredModel<'_>,
    (test, batch): (&ImageSet, usize),
    device: Device,
    observer: &mut dyn FnMut(Progress) -> Control,
) -> Result<EvaluateOutcome, TorchError> {
    engine::run(|| {
        let stored = Tensors::parse("the trained model", model.bytes)?;
        let source = Source::stored(&stored, model.module);
        let architecture = Architecture::of(&spec.train);
        let network = Network::load(&architecture, source, Head::Stored, device)?;
        let wanted = (spec.train.data.image_size, architecture.classes);
        let images = Images::new("test", test, wanted, device)?;
        if images.len() == 0 {
            return Err(TorchError::BadInput(
                "test images: there are none".to_owned(),
            ));
        }
        curve(spec, &network, &images, batch, observer)
    })
}

fn curve(
    spec: &EvaluateSpec,
    network: &Network,
    images: &Images<'_>,
    batch: usize,
    observer: &mut dyn FnMut(Progress) -> Control,
) -> Result<EvaluateOutcome, TorchError> {
    let batch = batch.max(1).next_multiple_of(CHUNK);
    let mut unbroken: Vec<usize> = (0..images.len()).collect();
    let mut points = Vec::with_capacity(spec.grid.len());
    for (round, &epsilon) in (0_u32..).zip(&spec.grid) {
        let noise = Keyed::new(spec.seed, Purpose::EvaluationNoise, round, 0);
        let attack = Attack {
            pgd: attack::plain(&spec.attacks[0])?,
            epsilon: epsilon.value(),
            noise,
        };
        let (mut right, mut done) = (Vec::new(), 0);
        for samples in unbroken.chunks(batch) {
            for chunk in samples.chunks(CHUNK) {
                right.extend(survivors(network, images, chunk, Some(&attack))?);
            }
            done += samples.len();
            let (grid_index, grid_points) = (points.len(), spec.grid.len());
            let progress = Progress {
                grid_index,
                grid_points,
                done,
                samples: unbroken.len(),
            };
            if observer(progress) != Control::Continue {
                return Ok(EvaluateOutcome::Aborted);
            }
        }
        unbroken = right;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        points.push(Point {
            epsilon,
            correct: count(unbroken.len()),
            samples: count(images.len()),
        });
    }
    Ok(EvaluateOutcome::Finished(points))
}
