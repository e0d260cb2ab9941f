//! The windows of a stage, and what follows from their side: made once, at load.

use tch::Tensor;

use crate::engine::Device;

/// Added to the attention of tokens that are neighbours only by the cyclic shift.
const APART: f32 = -100.0;

/// How a block cuts its stage's `side * side` tokens into windows.
pub(super) struct Windows {
    /// Tokens a side of a window.
    pub window: i64,
    /// Tokens by which the windows are moved; 0 in every other block, and where one window is all.
    pub shift: i64,
    /// Row of the relative position table for each pair of a window's tokens, `i64[w^4]`.
    pub index: Tensor,
    /// `f32[1, windows, 1, w^2, w^2]`, where windows are moved.
    pub mask: Option<Tensor>,
}

impl Windows {
    /// Those at rest and those moved, for `side` tokens a side and windows of at most `window`.
    pub fn pair(side: i64, window: i64, device: Device) -> [Self; 2] {
        let (window, shift) = if side <= window {
            (side, 0)
        } else {
            (window, window / 2)
        };
        let index = position_index(window).to_device(device.tch());
        let of = |shift, mask| Self {
            window,
            shift,
            index: index.shallow_clone(),
            mask,
        };
        let moved = (shift > 0).then(|| mask(side, window, shift).to_device(device.tch()));
        [of(0, None), of(shift, moved)]
    }

    /// The same windows over the same tables.
    pub fn share(&self) -> Self {
        Self {
            index: self.index.shallow_clone(),
            mask: self.mask.as_ref().map(Tensor::shallow_clone),
            ..*self
        }
    }

    /// Rows of a table that has one for every difference of positions within a window.
    pub fn table_rows(&self) -> i64 {
        (2 * self.window - 1).pow(2)
    }

    /// `[n, s, s, c]`, padded with zeros to whole windows, to `[n * windows, w^2, c]`.
    pub fn partition(&self, x: &Tensor) -> Tensor {
        let (x, w) = (pad_to_multiple(x, self.window), self.window);
        let size = x.size();
        x.reshape([size[0], size[1] / w, w, size[2] / w, w, size[3]])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([-1, w * w, size[3]])
    }

    /// The inverse, without what was padded: back to `[n, side, side, c]`.
    pub fn reverse(&self, x: &Tensor, side: i64) -> Tensor {
        let (w, channels) = (self.window, x.size()[2]);
        let across = (side + w - 1) / w;
        x.reshape([-1, across, across, w, w, channels])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([-1, across * w, across * w, channels])
            .narrow(1, 0, side)
            .narrow(2, 0, side)
    }
}

/// `[n, h, w, c]` with zeros at the bottom and right, to sides that `of` divides.
pub(super) fn pad_to_multiple(x: &Tensor, of: i64) -> Tensor {
    let size = x.size();
    let lacking = |side: i64| (of - side % of) % of;
    let (height, width) = (lacking(size[1]), lacking(size[2]));
    if height == 0 && width == 0 {
        return x.shallow_clone();
    }
    x.constant_pad_nd([0, 0, 0, width, 0, height])
}

/// For each pair of a window's tokens the row `(dy + w - 1) * (2w - 1) + dx + w - 1`.
fn position_index(w: i64) -> Tensor {
    let mut rows = Vec::new();
    for a in 0..w * w {
        for b in 0..w * w {
            let (dy, dx) = (a / w - b / w + w - 1, a % w - b % w + w - 1);
            rows.push(dy * (2 * w - 1) + dx);
        }
    }
    Tensor::from_slice(&rows)
}

/// After the shift the last rows and columns come from the other edge: tokens attend only to those
/// that came along with them.
fn mask(side: i64, w: i64, shift: i64) -> Tensor {
    let across = (side + w - 1) / w;
    let padded = across * w;
    let band = |at: i64| i64::from(at >= padded - w) + i64::from(at >= padded - shift);
    let mut values = Vec::new();
    for window in 0..across * across {
        let (top, left) = (window / across * w, window % across * w);
        let region = |token: i64| (band(top + token / w), band(left + token % w));
        for a in 0..w * w {
            let apart = (0..w * w).map(|b| region(a) != region(b));
            values.extend(apart.map(|apart| if apart { APART } else { 0.0 }));
        }
    }
    Tensor::from_slice(&values).reshape([1, across * across, 1, w * w, w * w])
}

/// A relative position table `f32[rows, heads]` for windows of another side: linear between places
/// that spread geometrically from the middle, timm's `resize_rel_pos_bias_table` (there after
/// `BEiT`). None for what is no such table.
pub(super) fn resample_table(table: &Tensor, window: i64) -> Option<Tensor> {
    let &[rows, heads] = table.size().as_slice() else {
        return None;
    };
    let (old, new) = (rows.isqrt(), 2 * window - 1);
    if old * old != rows || old % 2 == 0 {
        return None;
    }
    let weights = interpolation(old, new);
    let table = table.reshape([old, old * heads]);
    let by_rows = weights.matmul(&table).reshape([new, old, heads]);
    Some(weights.matmul(&by_rows).reshape([new * new, heads]))
}

/// The matrix `f32[new, old]` of linear interpolation along one axis; what lies beyond the last
/// place gets that one's value.
fn interpolation(old: i64, new: i64) -> Tensor {
    let places = places(old, new);
    let mut weights = vec![0.0_f32; places.len() * usize::try_from(new).unwrap_or(0)];
    for (row, wanted) in weights.chunks_mut(places.len()).zip(-(new / 2)..) {
        #[expect(clippy::cast_precision_loss, reason = "a few tokens")]
        let wanted = wanted as f32;
        let right = places
            .partition_point(|&place| place < wanted)
            .min(places.len() - 1);
        let left = right.saturating_sub(1);
        let gap = places[right] - places[left];
        let share = if gap > 0.0 {
            ((wanted - places[left]) / gap).clamp(0.0, 1.0)
        } else {
            1.0
        };
        row[left] = 1.0 - share;
        row[right] = share;
    }
    Tensor::from_slice(&weights).reshape([new, old])
}

/// Where `old` entries lie: steps `1, q, q^2, ..` outward from 0, with the q between 1.01 and 1.5
/// that lets them reach half of `new`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a few tokens, in single precision as timm has them"
)]
fn places(old: i64, new: i64) -> Vec<f32> {
    let half = i32::try_from(old / 2).unwrap_or(0);
    let (mut left, mut right, mut q) = (1.01_f64, 1.5_f64, 1.255_f64);
    while right - left > 1e-6 {
        q = f64::midpoint(left, right);
        let reach = (1.0 - q.powi(half)) / (1.0 - q);
        if reach > (new / 2) as f64 {
            right = q;
        } else {
            left = q;
        }
    }
    let mut outward = Vec::new();
    let mut place = 1.0;
    for i in 1..=half {
        outward.push(place as f32);
        place += q.powi(i);
    }
    let inward = outward.iter().rev().map(|place| -place);
    inward.chain([0.0]).chain(outward.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn windows_cut_and_joined_give_the_tokens_back() {
        for (side, window) in [(8, 4), (10, 4), (3, 4), (7, 7)] {
            let x = Tensor::randn([2, side, side, 3], (Kind::Float, tch::Device::Cpu));
            let [windows, _] = Windows::pair(side, window, Device::CPU);
            let cut = windows.partition(&x);
            assert_eq!(windows.reverse(&cut, side), x, "{side} {window}");
        }
    }

    #[test]
    fn a_stage_that_fits_one_window_is_never_shifted() {
        let [_, windows] = Windows::pair(5, 7, Device::CPU);
        assert_eq!((windows.window, windows.shift), (5, 0));
        assert!(windows.mask.is_none());
        assert_eq!(windows.table_rows(), 81);
    }

    #[test]
    fn a_table_of_equal_rows_stays_so_when_resampled() {
        let table = Tensor::full([169, 2], 3.0, (Kind::Float, tch::Device::Cpu));
        let resampled = resample_table(&table, 5).unwrap();
        assert_eq!(resampled.size(), [81, 2]);
        let difference = (resampled - 3.0).abs().max().double_value(&[]);
        assert!(difference < 1e-6, "{difference}");
        assert!(resample_table(&table.narrow(0, 0, 168), 5).is_none());
    }
}
