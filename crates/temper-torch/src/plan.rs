//! Which samples an optimiser step sees: pure arithmetic on step numbers.

use std::ops::Range;

use temper_core::spec::TrainSpec;

use crate::TorchError;

/// Samples of the smallest micro-batch: batch norm needs two.
pub(crate) const LEAST_MICRO_BATCH: usize = 2;

/// The steps of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    samples: usize,
    batch: usize,
    micro_batch: usize,
    epochs: u32,
}

impl Plan {
    /// The plan for `samples` training images. Batch norm needs two samples, so a batch or micro
    /// batch of one is refused.
    pub fn new(spec: &TrainSpec, samples: usize) -> Result<Self, TorchError> {
        let bad = |what: &str| Err(TorchError::BadInput(what.to_owned()));
        let batch = spec.hyperparameters.batch_size as usize;
        let micro_batch = match spec.training.micro_batch_size {
            0 => batch,
            size => size as usize,
        };
        if batch < LEAST_MICRO_BATCH || micro_batch < LEAST_MICRO_BATCH {
            return bad("batch norm needs at least two samples a batch and micro batch");
        }
        if samples < 2 {
            return bad("training images: there are fewer than two");
        }
        Ok(Self {
            samples,
            batch,
            micro_batch,
            epochs: spec.training.epochs,
        })
    }

    /// Samples a forward pass.
    pub fn micro_batch(&self) -> usize {
        self.micro_batch
    }

    /// The same steps, by other micro-batches of at least [`LEAST_MICRO_BATCH`] samples.
    pub fn with_micro_batch(self, micro_batch: usize) -> Self {
        Self {
            micro_batch,
            ..self
        }
    }

    /// Optimiser steps an epoch; a last batch of a single sample is left out.
    pub fn steps_per_epoch(&self) -> u64 {
        let last = usize::from(self.samples % self.batch >= 2);
        (self.samples / self.batch + last) as u64
    }

    /// Optimiser steps of the run.
    pub fn steps(&self) -> u64 {
        u64::from(self.epochs) * self.steps_per_epoch()
    }

    /// Epochs of the run.
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    /// The epoch that `step` is part of.
    pub fn epoch(&self, step: u64) -> u32 {
        u32::try_from(step / self.steps_per_epoch()).unwrap_or(u32::MAX)
    }

    /// Share of the steps that are done before `step`, in `[0, 1]`.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of steps are far below 2^52"
    )]
    pub fn progress(&self, step: u64) -> f64 {
        step as f64 / self.steps() as f64
    }

    /// Positions in its epoch's order of the samples of `step`.
    pub fn batch(&self, step: u64) -> Range<usize> {
        let start = usize::try_from(step % self.steps_per_epoch())
            .unwrap_or(usize::MAX)
            .saturating_mul(self.batch);
        start..start.saturating_add(self.batch).min(self.samples)
    }

    /// The parts of a batch that are computed at once; a part of a single sample is joined to the
    /// one before.
    pub fn micro_batches(&self, batch: Range<usize>) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let mut start = batch.start;
        while start < batch.end {
            let mut end = (start + self.micro_batch).min(batch.end);
            if batch.end - end == 1 {
                end = batch.end;
            }
            parts.push(start..end);
            start = end;
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(samples: usize, batch: usize, micro_batch: usize) -> Plan {
        Plan {
            samples,
            batch,
            micro_batch,
            epochs: 3,
        }
    }

    #[test]
    fn every_sample_is_seen_once_an_epoch_but_a_last_single_one() {
        for (samples, batch, seen) in [(10, 4, 10), (9, 4, 8), (8, 4, 8), (3, 4, 3), (2, 64, 2)] {
            let plan = plan(samples, batch, batch);
            let batches: Vec<_> = (0..plan.steps_per_epoch()).map(|i| plan.batch(i)).collect();
            assert_eq!(
                batches.iter().map(ExactSizeIterator::len).sum::<usize>(),
                seen
            );
            assert!(batches.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(batches.iter().all(|range| range.len() >= 2), "{batches:?}");
        }
    }

    #[test]
    fn micro_batches_cover_the_batch_and_never_hold_one_sample() {
        for (length, micro) in [(8, 4), (9, 4), (10, 4), (7, 2), (2, 4), (5, 5)] {
            let parts = plan(100, 50, micro).micro_batches(20..20 + length);
            assert_eq!(
                (parts[0].start, parts[parts.len() - 1].end),
                (20, 20 + length)
            );
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(parts.iter().all(|part| part.len() >= 2), "{parts:?}");
        }
    }
}
