//! What training leaves out at random. Every draw is a function of seed, epoch and sample, so that
//! batch and micro-batch size, resumption and worker change nothing.

use tch::{Kind, Tensor};
use temper_core::random::{Keyed, Purpose};

/// What a forward pass is for.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    /// Batch norm uses the batch's statistics and updates its running ones; stochastic depth and
    /// dropout, where the architecture has them, leave out what `Draws` says.
    Train(Draws<'a>),
    /// Batch norm uses its running statistics and nothing is left out: samples do not see each
    /// other.
    Evaluate,
}

/// The key of a training pass's random draws. The default will do where the architecture drops
/// nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Draws<'a> {
    /// The run's seed.
    pub seed: u64,
    /// The epoch.
    pub epoch: u32,
    /// The samples of the batch in their order, by index in their split.
    pub samples: &'a [usize],
}

/// Stochastic depth (Huang et al. 2016) at the end of a residual branch: in training a sample
/// passes the branch with probability 1 - p, scaled by 1 / (1 - p), else the branch counts as 0.
pub(in crate::models) struct DropPath {
    probability: f64,
    /// Number of the branch within the model: each has draws of its own.
    site: u32,
}

impl Mode<'_> {
    pub(in crate::models) fn is_train(self) -> bool {
        matches!(self, Self::Train(_))
    }
}

impl DropPath {
    pub fn new(probability: f64, site: u32) -> Self {
        Self { probability, site }
    }

    /// Of `[n, ..]`.
    pub fn forward(&self, x: Tensor, mode: Mode) -> Tensor {
        let Mode::Train(draws) = mode else { return x };
        if self.probability <= 0.0 {
            return x;
        }
        let keyed = Keyed::new(draws.seed, Purpose::StochasticDepth, draws.epoch, self.site);
        let mut shape = vec![1; x.dim()];
        shape[0] = -1;
        &x * kept(&keyed, draws.samples, 1, self.probability)
            .reshape(shape)
            .to_device(x.device())
    }
}

/// Dropout (Srivastava et al. 2014) on features `f32[n, f]` with probability `probability`.
pub(in crate::models) fn dropout(x: Tensor, probability: f64, mode: Mode) -> Tensor {
    let Mode::Train(draws) = mode else { return x };
    if probability <= 0.0 {
        return x;
    }
    let keyed = Keyed::new(draws.seed, Purpose::Dropout, draws.epoch, 0);
    let width = usize::try_from(x.size()[1]).unwrap_or(0);
    &x * kept(&keyed, draws.samples, width, probability).to_device(x.device())
}

/// `f32[n, width]`: 0 with `probability`, else `1 / (1 - probability)`; a sample's row is of its
/// own stream.
fn kept(keyed: &Keyed, samples: &[usize], width: usize, probability: f64) -> Tensor {
    let mut values = Vec::with_capacity(samples.len() * width);
    for &sample in samples {
        let mut stream = keyed.stream(sample as u64);
        values.extend((0..width).map(|_| f64::from(stream.uniform()) >= probability));
    }
    let rows = i64::try_from(samples.len()).unwrap_or(i64::MAX);
    let kept = Tensor::from_slice(&values)
        .reshape([rows, -1])
        .to_kind(Kind::Float);
    kept / (1.0 - probability)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_belong_to_the_sample_not_to_its_place_and_differ_by_branch_and_epoch() {
        let row = |epoch, site, samples: &[usize]| {
            let rows = i64::try_from(samples.len()).unwrap();
            let x = Tensor::ones([rows, 1], (Kind::Float, tch::Device::Cpu));
            let draws = Draws {
                seed: 7,
                epoch,
                samples,
            };
            let dropped = DropPath::new(0.5, site).forward(x, Mode::Train(draws));
            Vec::<f32>::try_from(dropped.reshape([-1])).unwrap()
        };
        let all: Vec<usize> = (0..64).collect();
        let together = row(0, 0, &all);
        assert_eq!(row(0, 0, &all[10..20]), together[10..20]);
        assert!(together.iter().all(|x| [0.0, 2.0].contains(x)));
        assert!(row(0, 1, &all) != together && row(1, 0, &all) != together);
    }

    #[test]
    fn share_kept_is_right_and_the_mean_stays() {
        let samples: Vec<usize> = (0..100).collect();
        let draws = Draws {
            seed: 0,
            epoch: 3,
            samples: &samples,
        };
        let x = Tensor::ones([100, 200], (Kind::Float, tch::Device::Cpu));
        let dropped = dropout(x.copy(), 0.25, Mode::Train(draws));
        let mean = dropped.mean(Kind::Float).double_value(&[]);
        let zeros = 1.0 - dropped.count_nonzero(None).double_value(&[]) / 20_000.0;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert!((zeros - 0.25).abs() < 0.015, "{zeros}");
        assert_eq!(dropout(x.copy(), 0.25, Mode::Evaluate), x);
    }
}
