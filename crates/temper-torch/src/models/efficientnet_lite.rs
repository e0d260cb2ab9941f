//! `EfficientNet-Lite` (Google 2020: `EfficientNet` without squeeze-and-excitation, with `ReLU6`),
//! timm's `tf_efficientnet_lite0`: the port of the TensorFlow weights pads and normalises as
//! TensorFlow does.

use super::{
    inverted::{Plan, Stage},
    layers::Padding,
};

const fn stage(repeats: usize, kernel: i64, stride: i64, expansion: i64, channels: i64) -> Stage {
    Stage {
        repeats,
        kernel,
        stride,
        expansion,
        channels,
    }
}

/// The widths and depths of Lite0 are the base ones (Tan and Le 2019, table 1).
pub(super) const LITE0: Plan = Plan {
    stem: 32,
    stages: &[
        stage(1, 3, 1, 1, 16),
        stage(2, 3, 2, 6, 24),
        stage(2, 5, 2, 6, 40),
        stage(3, 3, 2, 6, 80),
        stage(3, 5, 1, 6, 112),
        stage(4, 5, 2, 6, 192),
        stage(1, 3, 1, 6, 320),
    ],
    features: 1280,
    padding: Padding::TensorFlow,
    batch_norm_epsilon: 1e-3,
};
