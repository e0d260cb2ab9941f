//! Multi-head self-attention.

use tch::Tensor;

use super::Linear;
use crate::models::source::Builder;

/// Self-attention over all tokens (Vaswani et al. 2017), timm's `Attention`.
pub(in crate::models) struct Attention {
    qkv: Linear,
    projection: Linear,
    heads: i64,
}

impl Attention {
    pub fn new(builder: &mut Builder, name: &str, width: i64, heads: i64) -> Self {
        Self {
            qkv: Linear::new(builder, &format!("{name}.qkv"), width, 3 * width),
            projection: Linear::new(builder, &format!("{name}.proj"), width, width),
            heads,
        }
    }

    /// Queries, keys and values `[n, heads, tokens, width / heads]` of `[n, tokens, width]`.
    pub fn split(&self, x: &Tensor) -> [Tensor; 3] {
        let (n, tokens, width) = sizes(x);
        let mut qkv = self
            .qkv
            .forward(x)
            .reshape([n, tokens, 3, self.heads, width / self.heads])
            .permute([2, 0, 3, 1, 4])
            .unbind(0);
        let (v, k) = (qkv.swap_remove(2), qkv.swap_remove(1));
        [qkv.swap_remove(0), k, v]
    }

    /// `[n, heads, tokens, width / heads]` back to `[n, tokens, width]`.
    pub fn join(&self, x: &Tensor) -> Tensor {
        self.projection.forward(&x.transpose(1, 2).flatten(2, 3))
    }

    /// Of `[n, tokens, width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let [q, k, v] = self.split(x);
        let none = None::<&Tensor>;
        let x = Tensor::scaled_dot_product_attention(&q, &k, &v, none, 0.0, false, None, false);
        self.join(&x)
    }
}

fn sizes(x: &Tensor) -> (i64, i64, i64) {
    let size = x.size();
    (size[0], size[1], size[2])
}
