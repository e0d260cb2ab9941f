//! Vision transformers (Dosovitskiy et al. 2021) with a class token, as timm lays out and names
//! them (`timm.models.vision_transformer`); those of CLIP (Radford et al. 2021) have a norm before
//! the blocks.

use tch::Tensor;

use super::{
    Backbone,
    layers::{Attention, Conv, ConvShape, DropPath, LayerNorm, Mlp, Mode, Padding},
    source::Builder,
};

/// What tells the members of the family apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Side of a patch in pixels.
    pub patch: i64,
    /// Numbers of a token.
    pub width: i64,
    /// Blocks.
    pub depth: usize,
    /// Heads of an attention.
    pub heads: i64,
    /// A norm before the blocks, and then no bias of the patch embedding.
    pub pre_norm: bool,
    /// Epsilon of the layer norms.
    pub norm_epsilon: f64,
}

/// The network up to the class token's features.
pub(super) struct VisionTransformer {
    patches: Conv,
    class_token: Tensor,
    positions: Tensor,
    pre_norm: Option<LayerNorm>,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

struct Block {
    norm1: LayerNorm,
    attention: Attention,
    drop_path1: DropPath,
    norm2: LayerNorm,
    mlp: Mlp,
    drop_path2: DropPath,
}

impl Plan {
    /// Why images of `side` pixels cannot be used; none when they can.
    pub(super) fn objection(&self, side: i64) -> Option<String> {
        let patch = self.patch;
        (side < patch || side % patch != 0)
            .then(|| format!("a multiple of its patches' side, {patch} pixels, is wanted"))
    }
}

impl VisionTransformer {
    pub fn new(builder: &mut Builder, plan: &Plan, (side, drop_path): (i64, f64)) -> Self {
        let (width, epsilon) = (plan.width, plan.norm_epsilon);
        let shape = ConvShape::patches((3, width), plan.patch);
        let patches = if plan.pre_norm {
            Conv::new(builder, "patch_embed.proj", shape, Padding::None)
        } else {
            Conv::with_bias(builder, "patch_embed.proj", shape, Padding::None)
        };
        let grid = side / plan.patch;
        let positions = builder.fitted(
            "pos_embed".to_owned(),
            &[1, 1 + grid * grid, width],
            |found| resample_positions(&found, grid),
        );
        let rates = super::drop_rates(drop_path, plan.depth);
        Self {
            patches,
            class_token: builder.parameter("cls_token".to_owned(), &[1, 1, width]),
            positions,
            pre_norm: plan
                .pre_norm
                .then(|| LayerNorm::new(builder, "norm_pre", width, epsilon)),
            blocks: (0..plan.depth)
                .map(|i| Block::new(builder, plan, &format!("blocks.{i}"), rates[i]))
                .collect(),
            norm: LayerNorm::new(builder, "norm", width, epsilon),
        }
    }
}

impl Backbone for VisionTransformer {
    fn features(&self, x: &Tensor, mode: Mode) -> Tensor {
        let patches = self.patches.forward(x).flatten(2, 3).transpose(1, 2);
        let class_token = self.class_token.expand([x.size()[0], -1, -1], false);
        let mut x = Tensor::cat(&[class_token, patches], 1) + &self.positions;
        if let Some(norm) = &self.pre_norm {
            x = norm.forward(&x);
        }
        for block in &self.blocks {
            x = block.forward(x, mode);
        }
        // The norm treats tokens one by one: only the class token's is needed.
        self.norm.forward(&x.select(1, 0))
    }
}

impl Block {
    fn new(builder: &mut Builder, plan: &Plan, name: &str, drop_path: f64) -> Self {
        let &Plan {
            width,
            norm_epsilon,
            heads,
            ..
        } = plan;
        Self {
            norm1: LayerNorm::new(builder, &format!("{name}.norm1"), width, norm_epsilon),
            attention: Attention::new(builder, &format!("{name}.attn"), width, heads),
            drop_path1: builder.drop_path(drop_path),
            norm2: LayerNorm::new(builder, &format!("{name}.norm2"), width, norm_epsilon),
            mlp: Mlp::new(builder, &format!("{name}.mlp"), width),
            drop_path2: builder.drop_path(drop_path),
        }
    }

    fn forward(&self, x: Tensor, mode: Mode) -> Tensor {
        let attended = self.attention.forward(&self.norm1.forward(&x));
        let x = x + self.drop_path1.forward(attended, mode);
        let mixed = self.mlp.forward(&self.norm2.forward(&x));
        x + self.drop_path2.forward(mixed, mode)
    }
}

/// The position table `[1, 1 + old * old, width]` for a grid of `grid` patches a side: bicubic with
/// antialiasing, the class token's row as it is (timm's `resample_abs_pos_embed`). None for what is
/// no such table.
fn resample_positions(table: &Tensor, grid: i64) -> Option<Tensor> {
    let &[1, rows, width] = table.size().as_slice() else {
        return None;
    };
    let old = (rows - 1).max(1).isqrt();
    if old * old != rows - 1 {
        return None;
    }
    let class = table.narrow(1, 0, 1);
    let patches = table
        .narrow(1, 1, rows - 1)
        .reshape([1, old, old, width])
        .permute([0, 3, 1, 2]);
    let patches = patches
        .internal_upsample_bicubic2d_aa([grid, grid], false, None, None)
        .permute([0, 2, 3, 1])
        .reshape([1, grid * grid, width]);
    Some(Tensor::cat(&[class, patches], 1))
}
