//! What computes a job: libtorch. It is all of a worker that a test may put something else in the place
//! of; leases, heartbeats, reports and checkpoints stay as they are.

use std::{fmt, path::PathBuf, sync::Arc};

use bytes::Bytes;
use temper_core::spec::{EvaluateSpec, TrainSpec};
use temper_data::{DataError, ImageSet, Sources, TrainingSplits};
use temper_torch::{
    Device, EvaluateObserver, EvaluateOutcome, Observer, StoredModel, TorchError, TrainOutcome,
    Training,
};

/// What computes jobs. Getting ready may take long; it happens off the async threads and off the one
/// thread that computes.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Gets ready for a training.
    ///
    /// # Errors
    /// When what it needs is missing or damaged.
    fn training(&self, spec: &Arc<TrainSpec>) -> Result<Arc<dyn Train>, DataError>;

    /// Gets ready for the measurement of `model`, the bytes of the training's artifact.
    ///
    /// # Errors
    /// When what it needs is missing or damaged.
    fn evaluation(
        &self,
        spec: &Arc<EvaluateSpec>,
        model: Bytes,
    ) -> Result<Arc<dyn Evaluate>, DataError>;
}

/// A training that is ready to run, on the worker's one computing thread.
pub trait Train: Send + Sync {
    /// As [`temper_torch::train`].
    ///
    /// # Errors
    /// As there.
    fn run(
        &self,
        resume: Option<&[u8]>,
        observer: &mut dyn Observer,
    ) -> Result<TrainOutcome, TorchError>;
}

/// A measurement that is ready to run, likewise.
pub trait Evaluate: Send + Sync {
    /// As [`temper_torch::evaluate`].
    ///
    /// # Errors
    /// As there.
    fn run(
        &self,
        resume: Option<&[u8]>,
        observer: &mut dyn EvaluateObserver,
    ) -> Result<EvaluateOutcome, TorchError>;
}

/// libtorch on one device.
#[derive(Debug)]
pub(crate) struct Torch {
    pub sources: Sources,
    pub device: Device,
}

struct TorchTraining {
    spec: Arc<TrainSpec>,
    weights: PathBuf,
    splits: TrainingSplits,
    device: Device,
}

struct TorchEvaluation {
    spec: Arc<EvaluateSpec>,
    model: Bytes,
    images: Arc<ImageSet>,
    module: Option<PathBuf>,
    device: Device,
}

impl Backend for Torch {
    fn training(&self, spec: &Arc<TrainSpec>) -> Result<Arc<dyn Train>, DataError> {
        Ok(Arc::new(TorchTraining {
            spec: Arc::clone(spec),
            weights: self.sources.weights(&spec.model)?,
            splits: self.sources.training(&spec.dataset, &spec.data)?,
            device: self.device,
        }))
    }

    fn evaluation(
        &self,
        spec: &Arc<EvaluateSpec>,
        model: Bytes,
    ) -> Result<Arc<dyn Evaluate>, DataError> {
        let train = &spec.train;
        // A scripted module's structure is in its file alone.
        let scripted = train
            .model
            .scripted
            .map(|_| self.sources.weights(&train.model));
        Ok(Arc::new(TorchEvaluation {
            spec: Arc::clone(spec),
            model,
            images: self
                .sources
                .test(&train.dataset, &train.data, spec.samples)?,
            module: scripted.transpose()?,
            device: self.device,
        }))
    }
}

impl Train for TorchTraining {
    fn run(
        &self,
        resume: Option<&[u8]>,
        observer: &mut dyn Observer,
    ) -> Result<TrainOutcome, TorchError> {
        let training = Training {
            spec: &self.spec,
            weights: &self.weights,
            train: &self.splits.train,
            validation: &self.splits.validation,
            device: self.device,
        };
        temper_torch::train(&training, resume, observer)
    }
}

impl Evaluate for TorchEvaluation {
    fn run(
        &self,
        resume: Option<&[u8]>,
        observer: &mut dyn EvaluateObserver,
    ) -> Result<EvaluateOutcome, TorchError> {
        let model = StoredModel {
            bytes: &self.model,
            module: self.module.as_deref(),
        };
        let from = (self.device, resume);
        temper_torch::evaluate(&self.spec, model, &self.images, from, observer)
    }
}
