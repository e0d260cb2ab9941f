//! A run: its state, its steps, and how it stops.

use std::time::{Duration, Instant};

use tch::Tensor;
use temper_core::{Digest, key, report::EpochMetrics, schedule::Moment, spec::TrainSpec};

use crate::{
    Control, Interrupted, Observer, TorchError, TrainOutcome, TrainedModel, Training, attack,
    augment,
    batch::Images,
    checkpoint::{self, Counters},
    models::{Architecture, Draws, Head, Mode, Network, Source},
    optim::{AdamW, Rates},
    plan::Plan,
    prefetch::{Batch, Loader},
    validation::validate,
};

pub(crate) struct Run<'a> {
    spec: &'a TrainSpec,
    key: Digest,
    plan: Plan,
    train: Images<'a>,
    validation: Images<'a>,
    network: Network,
    optimiser: AdamW,
    counters: Counters,
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
        let plan = Plan::new(spec, train.len())?;
        let decay = spec.hyperparameters.weight_decay;
        let (network, optimiser, counters) = if let Some(bytes) = resume {
            let saved = checkpoint::decode(key, bytes)?;
            let source = Source::stored(&saved.model, Some(training.weights));
            let network = Network::load(&architecture, source, Head::Stored, device)
                .map_err(|error| TorchError::BadCheckpoint(error.to_string()))?;
            let mut optimiser = AdamW::new(&network, decay);
            optimiser.restore(&saved.optimiser, saved.counters.step)?;
            (network, optimiser, saved.counters)
        } else {
            let head = Head::Fresh { seed: spec.seed };
            let network = Network::pretrained(&architecture, training.weights, head, device)?;
            let optimiser = AdamW::new(&network, decay);
            (network, optimiser, Counters::default())
        };
        let saved = (counters.step, counters.epochs);
        let loader = Loader::start(spec, training.train, counters.step)?;
        Ok(Self {
            spec,
            key,
            plan,
            train,
            validation,
            network,
            optimiser,
            counters,
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
        let (started, mut waiting) = (Instant::now(), Duration::ZERO);
        let step = self.counters.step;
        let (moment, batch) = (self.moment(step), self.plan.batch(step));
        let (mut loss, mut gradients) = (0.0, Vec::new());
        for _ in self.plan.micro_batches(batch.clone()) {
            let asked = Instant::now();
            let part = self.loader.next_batch()?;
            waiting += asked.elapsed();
            if !std::mem::replace(&mut self.fed, true) {
                tracing::info!(step, "first batch");
            }
            let (part_loss, part_gradients) = self.gradients(&part, &moment, batch.len())?;
            loss += part_loss;
            add(&mut gradients, part_gradients);
        }
        let rates = Rates::at(&self.spec.hyperparameters, step, self.plan.steps());
        self.optimiser.step(&gradients, rates);
        let counters = &mut self.counters;
        counters.step += 1;
        counters.samples += batch.len() as u64;
        counters.loss_bits = (f64::from_bits(counters.loss_bits) + loss).to_bits();
        counters.waiting_micros += micros(waiting);
        counters.micros += micros(started.elapsed());
        Ok(())
    }

    /// The summed loss of a batch's `part` and the gradient of its part of the mean loss over the
    /// whole batch of `of` samples.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a batch is far below 2^52 samples"
    )]
    fn gradients(
        &self,
        part: &Batch,
        moment: &Moment,
        of: usize,
    ) -> Result<(f64, Vec<Tensor>), TorchError> {
        let (settings, key) = (&self.spec.training, (self.spec.seed, part.epoch));
        let (x, y) = self.train.to_device(&part.pixels, &part.labels);
        let variations = augment::draw(&settings.augmentation, key, &part.samples);
        let mut x = augment::vary(&x, &variations);
        let alpha = self.spec.ramp.alpha(moment);
        if alpha > 0.0 {
            let noise = part.noise.as_deref();
            let noise = noise.map(|noise| self.train.noise_to_device(noise));
            let model = |x: &Tensor| self.network.logits(x, Mode::Evaluate);
            let target = self.spec.ramp.target().value();
            let steps = settings.attack_steps.at(alpha, settings.attack.steps());
            let strength = (alpha * target, target);
            let (attack, noise) = (&settings.attack, noise.as_ref());
            x = attack::craft(&model, (&x, &y), strength, attack, steps, noise)
                .map_err(|error| self.diverged(error))?;
        }
        let draws = Draws {
            seed: self.spec.seed,
            epoch: part.epoch,
            samples: &part.samples,
        };
        let logits = self.network.logits(&x, Mode::Train(draws));
        let loss = attack::cross_entropy_sum(&logits, &y);
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            return Err(self.diverged(TorchError::NotFinite));
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
        let made = checkpoint::encode(self.key, self.counters, &self.network, &self.optimiser)?;
        self.saved = state;
        Ok(observer.checkpoint(made))
    }

    /// Outputs that are not finite are a divergence, here where a model learns.
    fn diverged(&self, error: TorchError) -> TorchError {
        match error {
            TorchError::NotFinite => TorchError::Diverged {
                step: self.counters.step,
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

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
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
