//! A network against what timm computes on the same weights: shared by the tests, which do it on
//! small members, and the example `parity_models`, which does it on those of full size.
//!
//! The measure is `||a - b|| / ||b||` for each tensor: output, gradient of a fixed projection of the
//! output in the pixels and in every parameter, and running statistics after a training pass.
//!
//! Some gradients are zero but for rounding: in training mode a batch norm takes away whatever a
//! bias before it adds (here the last norm's of a linear bottleneck, whose values go through 1x1
//! convolutions into batch norms alone). Where the expected gradient of a bias is below 1e-4 of
//! that of the same norm's weight, both being sums over the same values, the difference is
//! measured against the latter. Such tensors are counted.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};
use temper_torch::{
    models::{Draws, Mode, Network},
    tensors::Tensors,
};

/// What agreement means.
pub const TOLERANCE: f64 = 1e-4;
/// Share of the weight's gradient below which a bias's gradient in training mode is zero.
const ZERO: f64 = 1e-4;

/// How far a network is from what was expected of it.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// The largest relative difference of a tensor.
    pub largest: f64,
    /// The tensor.
    pub tensor: String,
    /// Tensors compared.
    pub compared: usize,
    /// Tensors whose true value is zero.
    pub zeros: usize,
}

/// What a network computes, by the names of `parity/peer.py`.
pub type Values = BTreeMap<String, Tensor>;

/// The two modes, by the names of the fixtures.
pub const MODES: [(&str, Mode<'static>); 2] = [
    ("evaluate.", Mode::Evaluate),
    (
        "train.",
        Mode::Train(Draws {
            seed: 0,
            epoch: 0,
            samples: &[],
        }),
    ),
];

/// What `network` makes of `x`; of an image tower the features, for it has no head of its own.
pub fn computed(network: &Network, x: &Tensor, mode: Mode, projection: &Tensor) -> Values {
    let x = x.copy().set_requires_grad(true);
    let heads = network.parameters().iter().filter(|p| p.is_head);
    let is_tower = heads
        .map(|p| p.tensor.size()[0])
        .all(|classes| classes != projection.size()[1]);
    let output = if is_tower {
        network.features(&x, mode)
    } else {
        network.logits(&x, mode)
    };
    let trained: Vec<_> = network
        .parameters()
        .iter()
        .filter(|parameter| parameter.trainable && !(is_tower && parameter.is_head))
        .collect();
    let mut inputs = vec![&x];
    inputs.extend(trained.iter().map(|parameter| &parameter.tensor));
    let loss = (&output * projection).sum(Kind::Float);
    let mut gradients = Tensor::run_backward(&[loss], &inputs, false, false).into_iter();
    let mut values = Values::from([("output".to_owned(), output.detach())]);
    values.extend(gradients.next().map(|g| ("input_gradient".to_owned(), g)));
    let named = trained.iter().zip(gradients);
    values.extend(named.map(|(p, g)| (format!("gradient.{}", p.name), g)));
    if matches!(mode, Mode::Train(_)) {
        let statistics = network.parameters().iter().filter(|p| !p.trainable);
        values.extend(statistics.map(|p| (format!("buffer.{}", p.name), p.tensor.copy())));
    }
    values
}

impl Report {
    /// Takes in how far `values` are from `expected`.
    pub fn add(&mut self, mode: &str, values: &Values, expected: &Tensors) {
        for name in expected.names().filter(|name| *name != "projection") {
            let (difference, is_zero) = relative_difference(name, values, expected);
            self.compared += 1;
            self.zeros += usize::from(is_zero);
            if difference >= self.largest || difference.is_nan() {
                self.largest = difference;
                self.tensor = format!("{mode}{name}");
            }
        }
    }
}

/// How far the value called `name` is from what is expected, and whether that is zero; infinite
/// where it is missing or of another shape.
pub fn relative_difference(name: &str, values: &Values, expected: &Tensors) -> (f64, bool) {
    let (Some(found), Some(wanted)) = (values.get(name), expected.get(name)) else {
        return (f64::INFINITY, false);
    };
    if found.size() != wanted.size() {
        return (f64::INFINITY, false);
    }
    let norm = |tensor: &Tensor| tensor.to_kind(Kind::Double).norm().double_value(&[]);
    let (difference, mut scale) = (norm(&(found - &wanted)), norm(&wanted));
    if difference == 0.0 {
        // Also where both are nothing, as the gradients of a window of a single token.
        return (0.0, false);
    }
    let weight = name
        .strip_suffix(".bias")
        .filter(|_| values.keys().any(|name| name.starts_with("buffer.")))
        .and_then(|layer| expected.get(&format!("{layer}.weight")));
    let zero = weight
        .map(|weight| norm(&weight))
        .filter(|weight| scale < ZERO * weight);
    scale = zero.unwrap_or(scale);
    (difference / scale, zero.is_some())
}

/// The names that `values` has and `expected` lacks.
pub fn unexpected<'a>(values: &'a Values, expected: &Tensors) -> Vec<&'a str> {
    let lacks = |name: &&str| expected.names().all(|known| known != *name);
    values.keys().map(String::as_str).filter(lacks).collect()
}
