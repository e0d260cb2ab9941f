//! Linear layers.

use tch::Tensor;

use super::Format;
use crate::models::source::Builder;

/// A linear layer, `[.., inputs]` to `[.., outputs]`.
pub(in crate::models) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    format: Format,
}

/// Two linear layers with an exact GELU (Hendrycks and Gimpel 2016) between them, timm's `Mlp`.
pub(in crate::models) struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Linear {
    pub fn new(builder: &mut Builder, name: &str, inputs: i64, outputs: i64) -> Self {
        let bias = builder.parameter(format!("{name}.bias"), &[outputs]);
        Self {
            bias: Some(bias),
            ..Self::without_bias(builder, name, inputs, outputs)
        }
    }

    pub fn without_bias(builder: &mut Builder, name: &str, inputs: i64, outputs: i64) -> Self {
        Self {
            weight: builder.parameter(format!("{name}.weight"), &[outputs, inputs]),
            bias: None,
            format: builder.format(),
        }
    }

    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method itself takes a bias of one lifetime alone"
    )]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let values = (&self.weight, self.bias.as_ref());
        self.format
            .product(x, values, |x, weight, bias| x.linear(weight, bias))
    }
}

impl Mlp {
    /// Four times as wide inside as outside.
    pub fn new(builder: &mut Builder, name: &str, width: i64) -> Self {
        Self {
            fc1: Linear::new(builder, &format!("{name}.fc1"), width, 4 * width),
            fc2: Linear::new(builder, &format!("{name}.fc2"), 4 * width, width),
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.fc2.forward(&self.fc1.forward(x).gelu("none"))
    }
}
