//! What a device computes beside the processor: for the person who is to trust the numbers of a
//! machine that nobody has tried yet.

mod rules;

use serde::Serialize;
use tch::Tensor;
use temper_core::{
    report::EpochMetrics,
    spec::{Precision, TrainSpec},
};

pub use rules::Rules;

use crate::{
    Checkpoint, Control, Device, Interrupted, Observer, PeakMemory, TorchError, TrainOutcome,
    Training,
    batch::Images,
    engine,
    models::{Architecture, Head, Mode, Network},
    tensors::Tensors,
    train,
};

/// Largest relative difference of logits from the processor's: single precision by other kernels,
/// and convolutions by TF32, which has 10 bits.
const LOGITS: f64 = 1e-2;
/// Before which step the checkpoint is taken that a run goes on from.
const CUT: usize = 3;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// `cpu`, or `cuda:N`.
    pub device: String,
    /// Catalog name of the network that was trained.
    pub model: String,
    /// Height and width of its images.
    pub image_size: u32,
    /// Samples of an optimiser step.
    pub batch_size: u32,
    /// Attacks on a model whose gradients are exact.
    pub rules: Rules,
    /// `||a - b|| / ||b||` of the network's logits here and on the processor.
    pub logits_difference: f64,
    /// Whether runs end alike.
    pub resume: Resume,
    /// How fast it trains.
    pub throughput: Vec<Throughput>,
    /// The most memory that training took, where it is known.
    pub peak_memory_bytes: Option<u64>,
}

/// Whether runs end alike: largest differences of a number in the final weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Resume {
    /// Optimiser steps of the run.
    pub steps: u64,
    /// Between two runs that were left alone.
    pub repeated: f64,
    /// Between a run that was left alone and one that went on from its checkpoint.
    pub resumed: f64,
}

/// Images a second of the last epoch, crafting included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Throughput {
    /// What products are computed in.
    pub precision: Precision,
    /// Training images a second.
    pub images_per_second: f64,
}

impl Report {
    /// What is not as it should be; nothing when all is.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = self.rules.complaints();
        // So written that what is no number is complained of.
        if !matches!(self.logits_difference, 0.0..=LOGITS) {
            let found = self.logits_difference;
            complaints.push(format!("logits differ by {found:.1e} from the processor's"));
        }
        let Resume {
            repeated, resumed, ..
        } = self.resume;
        if repeated != 0.0 {
            complaints.push(format!(
                "two equal runs end {repeated:.1e} apart: this device does not repeat itself, and \
                 a resumed run cannot be exact on it"
            ));
        } else if resumed != 0.0 {
            complaints.push(format!(
                "a resumed run ends {resumed:.1e} from one that was left alone"
            ));
        }
        complaints
    }
}

/// Trains as `training` says, several times, on its device, in each of `precisions`, and compares.
/// The spec should have two epochs or more, of at least four steps together.
///
/// # Errors
/// As [`train`].
pub fn check(training: &Training<'_>, precisions: &[Precision]) -> Result<Report, TorchError> {
    let (spec, device) = (training.spec, training.device);
    let rules = engine::run(|| Rules::on(device))?;
    let logits_difference = engine::run(|| logits_difference(training))?;
    let peak = PeakMemory::start(device);
    let whole = Ended::of(training, None)?;
    let again = Ended::of(training, None)?;
    let resumed = Ended::of(training, whole.checkpoint.as_deref())?;
    let resume = engine::run(|| {
        Ok(Resume {
            steps: whole.steps,
            repeated: difference(&whole.model, &again.model)?,
            resumed: difference(&whole.model, &resumed.model)?,
        })
    })?;
    let mut throughput = Vec::new();
    for &precision in precisions {
        let images_per_second = if precision == spec.training.precision {
            again.images_per_second
        } else {
            let mut spec = spec.clone();
            spec.training.precision = precision;
            let other = Training {
                spec: &spec,
                ..*training
            };
            Ended::of(&other, None)?.images_per_second
        };
        throughput.push(Throughput {
            precision,
            images_per_second,
        });
    }
    Ok(Report {
        device: device.to_string(),
        model: spec.model.name.clone(),
        image_size: spec.data.image_size,
        batch_size: spec.hyperparameters.batch_size,
        rules,
        logits_difference,
        resume,
        throughput,
        peak_memory_bytes: peak.bytes(),
    })
}

fn logits_difference(training: &Training<'_>) -> Result<f64, TorchError> {
    let _no_grad = tch::no_grad_guard();
    let logits = |device: Device| -> Result<Tensor, TorchError> {
        let spec: &TrainSpec = training.spec;
        let architecture = Architecture::of(spec);
        let wanted = (spec.data.image_size, architecture.classes);
        let images = Images::new("training", training.train, wanted, device)?;
        let samples: Vec<usize> = (0..images.len().min(32)).collect();
        let head = Head::Fresh { seed: spec.seed };
        let network = Network::pretrained(&architecture, training.weights, head, device)?;
        let logits = network.logits(&images.batch(&samples).0, Mode::Evaluate);
        Ok(logits.to_device(tch::Device::Cpu))
    };
    let (here, there) = (logits(training.device)?, logits(Device::CPU)?);
    let length = |tensor: &Tensor| tensor.norm().double_value(&[]);
    Ok(length(&(&here - &there)) / length(&there))
}

/// The largest difference of a number between two models.
fn difference(a: &[u8], b: &[u8]) -> Result<f64, TorchError> {
    let (a, b) = (Tensors::parse("a model", a)?, Tensors::parse("a model", b)?);
    let of = |name| match (a.get(name), b.get(name)) {
        (Some(a), Some(b)) => (a - b).abs().max().double_value(&[]),
        _ => f64::INFINITY,
    };
    Ok(worst(a.names().map(of)))
}

/// The largest, or what is no number among them; 0 of none.
fn worst(differences: impl Iterator<Item = f64>) -> f64 {
    let larger = |most: f64, next: f64| if most >= next { most } else { next };
    differences.fold(0.0, |most, next| {
        if most.is_nan() {
            most
        } else {
            larger(most, next)
        }
    })
}

/// A run that came to its end.
#[derive(Default)]
struct Ended {
    model: Vec<u8>,
    steps: u64,
    images_per_second: f64,
    checkpoint: Option<Vec<u8>>,
    controls: usize,
}

impl Ended {
    fn of(training: &Training<'_>, resume: Option<&[u8]>) -> Result<Self, TorchError> {
        let mut ended = Self::default();
        match train(training, resume, &mut ended)? {
            TrainOutcome::Finished(model) => {
                ended.steps = model.steps;
                ended.model = model.bytes;
                Ok(ended)
            }
            // Its own observer never stops it, unless a checkpoint could not be written.
            _ => Err(TorchError::BadCheckpoint(
                "it could not be written".to_owned(),
            )),
        }
    }
}

impl Observer for Ended {
    fn control(&mut self) -> Control {
        self.controls += 1;
        Control::Continue
    }

    fn wants_checkpoint(&mut self) -> bool {
        self.controls == CUT + 1
    }

    fn epoch(&mut self, metrics: EpochMetrics) -> Result<(), Interrupted> {
        self.images_per_second = metrics.images_per_second;
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Interrupted> {
        if self.checkpoint.is_none() {
            self.checkpoint = Some(checkpoint.to_bytes().map_err(|_| Interrupted)?);
        }
        Ok(())
    }
}
