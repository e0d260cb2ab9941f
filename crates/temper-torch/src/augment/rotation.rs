//! torchvision's `RandomRotation` on tensors: about the centre, nearest pixel, black outside.

use tch::{Kind, Tensor};

/// `grid_sampler`'s names for what is used here.
const NEAREST: i64 = 1;
const ZEROS: i64 = 0;

/// Cosine and sine of the way back, for coordinates that reach from -1 to 1 over `side` pixels.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "sides are small; torchvision divides in single precision"
)]
pub(super) fn numbers(degrees: f64, side: i64) -> [f32; 2] {
    let (sin, cos) = (-degrees).to_radians().sin_cos();
    let half = 0.5 * side as f32;
    [cos as f32 / half, sin as f32 / half]
}

/// Rotates each image of `x`, `f32[n, 3, s, s]`, by its `f32[n, 1, 1, 1]` of [`numbers`].
#[expect(clippy::cast_precision_loss, reason = "sides are small")]
pub(super) fn apply(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    let side = x.size()[3];
    let centred = Tensor::arange(side, (Kind::Float, x.device())) - 0.5 * (side - 1) as f64;
    let (across, down) = (centred.reshape([1, 1, -1]), centred.reshape([1, -1, 1]));
    let (cos, sin) = (cos.squeeze_dim(3), sin.squeeze_dim(3));
    let from_x = &across * &cos + &down * &sin;
    let from_y = &down * &cos - &across * &sin;
    let grid = Tensor::stack(&[from_x, from_y], -1);
    x.grid_sampler(&grid, NEAREST, ZEROS, false)
}
