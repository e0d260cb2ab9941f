//! The number format of matrix products and convolutions.

use std::{cell::Cell, rc::Rc};

use tch::{Kind, Tensor};
use temper_core::spec::Precision;

/// The number format that a network's products are computed in; its layers share it.
#[derive(Debug, Clone)]
pub(in crate::models) struct Format(Rc<Cell<Precision>>);

impl Default for Format {
    fn default() -> Self {
        Self(Rc::new(Cell::new(Precision::Fp32)))
    }
}

impl Format {
    /// Sets it for all layers that share it.
    pub fn set(&self, precision: Precision) {
        self.0.set(precision);
    }

    /// `product` of `x`, a weight and a bias, in this format; what comes out is in single
    /// precision, and so are the gradients of all three.
    pub fn product(
        &self,
        x: &Tensor,
        (weight, bias): (&Tensor, Option<&Tensor>),
        product: impl Fn(&Tensor, &Tensor, Option<&Tensor>) -> Tensor,
    ) -> Tensor {
        match self.0.get() {
            Precision::Fp32 => product(x, weight, bias),
            Precision::Bf16 => {
                let short = |tensor: &Tensor| tensor.to_kind(Kind::BFloat16);
                let bias = bias.map(short);
                product(&short(x), &short(weight), bias.as_ref()).to_kind(Kind::Float)
            }
        }
    }
}
