//! The layers that models are made of. Each takes its values from named tensors: there are no
//! default initial values that could be wrong (tch's are: batch norm weights uniform, weights of
//! convolutions too wide).

use tch::Tensor;

use crate::{TorchError, engine::Device, tensors::Tensors};

/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch norm uses the batch's statistics and updates its running ones.
    Train,
    /// Batch norm uses its running statistics: samples do not see each other.
    Evaluate,
}

/// Takes tensors by name out of a source and remembers them, so that a model knows its parameters
/// and a file that lacks some is refused with all of their names at once.
pub(super) struct Builder<'a> {
    source: &'a Tensors,
    device: Device,
    taken: Vec<Parameter>,
    missing: Vec<String>,
    misshapen: Option<TorchError>,
}

/// A named tensor of a model.
pub struct Parameter {
    /// The name, as in timm.
    pub name: String,
    /// The values; the model's layers share them.
    pub tensor: Tensor,
    /// Whether an optimiser changes it; running statistics change by forward passes alone.
    pub trainable: bool,
}

impl<'a> Builder<'a> {
    pub fn new(source: &'a Tensors, device: Device) -> Self {
        Self {
            source,
            device,
            taken: Vec::new(),
            missing: Vec::new(),
            misshapen: None,
        }
    }

    /// A tensor that is trained.
    pub fn parameter(&mut self, name: String, shape: &[i64]) -> Tensor {
        self.take(name, shape, true)
    }

    /// A tensor that is not.
    pub fn buffer(&mut self, name: String, shape: &[i64]) -> Tensor {
        self.take(name, shape, false)
    }

    /// All that was taken.
    pub fn finish(self) -> Result<Vec<Parameter>, TorchError> {
        if !self.missing.is_empty() {
            let file = self.source.origin().to_owned();
            return Err(TorchError::MissingTensors {
                file,
                names: self.missing,
            });
        }
        match self.misshapen {
            Some(error) => Err(error),
            None => Ok(self.taken),
        }
    }

    /// Where the source lacks the tensor, an empty one stands in for it until `finish` refuses.
    fn take(&mut self, name: String, shape: &[i64], trainable: bool) -> Tensor {
        let Some(found) = self.source.get(&name) else {
            self.missing.push(name);
            return Tensor::new();
        };
        if found.size() != shape {
            self.misshapen.get_or_insert_with(|| TorchError::Shape {
                file: self.source.origin().to_owned(),
                name,
                found: found.size(),
                wanted: shape.to_vec(),
            });
            return Tensor::new();
        }
        let tensor = found
            .to_device(self.device.tch())
            .copy()
            .set_requires_grad(trainable);
        self.taken.push(Parameter {
            name,
            tensor: tensor.shallow_clone(),
            trainable,
        });
        tensor
    }
}

/// How a convolution pads its input with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// `(kernel - 1) / 2` on every side.
    Symmetric,
    /// As TensorFlow's "SAME": so that the output has `ceil(input / stride)` pixels a side, with
    /// the odd pixel at the bottom and right.
    TensorFlow,
}

/// The shape of a square convolution without bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvShape {
    pub inputs: i64,
    pub outputs: i64,
    pub kernel: i64,
    pub stride: i64,
    pub groups: i64,
}

impl ConvShape {
    /// A 1x1 convolution.
    pub fn pointwise(inputs: i64, outputs: i64) -> Self {
        Self {
            inputs,
            outputs,
            kernel: 1,
            stride: 1,
            groups: 1,
        }
    }

    /// One filter a channel.
    pub fn depthwise(channels: i64, kernel: i64, stride: i64) -> Self {
        Self {
            inputs: channels,
            outputs: channels,
            kernel,
            stride,
            groups: channels,
        }
    }
}

/// A square convolution without bias, `[n, inputs, h, w]` to `[n, outputs, h', w']`.
pub(super) struct Conv {
    weight: Tensor,
    shape: ConvShape,
    padding: Padding,
}

impl Conv {
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
            shape,
            padding,
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let ConvShape {
            kernel,
            stride,
            groups,
            ..
        } = self.shape;
        // At stride 1 an odd kernel is padded alike on both sides under either rule.
        let (x, padding) = if self.padding == Padding::TensorFlow && stride > 1 {
            (pad_as_tensorflow(x, kernel, stride), 0)
        } else {
            (x.shallow_clone(), (kernel - 1) / 2)
        };
        x.conv2d(
            &self.weight,
            None::<&Tensor>,
            [stride; 2],
            [padding; 2],
            [1, 1],
            groups,
        )
    }
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

/// Batch norm over `[n, channels, h, w]`, with running statistics of momentum 0.1.
pub(super) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
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
            mode == Mode::Train,
            0.1,
            self.epsilon,
            true,
        )
    }
}

/// A linear layer with bias, `[n, inputs]` to `[n, outputs]`.
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub fn new(builder: &mut Builder, name: &str, inputs: i64, outputs: i64) -> Self {
        Self {
            weight: builder.parameter(format!("{name}.weight"), &[outputs, inputs]),
            bias: builder.parameter(format!("{name}.bias"), &[outputs]),
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}
