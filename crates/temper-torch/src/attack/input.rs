//! A batch that was looked at before an attack runs on it.

use tch::{Kind, Tensor};
use temper_core::attack::Attack;

use super::images_of_pass;
use crate::TorchError;

/// Images and their labels, which fit.
pub(super) struct Input<'a> {
    pub x: &'a Tensor,
    y: Option<&'a Tensor>,
    len: usize,
    /// The largest label.
    largest: i64,
}

impl<'a> Input<'a> {
    /// Checks that `x` is `f32[n, c, h, w]` in `[0, 1]`, and `y` labels `i64[n]` from 0 on.
    pub fn checked(x: &'a Tensor, y: Option<&'a Tensor>) -> Result<Self, TorchError> {
        let (shape, kind) = (x.size(), x.kind());
        if shape.len() != 4 || kind != Kind::Float {
            return bad(format!(
                "images must be f32[n, c, h, w], not {kind:?}{shape:?}"
            ));
        }
        let len = usize::try_from(shape[0]).unwrap_or(0);
        let mut largest = 0;
        if let Some(y) = y {
            let (labels, kind) = (y.size(), y.kind());
            if labels != shape[..1] || kind != Kind::Int64 {
                return bad(format!(
                    "labels of {len} images cannot be {kind:?}{labels:?}"
                ));
            }
        }
        if x.numel() > 0 {
            require_pixels(x)?;
            if let Some(y) = y {
                let (low, high) = y.aminmax(None, false);
                largest = high.int64_value(&[]);
                let low = low.int64_value(&[]);
                if low < 0 {
                    return bad(format!("label {low} is no class"));
                }
            }
        }
        Ok(Self { x, y, len, largest })
    }

    /// Images.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many of them are shown to the model at once.
    pub fn images_of_pass(&self) -> usize {
        let sides = &self.x.size()[2..];
        let longest = sides.iter().copied().max().unwrap_or(0);
        images_of_pass(u32::try_from(longest).unwrap_or(u32::MAX))
    }

    /// Whether there is nothing to attack.
    pub fn is_empty(&self) -> bool {
        self.x.numel() == 0
    }

    /// The labels; an empty tensor where there are none.
    pub fn y(&self) -> &Tensor {
        self.y.unwrap_or(self.x)
    }

    /// Whether the model's outputs for `images` of the batch have the right shape, and enough
    /// classes.
    pub fn check_logits(
        &self,
        logits: &Tensor,
        images: usize,
        attack: &Attack,
    ) -> Result<(), TorchError> {
        let shape = logits.size();
        let &[count, classes] = shape.as_slice() else {
            return bad(format!("logits must be [n, classes], not {shape:?}"));
        };
        if usize::try_from(count) != Ok(images) {
            return bad(format!("{count} logits for {images} images"));
        }
        if classes < i64::from(attack.classes()) {
            let needed = attack.classes();
            return bad(format!(
                "{attack} needs {needed} classes, the model has {classes}"
            ));
        }
        if self.largest >= classes {
            return bad(format!(
                "label {} is not one of {classes} classes",
                self.largest
            ));
        }
        Ok(())
    }
}

fn require_pixels(x: &Tensor) -> Result<(), TorchError> {
    let (low, high) = x.aminmax(None, false);
    let (low, high) = (low.double_value(&[]), high.double_value(&[]));
    if low >= 0.0 && high <= 1.0 {
        return Ok(());
    }
    bad(format!(
        "pixels must lie in [0, 1], these in [{low}, {high}]"
    ))
}

pub(super) fn bad<T>(text: String) -> Result<T, TorchError> {
    Err(TorchError::BadInput(text))
}
