//! Adversarial fine-tuning of one model (Madry et al. 2018) along an epsilon schedule.

use std::{path::Path, time::Instant};

use tch::Tensor;
use temper_core::{
    Digest, key,
    random::{Keyed, Purpose},
    report::EpochMetrics,
    spec::TrainSpec,
};
use temper_data::ImageSet;

use crate::{
    TorchError, attack,
    batch::{Images, flip},
    checkpoint::{self, Checkpoint, Counters},
    engine::{self, Device},
    measure::{Attack, CHUNK, survivors},
    models::{Architecture, Head, Mode, Network},
    optim::{AdamW, Rates},
    plan::Plan,
    tensors::Tensors,
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

    /// An epoch is over. A resumed run reports the epochs after its checkpoint again.
    ///
    /// # Errors
    /// [`Interrupted`] ends the run.
    fn epoch(&mut self, metrics: EpochMetrics) -> Result<(), Interrupted>;

    /// The state to resume from: after every reported epoch, and at a drain, unless the state is
    /// that of the checkpoint before.
    ///
    /// # Errors
    /// [`Interrupted`] ends the run.
    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Interrupted>;
}

/// A finished model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainedModel {
    /// Safetensors with timm's names, head included: see [`Network::to_safetensors`].
    pub bytes: Vec<u8>,
    /// Epochs done.
    pub epochs: u32,
    /// Optimiser steps done.
    pub steps: u64,
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
/// for the share of steps done, then takes one training-mode step on the adversarial batch alone;
/// at strength 0 nothing is crafted. With `resume`, the bytes of a [`Checkpoint`] of the same job,
/// the run goes on from there; on one thread it then yields the same weights to the last bit.
///
/// # Errors
/// [`TorchError::BadCheckpoint`] when `resume` cannot be used (an older checkpoint, or none, may
/// do); [`TorchError::Diverged`]; [`TorchError::OutOfMemory`]; an error naming the weights file
/// when it does not fit; [`TorchError::BadInput`] for images or settings that cannot be trained on.
pub fn train(
    training: &Training<'_>,
    resume: Option<&[u8]>,
    observer: &mut dyn Observer,
) -> Result<TrainOutcome, TorchError> {
    engine::run(|| Run::new(training, resume)?.drive(observer))
}

struct Run<'a> {
    spec: &'a TrainSpec,
    key: Digest,
    plan: Plan,
    train: Images<'a>,
    validation: Images<'a>,
    network: Network,
    optimiser: AdamW,
    counters: Counters,
    /// Order of the samples in the epoch that runs.
    order: Option<(u32, Vec<usize>)>,
    /// Step and epochs of the checkpoint that exists.
    saved: (u64, u32),
}

impl<'a> Run<'a> {
    fn new(training: &Training<'a>, resume: Option<&[u8]>) -> Result<Self, TorchError> {
        let (spec, device) = (training.spec, training.device);
        let key = key::training_key(spec);
        let architecture = Architecture::of(spec);
        let wanted = (spec.data.image_size, architecture.classes);
        let train = Images::new("training", training.train, wanted, device)?;
        let validation = Images::new("validation", training.validation, wanted, device)?;
        let plan = Plan::new(spec, train.len())?;
        let decay = spec.hyperparameters.weight_decay;
        let (network, optimiser, counters) = if let Some(bytes) = resume {
            let saved = checkpoint::decode(key, bytes)?;
            let network = Network::load(&architecture, &saved.model, Head::Stored, device)
                .map_err(|error| TorchError::BadCheckpoint(error.to_string()))?;
            let mut optimiser = AdamW::new(&network, decay);
            optimiser.restore(&saved.optimiser, saved.counters.step)?;
            (network, optimiser, saved.counters)
        } else {
            let source = Tensors::read(training.weights)?;
            let head = Head::Fresh { seed: spec.seed };
            let network = Network::load(&architecture, &source, head, device)?;
            let optimiser = AdamW::new(&network, decay);
            (network, optimiser, Counters::default())
        };
        let saved = (counters.step, counters.epochs);
        let order = None;
        Ok(Self {
            spec,
            key,
            plan,
            train,
            validation,
            network,
            optimiser,
            counters,
            order,
            saved,
        })
    }

    fn drive(mut self, observer: &mut dyn Observer) -> Result<TrainOutcome, TorchError> {
        while self.counters.epochs < self.plan.epochs() {
            match observer.control() {
                Control::Continue => {}
                Control::Drain => {
                    return Ok(match self.save(observer)? {
                        Ok(()) => TrainOutcome::Drained,
                        Err(Interrupted) => TrainOutcome::Aborted,
                    });
                }
                Control::Abort => return Ok(TrainOutcome::Aborted),
            }
            let trained = u64::from(self.counters.epochs + 1) * self.plan.steps_per_epoch();
            if self.counters.step < trained {
                self.step()?;
            } else if self.close_epoch(observer)?.is_err() {
                return Ok(TrainOutcome::Aborted);
            }
        }
        let bytes = self.network.to_safetensors()?;
        let (epochs, steps) = (self.counters.epochs, self.counters.step);
        Ok(TrainOutcome::Finished(TrainedModel {
            bytes,
            epochs,
            steps,
        }))
    }

    /// One optimiser step.
    fn step(&mut self) -> Result<(), TorchError> {
        let started = Instant::now();
        let Counters {
            step,
            epochs: epoch,
            ..
        } = self.counters;
        let epsilon = self.epsilon(step);
        let batch = self
            .plan
            .batch(step - u64::from(epoch) * self.plan.steps_per_epoch());
        let order = self.order(epoch);
        let (mut loss, mut gradients) = (0.0, Vec::new());
        for part in self.plan.micro_batches(batch.clone()) {
            let (part_loss, part_gradients) =
                self.gradients(epoch, &order[part], (epsilon, batch.len()))?;
            loss += part_loss;
            add(&mut gradients, part_gradients);
        }
        self.order = Some((epoch, order));
        let rates = Rates::at(&self.spec.hyperparameters, step, self.plan.steps());
        self.optimiser.step(&gradients, rates);
        let counters = &mut self.counters;
        counters.step += 1;
        counters.samples += batch.len() as u64;
        counters.loss_bits = (f64::from_bits(counters.loss_bits) + loss).to_bits();
        counters.micros += u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// The summed loss of `samples` and the gradient of their part of the mean loss over a batch
    /// of `of` samples.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a batch is far below 2^52 samples"
    )]
    fn gradients(
        &self,
        epoch: u32,
        samples: &[usize],
        (epsilon, of): (f64, usize),
    ) -> Result<(f64, Vec<Tensor>), TorchError> {
        let diverged = TorchError::Diverged {
            step: self.counters.step,
        };
        let keyed = |purpose| Keyed::new(self.spec.seed, purpose, epoch, 0);
        let (mut x, y) = self.train.batch(samples);
        if self.spec.training.horizontal_flip {
            x = flip(&x, &keyed(Purpose::Flip), samples);
        }
        if epsilon > 0.0 {
            let pgd = &self.spec.training.attack;
            let noise = keyed(Purpose::TrainNoise);
            let noise = pgd.random_start.then(|| self.train.noise(&noise, samples));
            let model = |x: &Tensor| self.network.logits(x, Mode::Evaluate);
            x = match attack::pgd(&model, (&x, &y), epsilon, pgd, noise.as_ref()) {
                Err(TorchError::NotFinite) => return Err(diverged),
                other => other?,
            };
        }
        let loss = attack::cross_entropy_sum(&self.network.logits(&x, Mode::Train), &y);
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            return Err(diverged);
        }
        let mean = loss / of as f64;
        let parameters = self.optimiser.parameters();
        Ok((
            value,
            Tensor::run_backward(&[&mean], &parameters, false, false),
        ))
    }

    /// Validates and reports the epoch, then hands over a checkpoint. Validation that is told to
    /// stop leaves the epoch open, so that a run resumed from here validates first.
    fn close_epoch(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<Result<(), Interrupted>, TorchError> {
        let Some((clean, robust)) = self.validate(observer)? else {
            return Ok(Ok(()));
        };
        let Counters {
            step,
            epochs,
            samples,
            loss_bits,
            micros,
        } = self.counters;
        let last = step.saturating_sub(1);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let (samples, seconds) = (samples as f64, micros as f64 / 1e6);
        let metrics = EpochMetrics {
            epoch: epochs,
            epsilon: self.epsilon(last),
            learning_rate: Rates::at(&self.spec.hyperparameters, last, self.plan.steps()).backbone,
            train_loss: f64::from_bits(loss_bits) / samples,
            validation_accuracy: clean,
            validation_robust_accuracy: robust,
            images_per_second: samples / seconds.max(1e-6),
        };
        if observer.epoch(metrics).is_err() {
            return Ok(Err(Interrupted));
        }
        self.counters = Counters {
            step,
            epochs: epochs + 1,
            ..Counters::default()
        };
        self.save(observer)
    }

    /// Clean accuracy on the validation split, and robust accuracy on its first samples (those
    /// wrong without attack count as wrong under it); none when told to stop.
    fn validate(
        &self,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Option<f64>, Option<f64>)>, TorchError> {
        let all: Vec<usize> = (0..self.validation.len()).collect();
        let Some(right) = self.survivors(&all, None, observer)? else {
            return Ok(None);
        };
        let settings = &self.spec.validation;
        let epsilon = self.spec.ramp.target().value();
        let attacked = all.len().min(settings.robust_samples as usize);
        let clean = share(right.len(), all.len());
        if epsilon == 0.0 || attacked == 0 {
            return Ok(Some((clean, None)));
        }
        // The same noise every epoch, so that epochs can be compared.
        let noise = Keyed::new(self.spec.seed, Purpose::ValidationNoise, 0, 0);
        let attack = Attack {
            pgd: &settings.attack,
            epsilon,
            noise,
        };
        let first: Vec<usize> = right
            .into_iter()
            .filter(|&sample| sample < attacked)
            .collect();
        let robust = self.survivors(&first, Some(&attack), observer)?;
        Ok(robust.map(|robust| (clean, share(robust.len(), attacked))))
    }

    fn survivors(
        &self,
        samples: &[usize],
        attack: Option<&Attack<'_>>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<usize>>, TorchError> {
        let mut right = Vec::new();
        for chunk in samples.chunks(CHUNK) {
            if observer.control() != Control::Continue {
                return Ok(None);
            }
            match survivors(&self.network, &self.validation, chunk, attack) {
                Err(TorchError::NotFinite) => {
                    return Err(TorchError::Diverged {
                        step: self.counters.step,
                    });
                }
                other => right.extend(other?),
            }
        }
        Ok(Some(right))
    }

    /// Hands over the state, unless a checkpoint of it exists.
    fn save(&mut self, observer: &mut dyn Observer) -> Result<Result<(), Interrupted>, TorchError> {
        let state = (self.counters.step, self.counters.epochs);
        if self.saved == state {
            return Ok(Ok(()));
        }
        let made = checkpoint::encode(self.key, self.counters, &self.network, &self.optimiser)?;
        self.saved = state;
        Ok(observer.checkpoint(made))
    }

    /// The strength at `step`: the schedule's at the share of steps done before it.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of steps are far below 2^52"
    )]
    fn epsilon(&self, step: u64) -> f64 {
        self.spec
            .ramp
            .epsilon(step as f64 / self.plan.steps() as f64)
    }

    /// Takes the order of the samples in `epoch`; the caller puts it back.
    fn order(&mut self, epoch: u32) -> Vec<usize> {
        match self.order.take() {
            Some((of, order)) if of == epoch => order,
            _ => {
                let keyed = Keyed::new(self.spec.seed, Purpose::Shuffle, epoch, 0);
                keyed.permutation(self.train.len())
            }
        }
    }
}

/// Adds gradients tensor by tensor; the first ones are taken as they are.
fn add(sum: &mut Vec<Tensor>, gradients: Vec<Tensor>) {
    if sum.is_empty() {
        *sum = gradients;
        return;
    }
    for (sum, gradient) in sum.iter_mut().zip(gradients) {
        *sum += gradient;
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of samples are far below 2^52"
)]
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
