//! Normalisation layers.

use tch::Tensor;

use super::Mode;
use crate::models::source::Builder;

/// Batch norm over `[n, channels, h, w]`, with running statistics of momentum 0.1.
pub(in crate::models) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: f64,
}

/// Layer norm over the last dimension (Ba et al. 2016).
pub(in crate::models) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    width: i64,
    epsilon: f64,
}

impl BatchNorm {
    pub fn new(builder: &mut Builder, name: &str, channels: i64, epsilon: f64) -> Self {
        Self {
            weight: builder.parameter(format!("{name}.weight"), &[channels]),
            bias: builder.parameter(format!("{name}.bias"), &[channels]),
            mean: builder.buffer(format!("{name}.running_mean"), &[channels]),
            variance: builder.buffer(format!("{name}.running_var"), &[channels]),
            epsilon,
        }
    }

    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.variance),
            mode.is_train(),
            0.1,
            self.epsilon,
            true,
        )
    }
}

impl LayerNorm {
    pub fn new(builder: &mut Builder, name: &str, width: i64, epsilon: f64) -> Self {
        Self {
            weight: builder.parameter(format!("{name}.weight"), &[width]),
            bias: builder.parameter(format!("{name}.bias"), &[width]),
            width,
            epsilon,
        }
    }

    /// Of `[.., width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        x.layer_norm([self.width], weight, bias, self.epsilon, true)
    }

    /// Of the channels of `[n, width, h, w]`.
    pub fn forward_channels(&self, x: &Tensor) -> Tensor {
        self.forward(&x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
    }
}
