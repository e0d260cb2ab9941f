//! What the fake trainer yields: a pure function of a job's key, so that every stored result can be
//! compared with what it must be, whoever computed it and however often it was begun.

use temper_core::{Digest, Epsilon, curve::Point, report::EpochMetrics};

/// Copies of its last state that a model consists of: two kilobytes.
const COPIES: usize = 64;

/// Where a training stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Epochs done.
    pub epochs: u32,
    /// Depends on the key and on each of these epochs.
    pub digest: Digest,
}

impl State {
    /// The state in which the training with this key begins.
    #[must_use]
    pub fn start(key: &Digest) -> Self {
        Self {
            epochs: 0,
            digest: Digest::of(key.as_bytes()),
        }
    }

    /// The state after so many epochs.
    #[must_use]
    pub fn after(key: &Digest, epochs: u32) -> Self {
        (0..epochs).fold(Self::start(key), |state, _| state.trained())
    }

    /// The state after one epoch more.
    #[must_use]
    pub fn trained(self) -> Self {
        let text = format!("{} after epoch {}", self.digest, self.epochs);
        Self {
            epochs: self.epochs + 1,
            digest: Digest::of(text.as_bytes()),
        }
    }

    /// What is reported of the epoch that led here.
    #[must_use]
    pub fn metrics(&self) -> EpochMetrics {
        EpochMetrics {
            epoch: self.epochs.saturating_sub(1),
            epsilon: 0.0,
            learning_rate: 1e-3,
            train_loss: loss(&self.digest),
            validation_accuracy: None,
            validation_robust_accuracy: None,
            images_per_second: 1.0,
            loading_share: 0.0,
        }
    }

    /// The trained model, where this is the last state.
    #[must_use]
    pub fn model(&self) -> Vec<u8> {
        self.digest.as_bytes().repeat(COPIES)
    }
}

/// What the evaluation with this key measures of `model`: counts that fall along the grid.
#[must_use]
pub fn points(key: &Digest, model: &[u8], grid: &[Epsilon], samples: u32) -> Vec<Point> {
    let mut correct = samples;
    let measure = |(place, &epsilon): (usize, &Epsilon)| {
        let text = format!("{key} of {} at {place}", Digest::of(model));
        let broken = u32::from(Digest::of(text.as_bytes()).as_bytes()[0]) % 3;
        correct = correct.saturating_sub(broken);
        Point {
            epsilon,
            correct,
            samples,
        }
    };
    grid.iter().enumerate().map(measure).collect()
}

fn loss(digest: &Digest) -> f64 {
    let bytes = digest.as_bytes();
    f64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_matters_and_so_does_the_key() {
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        assert_eq!(State::after(&one, 2).trained(), State::after(&one, 3));
        let mut skipped = State::after(&one, 1);
        skipped.epochs = 2;
        assert_ne!(skipped.trained().model(), State::after(&one, 3).model());
        assert_ne!(
            State::after(&one, 3).model(),
            State::after(&other, 3).model()
        );
    }
}
