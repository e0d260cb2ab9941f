//! torchvision's `ColorJitter` on float images, without hue.

use tch::{Kind, Tensor};
use temper_core::{random::Stream, spec::ColorJitter};

/// What is changed of an image: its blend with black, with its mean grey, or with its grey self.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Adjustment {
    /// The blend with black.
    Brightness,
    /// The blend with the mean of its grey self.
    Contrast,
    /// The blend with its grey self.
    Saturation,
}

/// The adjustments of one sample in their order, each with the image's own share in the blend,
/// at least 0: 1 leaves it alone. Pixels are clamped to `[0, 1]` after each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter(pub [(Adjustment, f64); 3]);

const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

/// Weights of red, green and blue in grey, as torchvision has them.
const GREY: [f64; 3] = [0.2989, 0.587, 0.114];

impl Jitter {
    /// The image as it is.
    pub const NONE: Self = Self([
        (Adjustment::Brightness, 1.0),
        (Adjustment::Contrast, 1.0),
        (Adjustment::Saturation, 1.0),
    ]);

    /// Draws factors and order. All three are drawn whatever is wanted, so that none depends on
    /// the strength of another.
    pub(super) fn draw(settings: &ColorJitter, stream: &mut Stream) -> Self {
        let mut factor = |strength: f64| {
            let (low, high) = ((1.0 - strength).max(0.0), 1.0 + strength);
            low + (high - low) * f64::from(stream.uniform())
        };
        let drawn = [
            (Adjustment::Brightness, factor(settings.brightness)),
            (Adjustment::Contrast, factor(settings.contrast)),
            (Adjustment::Saturation, factor(settings.saturation)),
        ];
        let order = usize::try_from(stream.bits() % 6).unwrap_or(0);
        Self(ORDERS[order].map(|index| drawn[index]))
    }

    #[expect(clippy::float_cmp, reason = "a factor of exactly 1 does nothing")]
    pub(super) fn is_none(&self) -> bool {
        self.0.iter().all(|(_, factor)| *factor == 1.0)
    }

    /// For each adjustment the shares of the image, of its grey self and of its mean grey.
    pub(super) fn numbers(&self) -> impl Iterator<Item = f32> {
        self.0.into_iter().flat_map(|(adjustment, factor)| {
            let (grey, mean) = match adjustment {
                Adjustment::Brightness => (0.0, 0.0),
                Adjustment::Contrast => (0.0, 1.0 - factor),
                Adjustment::Saturation => (1.0 - factor, 0.0),
            };
            [single(factor), single(grey), single(mean)]
        })
    }
}

/// Applies the three adjustments of every sample of `x`; `column` gives the numbers of
/// [`Jitter::numbers`]. The three kinds are one formula, so that samples of all orders go together.
pub(super) fn apply(mut x: Tensor, column: impl Fn(i64) -> Tensor) -> Tensor {
    for first in [0, 3, 6] {
        let grey = grey(&x);
        // In double precision, because the order of summation, and with it the last bit, may
        // depend on how many samples there are.
        let mean = grey.mean_dim([1_i64, 2, 3].as_slice(), true, Kind::Double);
        let rest = grey * column(first + 1) + mean.to_kind(Kind::Float) * column(first + 2);
        x = (x * column(first) + rest).clamp(0.0, 1.0);
    }
    x
}

/// `f32[n, 1, s, s]`. Products and sums apart: a fused one would round as the place in the batch
/// has it.
fn grey(x: &Tensor) -> Tensor {
    let weighted = |channel, weight: f64| x.narrow(1, channel, 1) * weight;
    weighted(0, GREY[0]) + weighted(1, GREY[1]) + weighted(2, GREY[2])
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "tensors are in single precision"
)]
fn single(value: f64) -> f32 {
    value as f32
}
