//! `MobileNetV2` 1.0 (Sandler et al. 2018), timm's `mobilenetv2_100`.

use super::{
    inverted::{Plan, Stage},
    layers::Padding,
};

const fn stage(repeats: usize, stride: i64, expansion: i64, channels: i64) -> Stage {
    Stage {
        repeats,
        kernel: 3,
        stride,
        expansion,
        channels,
    }
}

/// Table 2 of the paper.
pub(super) const PLAN: Plan = Plan {
    stem: 32,
    stages: &[
        stage(1, 1, 1, 16),
        stage(2, 2, 6, 24),
        stage(3, 2, 6, 32),
        stage(4, 2, 6, 64),
        stage(3, 1, 6, 96),
        stage(3, 2, 6, 160),
        stage(1, 1, 6, 320),
    ],
    features: 1280,
    padding: Padding::Symmetric,
    batch_norm_epsilon: 1e-5,
};
