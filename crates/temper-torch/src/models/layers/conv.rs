//! Convolutions.

use tch::Tensor;

use super::Format;
use crate::models::source::Builder;

/// How a convolution pads its input with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// `(kernel - 1) / 2` on every side.
    Symmetric,
    /// As TensorFlow's "SAME": so that the output has `ceil(input / stride)` pixels a side, with
    /// the odd pixel at the bottom and right.
    TensorFlow,
    /// Not at all.
    None,
}

/// The shape of a square convolution.
#[derive(Debug, Clone, Copy)]
pub(in crate::models) struct ConvShape {
    pub inputs: i64,
    pub outputs: i64,
    pub kernel: i64,
    pub stride: i64,
    pub groups: i64,
}

impl ConvShape {
    /// Every input channel goes into every output channel.
    pub fn dense((inputs, outputs): (i64, i64), kernel: i64, stride: i64) -> Self {
        Self {
            inputs,
            outputs,
            kernel,
            stride,
            groups: 1,
        }
    }

    /// A 1x1 convolution.
    pub fn pointwise(inputs: i64, outputs: i64) -> Self {
        Self::dense((inputs, outputs), 1, 1)
    }

    /// One filter a channel.
    pub fn depthwise(channels: i64, kernel: i64, stride: i64) -> Self {
        Self {
            groups: channels,
            ..Self::dense((channels, channels), kernel, stride)
        }
    }

    /// Squares of `side` pixels that do not overlap, each made one pixel.
    pub fn patches((inputs, outputs): (i64, i64), side: i64) -> Self {
        Self::dense((inputs, outputs), side, side)
    }
}

/// A square convolution, `[n, inputs, h, w]` to `[n, outputs, h', w']`.
pub(in crate::models) struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    shape: ConvShape,
    padding: Padding,
    format: Format,
}

impl Conv {
    /// Without bias.
    pub fn new(builder: &mut Builder, name: &str, shape: ConvShape, padding: Padding) -> Self {
        let ConvShape {
            inputs,
            outputs,
            kernel,
            groups,
            ..
        } = shape;
        let weight = builder.parameter(
            format!("{name}.weight"),
            &[outputs, inputs / groups, kernel, kernel],
        );
        Self {
            weight,
            bias: None,
            shape,
            padding,
            format: builder.format(),
        }
    }

    pub fn with_bias(
        builder: &mut Builder,
        name: &str,
        shape: ConvShape,
        padding: Padding,
    ) -> Self {
        let bias = builder.parameter(format!("{name}.bias"), &[shape.outputs]);
        Self {
            bias: Some(bias),
            ..Self::new(builder, name, shape, padding)
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let ConvShape {
            kernel,
            stride,
            groups,
            ..
        } = self.shape;
        let symmetric = (kernel - 1) / 2;
        let (x, padding) = match self.padding {
            Padding::None => (x.shallow_clone(), 0),
            // At stride 1 an odd kernel is padded alike on both sides under either rule.
            Padding::TensorFlow if stride > 1 => (pad_as_tensorflow(x, kernel, stride), 0),
            Padding::TensorFlow | Padding::Symmetric => (x.shallow_clone(), symmetric),
        };
        let values = (&self.weight, self.bias.as_ref());
        self.format.product(&x, values, |x, weight, bias| {
            x.conv2d(weight, bias, [stride; 2], [padding; 2], [1, 1], groups)
        })
    }
}

/// The same images with a pixel's channels beside each other in memory, on the processor: every
/// layer keeps that order. Networks of depthwise convolutions step faster in it (`MobileNetV2` 1.3
/// times, `ConvNeXt` 1.05 times); dense ones do not (`ResNet` 0.87 times), and on few channels
/// libtorch 2.13.0 then writes beyond its memory.
pub(in crate::models) fn channels_last(x: &Tensor) -> Tensor {
    if x.device() != tch::Device::Cpu {
        return x.shallow_clone();
    }
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

fn pad_as_tensorflow(x: &Tensor, kernel: i64, stride: i64) -> Tensor {
    let size = x.size();
    let total = |side: i64| ((side + stride - 1) / stride - 1) * stride + kernel - side;
    let (height, width) = (total(size[2]).max(0), total(size[3]).max(0));
    x.constant_pad_nd([
        width / 2,
        width - width / 2,
        height / 2,
        height - height / 2,
    ])
}
