//! One optimiser step of a run.

use std::time::{Duration, Instant};

use tch::Tensor;
use temper_core::{schedule::Moment, spec::Objective};

use super::Run;
use crate::{
    TorchError, attack, augment, engine,
    memory::{self, PeakMemory},
    models::{Draws, Mode},
    objective::{self, Strength},
    optim::{self, Rates},
    prefetch::{Batch, Loader},
};

impl Run<'_> {
    /// One optimiser step.
    pub(super) fn step(&mut self) -> Result<(), TorchError> {
        let (started, mut waiting) = (Instant::now(), Duration::ZERO);
        let step = self.counters.step;
        let (loss, mut gradients) = loop {
            // A try changes nothing that a second one sees, but batch norm's running statistics:
            // where there are any, there is no second one.
            match engine::run(|| self.accumulate(&mut waiting)) {
                Err(TorchError::OutOfMemory(reason)) => self.shrink(&reason)?,
                other => break other?,
            }
        };
        let limit = self.spec.training.gradient_clipping;
        let norm = optim::clip(&mut gradients, limit.unwrap_or(f64::INFINITY));
        if !norm.is_finite() {
            return Err(self.diverged(TorchError::NotFinite));
        }
        let rates = Rates::at(&self.spec.hyperparameters, step, self.plan.steps());
        self.optimiser.step(&gradients, rates);
        let samples = self.plan.batch(step).len() as u64;
        let counters = &mut self.counters;
        counters.step += 1;
        counters.samples += samples;
        counters.loss_bits = (f64::from_bits(counters.loss_bits) + loss).to_bits();
        counters.waiting_micros += micros(waiting);
        counters.micros += micros(started.elapsed());
        Ok(())
    }

    /// The summed loss of the step's batch and the gradient of its mean.
    fn accumulate(&mut self, waiting: &mut Duration) -> Result<(f64, Vec<Tensor>), TorchError> {
        let step = self.counters.step;
        let (moment, batch) = (self.moment(step), self.plan.batch(step));
        let (mut loss, mut gradients) = (0.0, Vec::new());
        for _ in self.plan.micro_batches(batch.clone()) {
            let asked = Instant::now();
            let part = self.loader.next_batch()?;
            *waiting += asked.elapsed();
            if !std::mem::replace(&mut self.fed, true) {
                tracing::info!(step, "first batch");
            }
            let (part_loss, part_gradients) = self.gradients(&part, &moment, batch.len())?;
            loss += part_loss;
            add(&mut gradients, part_gradients);
        }
        Ok((loss, gradients))
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
        let x = augment::vary(&x, &variations);
        let crafted = self.craft((&x, &y), moment, part)?;
        let mode = Mode::Train(Draws {
            seed: self.spec.seed,
            epoch: part.epoch,
            samples: &part.samples,
        });
        let smoothing = settings.label_smoothing;
        let loss =
            if let (Objective::Trades { beta }, Some(crafted)) = (settings.objective, &crafted) {
                let clean = self.network.logits(&x, mode);
                let adversarial = self.network.logits(crafted, mode);
                objective::trades_sum((&clean, &adversarial), &y, (beta, smoothing))
            } else {
                let logits = self.network.logits(crafted.as_ref().unwrap_or(&x), mode);
                objective::cross_entropy_sum(&logits, &y, smoothing)
            };
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            return Err(self.diverged(TorchError::NotFinite));
        }
        let (mean, parameters) = (loss / of as f64, self.optimiser.parameters());
        let gradients = Tensor::run_backward(&[&mean], &parameters, false, false);
        Ok((value, gradients))
    }

    /// The adversarial images of `x`; none at strength 0.
    fn craft(
        &self,
        (x, y): (&Tensor, &Tensor),
        moment: &Moment,
        part: &Batch,
    ) -> Result<Option<Tensor>, TorchError> {
        let (ramp, settings) = (&self.spec.ramp, &self.spec.training);
        let epsilon = ramp.epsilon(moment);
        if epsilon <= 0.0 {
            return Ok(None);
        }
        let by = &settings.attack;
        let strength = Strength {
            epsilon,
            target: ramp.target().value(),
            steps: settings.attack_steps.at(ramp.alpha(moment), by.steps()),
        };
        let noise = part.noise.as_deref();
        let noise = noise.map(|noise| self.train.noise_to_device(noise));
        let model = |x: &Tensor| self.network.logits(x, Mode::Evaluate);
        let crafted = match settings.objective {
            Objective::Adversarial => {
                let bounds = (strength.epsilon, strength.target);
                attack::craft(&model, (x, y), bounds, by, strength.steps, noise.as_ref())
            }
            Objective::Trades { .. } => {
                let noise = noise.unwrap_or_else(|| x.zeros_like());
                objective::craft_trades(&model, x, strength, by, &noise)
            }
        };
        crafted.map(Some).map_err(|error| self.diverged(error))
    }

    /// Halves the micro-batch after a lack of memory, and starts the loader again at this step.
    fn shrink(&mut self, reason: &str) -> Result<(), TorchError> {
        let size = self.plan.micro_batch();
        let asked = self.asked_micro_batch;
        let Some(half) = memory::smaller(size, asked, self.network.has_batch_norm()) else {
            let peak = PeakMemory::of(self.device).bytes();
            return Err(TorchError::OutOfMemory(memory::advice(reason, size, peak)));
        };
        let step = self.counters.step;
        tracing::warn!(
            step,
            reason,
            micro_batch_size = half,
            "out of memory: smaller micro-batches"
        );
        self.plan = self.plan.with_micro_batch(half);
        self.loader = Loader::of_plan(self.plan, self.spec, self.set, step)?;
        Ok(())
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
