//! Swin transformers (Liu et al. 2021): attention within windows, which every other block shifts;
//! as timm lays out and names them (`timm.models.swin_transformer`).

mod block;
mod window;

use tch::{Kind, Tensor};

use self::{block::Block, window::Windows};
use super::{
    Backbone,
    layers::{Conv, ConvShape, LayerNorm, Linear, Mode, Padding},
    source::Builder,
};

const EPSILON: f64 = 1e-5;
/// Side of a patch in pixels.
const PATCH: i64 = 4;

/// What tells the members of the family apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Numbers of a token in the first stage; each further stage doubles them.
    pub width: i64,
    /// Blocks of each stage.
    pub depths: [usize; 4],
    /// Heads of an attention in each stage.
    pub heads: [i64; 4],
    /// Side of a window in tokens; a stage with fewer tokens a side has one window of its own side.
    pub window: i64,
}

/// The network up to its pooled features.
pub(super) struct Swin {
    patches: Conv,
    patch_norm: LayerNorm,
    stages: Vec<Stage>,
    norm: LayerNorm,
}

struct Stage {
    merging: Option<Merging>,
    blocks: Vec<Block>,
}

/// Four neighbouring tokens made one of twice the width.
struct Merging {
    norm: LayerNorm,
    reduction: Linear,
}

impl Plan {
    /// Features of an image.
    pub(super) fn features(&self) -> i64 {
        8 * self.width
    }

    /// Why images of `side` pixels cannot be used; none when they can.
    pub(super) fn objection(side: i64) -> Option<String> {
        (side < PATCH || side % PATCH != 0)
            .then(|| format!("a multiple of its patches' side, {PATCH} pixels, is wanted"))
    }
}

impl Swin {
    pub fn new(builder: &mut Builder, plan: &Plan, (side, drop_path): (i64, f64)) -> Self {
        let shape = ConvShape::patches((3, plan.width), PATCH);
        let patches = Conv::with_bias(builder, "patch_embed.proj", shape, Padding::None);
        let patch_norm = LayerNorm::new(builder, "patch_embed.norm", plan.width, EPSILON);
        let rates = super::drop_rates(drop_path, plan.depths.iter().sum());
        let mut rates = rates.into_iter();
        let (mut side, mut width) = (side / PATCH, plan.width);
        let mut stages = Vec::new();
        for (i, (&depth, &heads)) in plan.depths.iter().zip(&plan.heads).enumerate() {
            let name = format!("layers.{i}");
            let merging = (i > 0).then(|| Merging::new(builder, &name, width));
            if i > 0 {
                (side, width) = ((side + 1) / 2, 2 * width);
            }
            let windows = Windows::pair(side, plan.window, builder.device());
            let blocks = rates.by_ref().take(depth).enumerate();
            let blocks = blocks.map(|(j, rate)| {
                let windows = windows[j % 2].share();
                let name = format!("{name}.blocks.{j}");
                Block::new(builder, &name, (width, heads), windows, rate)
            });
            let blocks = blocks.collect();
            stages.push(Stage { merging, blocks });
        }
        Self {
            patches,
            patch_norm,
            stages,
            norm: LayerNorm::new(builder, "norm", width, EPSILON),
        }
    }
}

impl Backbone for Swin {
    fn features(&self, x: &Tensor, mode: Mode) -> Tensor {
        let x = self.patches.forward(x).permute([0, 2, 3, 1]);
        let mut x = self.patch_norm.forward(&x);
        for stage in &self.stages {
            if let Some(merging) = &stage.merging {
                x = merging.forward(&x);
            }
            for block in &stage.blocks {
                x = block.forward(x, mode);
            }
        }
        let axes: &[i64] = &[1, 2];
        self.norm.forward(&x).mean_dim(axes, false, None::<Kind>)
    }
}

impl Merging {
    fn new(builder: &mut Builder, name: &str, width: i64) -> Self {
        let name = format!("{name}.downsample");
        Self {
            norm: LayerNorm::new(builder, &format!("{name}.norm"), 4 * width, EPSILON),
            reduction: Linear::without_bias(
                builder,
                &format!("{name}.reduction"),
                4 * width,
                2 * width,
            ),
        }
    }

    /// `[n, s, s, c]` to `[n, s / 2, s / 2, 2c]`, an odd side padded with zeros.
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = window::pad_to_multiple(x, 2);
        let size = x.size();
        let x = x
            .reshape([size[0], size[1] / 2, 2, size[2] / 2, 2, size[3]])
            .permute([0, 1, 3, 4, 2, 5])
            .flatten(3, -1);
        self.reduction.forward(&self.norm.forward(&x))
    }
}
