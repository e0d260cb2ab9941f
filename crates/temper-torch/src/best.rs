//! The model of the best epoch on the validation split, kept while training goes on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{TorchError, models::Network, tensors::HostTensor, validation::Accuracy};

/// Named values on the host.
pub(crate) type Values = Arc<Vec<(String, HostTensor)>>;

/// Which epoch was the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rank {
    /// The epoch, from 0.
    pub epoch: u32,
    /// Optimiser steps done at its end.
    pub step: u64,
    /// Its accuracy as the bits of an `f64`; none where nothing is measured.
    score_bits: Option<u64>,
}

/// The best model so far.
#[derive(Debug, Clone)]
pub(crate) struct Best {
    pub rank: Rank,
    /// The network's tensors at that epoch's end.
    pub values: Values,
}

impl Rank {
    /// Of an epoch with `accuracy`: robust, else clean.
    pub fn new((epoch, step): (u32, u64), accuracy: Accuracy) -> Self {
        let score_bits = accuracy.robust.or(accuracy.clean).map(f64::to_bits);
        Self {
            epoch,
            step,
            score_bits,
        }
    }

    /// Whether it replaces `other`, of an earlier epoch: the first of equals stays, and where
    /// nothing is measured the last one counts.
    fn beats(&self, other: &Self) -> bool {
        match (self.score_bits, other.score_bits) {
            (Some(new), Some(old)) => f64::from_bits(new) > f64::from_bits(old),
            _ => true,
        }
    }
}

impl Best {
    /// The better one of what is kept and `network` as it is now.
    pub fn of(kept: Option<Self>, rank: Rank, network: &Network) -> Result<Self, TorchError> {
        if let Some(kept) = kept.filter(|kept| !rank.beats(&kept.rank)) {
            return Ok(kept);
        }
        let values = Arc::new(network.to_host()?);
        Ok(Self { rank, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greatest_robust_accuracy_wins_then_clean_then_the_last() {
        let rank = |epoch, robust, clean| Rank::new((epoch, 0), Accuracy { clean, robust });
        let best = |ranks: &[Rank]| {
            let mut best = ranks[0];
            for rank in &ranks[1..] {
                if rank.beats(&best) {
                    best = *rank;
                }
            }
            best.epoch
        };
        let robust = [(0.1, 0.9), (0.3, 0.5), (0.3, 0.8), (0.2, 1.0)];
        let ranks = (0..)
            .zip(robust)
            .map(|(i, (r, c))| rank(i, Some(r), Some(c)));
        assert_eq!(best(&ranks.collect::<Vec<_>>()), 1);
        let clean = [0.5, 0.7, 0.7].into_iter().zip(0..);
        let ranks: Vec<_> = clean.map(|(c, i)| rank(i, None, Some(c))).collect();
        assert_eq!(best(&ranks), 1);
        let ranks: Vec<_> = (0..3).map(|i| rank(i, None, None)).collect();
        assert_eq!(best(&ranks), 2);
    }
}
