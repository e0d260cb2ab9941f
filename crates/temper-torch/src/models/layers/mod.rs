//! The layers that models are made of. Each takes its values from named tensors: there are no
//! default initial values that could be wrong (tch's are: batch norm weights uniform, weights of
//! convolutions too wide).

mod attention;
mod conv;
mod drop;
mod format;
mod linear;
mod norm;

pub(super) use self::{
    attention::Attention,
    conv::{Conv, ConvShape, channels_last},
    drop::{DropPath, dropout},
    format::Format,
    linear::{Linear, Mlp},
    norm::{BatchNorm, LayerNorm},
};
pub use self::{
    conv::Padding,
    drop::{Draws, Mode},
};
