//! A block of a Swin transformer.

use tch::{Kind, Tensor};

use super::{
    EPSILON,
    window::{Windows, resample_table},
};
use crate::models::{
    layers::{Attention, DropPath, LayerNorm, Mlp, Mode},
    source::Builder,
};

pub(super) struct Block {
    norm1: LayerNorm,
    attention: Attention,
    /// Added to the attention by difference of positions, `f32[(2w - 1)^2, heads]`.
    table: Tensor,
    windows: Windows,
    drop_path1: DropPath,
    norm2: LayerNorm,
    mlp: Mlp,
    drop_path2: DropPath,
}

impl Block {
    pub fn new(
        builder: &mut Builder,
        name: &str,
        (width, heads): (i64, i64),
        windows: Windows,
        drop_path: f64,
    ) -> Self {
        let table = builder.fitted(
            format!("{name}.attn.relative_position_bias_table"),
            &[windows.table_rows(), heads],
            |found| resample_table(&found, windows.window),
        );
        Self {
            norm1: LayerNorm::new(builder, &format!("{name}.norm1"), width, EPSILON),
            attention: Attention::new(builder, &format!("{name}.attn"), width, heads),
            table,
            windows,
            drop_path1: builder.drop_path(drop_path),
            norm2: LayerNorm::new(builder, &format!("{name}.norm2"), width, EPSILON),
            mlp: Mlp::new(builder, &format!("{name}.mlp"), width),
            drop_path2: builder.drop_path(drop_path),
        }
    }

    /// Of `[n, side, side, width]`.
    pub fn forward(&self, x: Tensor, mode: Mode) -> Tensor {
        let attended = self.attend(&self.norm1.forward(&x));
        let x = x + self.drop_path1.forward(attended, mode);
        let mixed = self.mlp.forward(&self.norm2.forward(&x));
        x + self.drop_path2.forward(mixed, mode)
    }

    fn attend(&self, x: &Tensor) -> Tensor {
        let Windows { shift, .. } = self.windows;
        let (side, axes) = (x.size()[1], [1, 2]);
        if shift == 0 {
            let attended = self.attend_within(&self.windows.partition(x));
            return self.windows.reverse(&attended, side);
        }
        let shifted = x.roll([-shift, -shift], axes);
        let attended = self.attend_within(&self.windows.partition(&shifted));
        self.windows
            .reverse(&attended, side)
            .roll([shift, shift], axes)
    }

    /// Attention within each of `[n * windows, w^2, width]`.
    fn attend_within(&self, x: &Tensor) -> Tensor {
        let [q, k, v] = self.attention.split(x);
        let size = q.size();
        let (heads, tokens) = (size[1], size[2]);
        #[expect(clippy::cast_precision_loss, reason = "a head is narrow")]
        let scale = (size[3] as f64).powf(-0.5);
        let mut attention = (q * scale).matmul(&k.transpose(-2, -1)) + self.bias(tokens);
        if let Some(mask) = &self.windows.mask {
            let windows = mask.size()[1];
            attention = (attention.reshape([-1, windows, heads, tokens, tokens]) + mask)
                .reshape([-1, heads, tokens, tokens]);
        }
        let attention = attention.softmax(-1, None::<Kind>);
        self.attention.join(&attention.matmul(&v))
    }

    /// `f32[1, heads, tokens, tokens]`.
    fn bias(&self, tokens: i64) -> Tensor {
        self.table
            .index(&[Some(&self.windows.index)])
            .reshape([tokens, tokens, -1])
            .permute([2, 0, 1])
            .unsqueeze(0)
    }
}
