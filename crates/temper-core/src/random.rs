//! Counter-based randomness: every draw is a pure function of what it is for, never of when or
//! where it is made, so that batch size, compaction, resumption and worker change nothing.

use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::DigestBuilder;

/// What random numbers are for; two purposes never share a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The draw of validation, training and test subsets.
    Split,
    /// Order of the samples within an epoch.
    Shuffle,
    /// Horizontal flips of training images.
    Flip,
    /// Brightness, contrast and saturation of training images.
    ColorJitter,
    /// Angles by which training images are rotated.
    Rotation,
    /// Start noise of attacks that craft training batches.
    TrainNoise,
    /// Start noise of the attack in validation.
    ValidationNoise,
    /// Start noise of the attack in evaluation.
    EvaluationNoise,
    /// Which images an evaluation audits.
    Audit,
    /// Strengths of the schedule `uniform`.
    Schedule,
    /// Initial values of the classification head.
    Head,
    /// Residual branches that stochastic depth leaves out.
    StochasticDepth,
    /// Features that dropout leaves out.
    Dropout,
    /// How much sooner or later than planned a failed job is tried again.
    Backoff,
}

/// From what the start noise of an attack is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Noise {
    /// Uniform in the unit box `[-1, 1)`: attacks within an `l_inf` bound.
    Box,
    /// In the unit ball: a direction uniform on the sphere, a length uniform in `[0, 1)`: attacks
    /// within an `l2` bound.
    Ball,
    /// Standard normal numbers: TRADES.
    Normal,
}

/// The random numbers of one purpose in one round.
#[derive(Debug, Clone)]
pub struct Keyed([u8; 32]);

/// The random numbers of one sample.
pub struct Stream(ChaCha8Rng);

impl Keyed {
    /// The generator for `purpose` under `seed`, in `round` (the epoch, or the index on the
    /// epsilon grid) and `restart`.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose, round: u32, restart: u32) -> Self {
        let mut builder = DigestBuilder::default();
        builder.update(&seed.to_le_bytes());
        builder.update(purpose.name().as_bytes());
        builder.update(&round.to_le_bytes());
        builder.update(&restart.to_le_bytes());
        Self(*builder.finish().as_bytes())
    }

    /// The stream of `sample`, the sample's index in its split.
    #[must_use]
    pub fn stream(&self, sample: u64) -> Stream {
        let mut rng = ChaCha8Rng::from_seed(self.0);
        rng.set_stream(sample);
        Stream(rng)
    }

    /// A permutation of `0..count`: the order of the samples' own draws.
    #[must_use]
    pub fn permutation(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_cached_key(|&index| (self.stream(index as u64).bits(), index));
        order
    }
}

impl Stream {
    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, on a grid of 2^-24, so that it is exact in single precision.
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit the mantissa")]
    pub fn uniform(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Fills `values` with numbers uniform in `[-1, 1)`.
    pub fn fill_symmetric(&mut self, values: &mut [f32]) {
        for value in values {
            *value = 2.0 * self.uniform() - 1.0;
        }
    }

    /// Fills `values`, all those of a sample, with `noise`.
    pub fn fill(&mut self, noise: Noise, values: &mut [f32]) {
        if noise == Noise::Box {
            return self.fill_symmetric(values);
        }
        for value in &mut *values {
            *value = self.normal();
        }
        if noise == Noise::Ball {
            let square: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
            let scale = f64::from(self.uniform()) / square.sqrt().max(f64::MIN_POSITIVE);
            for value in values {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "single precision is wanted"
                )]
                let scaled = (f64::from(*value) * scale) as f32;
                *value = scaled;
            }
        }
    }

    /// A standard normal number (Box and Muller 1958).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }
}

impl Purpose {
    /// Part of the key of every stream: never change one.
    fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Shuffle => "shuffle",
            Self::Flip => "flip",
            Self::ColorJitter => "color-jitter",
            Self::Rotation => "rotation",
            Self::TrainNoise => "train-noise",
            Self::ValidationNoise => "validation-noise",
            Self::EvaluationNoise => "evaluation-noise",
            Self::Audit => "audit",
            Self::Schedule => "schedule",
            Self::Head => "head",
            Self::StochasticDepth => "stochastic-depth",
            Self::Dropout => "dropout",
            Self::Backoff => "backoff",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_for_ever() {
        let mut stream = Keyed::new(7, Purpose::Flip, 3, 0).stream(11);
        let first = stream.bits();
        assert_eq!(first, Keyed::new(7, Purpose::Flip, 3, 0).stream(11).bits());
        assert_eq!(first, 9_032_091_565_813_395_627);
    }

    #[test]
    fn any_part_of_the_key_changes_the_stream() {
        let of = |seed, purpose, round, restart, sample| {
            Keyed::new(seed, purpose, round, restart)
                .stream(sample)
                .bits()
        };
        let base = of(1, Purpose::Flip, 1, 1, 1);
        assert!(
            [
                of(2, Purpose::Flip, 1, 1, 1),
                of(1, Purpose::Shuffle, 1, 1, 1),
                of(1, Purpose::Flip, 2, 1, 1),
                of(1, Purpose::Flip, 1, 2, 1),
                of(1, Purpose::Flip, 1, 1, 2),
            ]
            .iter()
            .all(|other| *other != base)
        );
    }

    #[test]
    fn permutation_holds_every_index_once() {
        let mut order = Keyed::new(0, Purpose::Shuffle, 0, 0).permutation(100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn ball_holds_its_points_at_every_length() {
        let keyed = Keyed::new(0, Purpose::TrainNoise, 0, 0);
        let length = |sample| {
            let mut values = vec![0.0; 300];
            keyed.stream(sample).fill(Noise::Ball, &mut values);
            values.iter().map(|value| value * value).sum::<f32>().sqrt()
        };
        let lengths: Vec<f32> = (0..1000).map(length).collect();
        assert!(
            lengths
                .iter()
                .all(|length| (0.0..1.0 + 1e-6).contains(length))
        );
        let mean = lengths.iter().sum::<f32>() / 1000.0;
        assert!((mean - 0.5).abs() < 0.03, "{mean}");
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let mut stream = Keyed::new(0, Purpose::TrainNoise, 0, 0).stream(0);
        let mut values = vec![0.0; 10_000];
        stream.fill_symmetric(&mut values);
        assert!(values.iter().all(|value| (-1.0..1.0).contains(value)));
        let mean = values.iter().sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        let square: f32 = (0..10_000).map(|_| stream.normal().powi(2)).sum();
        assert!((square / 10_000.0 - 1.0).abs() < 0.06, "{square}");
    }
}
