//! A run: its state, its steps, and how it stops.

mod step;

use temper_core::{Digest, key, report::EpochMetrics, schedule::Moment, spec::TrainSpec};
use temper_data::ImageSet;

use crate::{
    BestModel, Control, Device, Interrupted, Observer, TorchError, TrainOutcome, TrainedModel,
    Training,
    batch::Images,
    best::{Best, Rank},
    checkpoint::{self, Counters},
    models::{Architecture, Head, Network, Source},
    optim::{AdamW, Rates},
    plan::Plan,
    prefetch::Loader,
    validation::validate,
};

pub(crate) struct Run<'a> {
    spec: &'a TrainSpec,
    key: Digest,
    device: Device,
    plan: Plan,
    /// Micro-batch by the job's settings; the plan's may be smaller.
    asked_micro_batch: usize,
    set: &'a ImageSet,
    train: Images<'a>,
    validation: Images<'a>,
    network: Network,
    optimiser: AdamW,
    counters: Counters,
    best: Option<Best>,
    loader: Loader,
    /// Whether a batch has come.
    fed: bool,
    /// Step and epochs of the checkpoint that exists.
    saved: (u64, u32),
}

impl<'a> Run<'a> {
    /// A fresh run, or the one that `resume` holds.
    pub fn new(training: &Training<'a>, resume: Option<&[u8]>) -> Result<Self, TorchError> {
        let (spec, device) = (training.spec, training.device);
        let key = key::training_key(spec);
        let architecture = Architecture::of(spec);
        let wanted = (spec.data.image_size, architecture.classes);
        let train = Images::new("training", training.train, wanted, device)?;
        let validation = Images::new("validation", training.validation, wanted, device)?;
        let mut plan = Plan::new(spec, train.len())?;
        let asked_micro_batch = plan.micro_batch();
        let decay = spec.hyperparameters.weight_decay;
        let (network, optimiser, counters, best) = if let Some(bytes) = resume {
            let saved = checkpoint::decode((key, asked_micro_batch), bytes)?;
            let source = Source::stored(&saved.model, Some(training.weights));
            let network = Network::load(&architecture, source, Head::Stored, device)
                .map_err(of_checkpoint)?;
            let mut optimiser = AdamW::new(&network, decay);
            optimiser.restore(&saved.optimiser, saved.counters.step)?;
            plan = plan.with_micro_batch(saved.micro_batch);
            (network, optimiser, saved.counters, saved.best)
        } else {
            let head = Head::Fresh { seed: spec.seed };
            let network = Network::pretrained(&architecture, training.weights, head, device)?;
            let optimiser = AdamW::new(&network, decay);
            (network, optimiser, Counters::default(), None)
        };
        let network = network.in_precision(spec.training.precision)?;
        let saved = (counters.step, counters.epochs);
        let loader = Loader::of_plan(plan, spec, training.train, counters.step)?;
        Ok(Self {
            spec,
            key,
            device,
            plan,
            asked_micro_batch,
            set: training.train,
            train,
            validation,
            network,
            optimiser,
            counters,
            best,
            loader,
            fed: false,
            saved,
        })
    }

    /// Runs to the end, or until told to stop.
    pub fn drive(mut self, observer: &mut dyn Observer) -> Result<TrainOutcome, TorchError> {
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
                // Never between an epoch's last step and its end, which has a checkpoint of its
                // own under the same count of steps.
                if observer.wants_checkpoint() && self.save(observer)?.is_err() {
                    return Ok(TrainOutcome::Aborted);
                }
                let seen = self.counters.samples;
                self.step()?;
                observer.stepped(self.counters.samples - seen);
            } else if self.close_epoch(observer)?.is_err() {
                return Ok(TrainOutcome::Aborted);
            }
        }
        Ok(TrainOutcome::Finished(self.finished()?))
    }

    fn finished(&self) -> Result<TrainedModel, TorchError> {
        let best = self.best.as_ref().map(|best| {
            Ok::<_, TorchError>(BestModel {
                bytes: self.network.host_to_safetensors(&best.values)?,
                epoch: best.rank.epoch,
            })
        });
        Ok(TrainedModel {
            bytes: self.network.to_safetensors()?,
            epochs: self.counters.epochs,
            steps: self.counters.step,
            best: best.transpose()?,
            micro_batch_size: u32::try_from(self.plan.micro_batch()).unwrap_or(u32::MAX),
        })
    }

    /// Validates and reports the epoch, then hands over a checkpoint. Validation that is told to
    /// stop leaves the epoch open, so that a run resumed from here validates first.
    fn close_epoch(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<Result<(), Interrupted>, TorchError> {
        let result = validate(self.spec, &self.network, &self.validation, observer);
        let Some(accuracy) = result.map_err(|error| self.diverged(error))? else {
            return Ok(Ok(()));
        };
        let Counters {
            step,
            epochs,
            samples,
            loss_bits,
            micros,
            waiting_micros,
            plateau,
        } = self.counters;
        let last = step.saturating_sub(1);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let (samples, micros, waiting) = (samples as f64, micros as f64, waiting_micros as f64);
        let metrics = EpochMetrics {
            epoch: epochs,
            epsilon: self.spec.ramp.epsilon(&self.moment(last)),
            learning_rate: Rates::at(&self.spec.hyperparameters, last, self.plan.steps()).backbone,
            train_loss: f64::from_bits(loss_bits) / samples,
            validation_accuracy: accuracy.clean,
            validation_robust_accuracy: accuracy.robust,
            images_per_second: samples * 1e6 / micros.max(1.0),
            loading_share: (waiting / micros.max(1.0)).min(1.0),
        };
        if observer.epoch(metrics).is_err() {
            return Ok(Err(Interrupted));
        }
        let rank = Rank::new((epochs, step), accuracy);
        self.best = Some(Best::of(self.best.take(), rank, &self.network)?);
        let ramp = &self.spec.ramp;
        let plateau = accuracy.clean.map_or(plateau, |clean| {
            ramp.observe(plateau, clean, epochs, self.plan.epochs())
        });
        self.counters = Counters {
            step,
            epochs: epochs + 1,
            plateau,
            ..Counters::default()
        };
        self.save(observer)
    }

    /// Hands over the state, unless a checkpoint of it exists.
    fn save(&mut self, observer: &mut dyn Observer) -> Result<Result<(), Interrupted>, TorchError> {
        let state = (self.counters.step, self.counters.epochs);
        if self.saved == state {
            return Ok(Ok(()));
        }
        let now = checkpoint::State {
            counters: self.counters,
            micro_batch: self.plan.micro_batch(),
            network: &self.network,
            optimiser: &self.optimiser,
            best: self.best.as_ref(),
        };
        let made = checkpoint::take(self.key, &now)?;
        self.saved = state;
        Ok(observer.checkpoint(made))
    }

    /// Outputs that are not finite are a divergence, here where a model learns.
    fn diverged(&self, error: TorchError) -> TorchError {
        match error {
            TorchError::NotFinite => TorchError::Diverged {
                step: self.counters.step,
                checkpoint: (self.saved.0 > 0).then_some(self.saved.0),
            },
            other => other,
        }
    }

    /// Where `step` is in the run.
    fn moment(&self, step: u64) -> Moment {
        Moment {
            progress: self.plan.progress(step),
            epoch: self.plan.epoch(step),
            seed: self.spec.seed,
            plateau: self.counters.plateau,
        }
    }
}

/// What is wrong with a checkpoint whose network cannot be built. Too little memory and a device
/// that fails say nothing against it: the one before would do no better.
fn of_checkpoint(error: TorchError) -> TorchError {
    match error {
        error @ (TorchError::OutOfMemory(_) | TorchError::Device(_)) => error,
        error => TorchError::BadCheckpoint(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_is_not_blamed_for_memory_or_the_device() {
        let what = || "what".to_owned();
        let is_blamed = |error| matches!(of_checkpoint(error), TorchError::BadCheckpoint(_));
        assert!(is_blamed(TorchError::Torch(what())));
        assert!(!is_blamed(TorchError::OutOfMemory(what())));
        assert!(!is_blamed(TorchError::Device(what())));
    }
}
