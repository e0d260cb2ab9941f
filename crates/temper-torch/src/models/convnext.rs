//! `ConvNeXt` (Liu et al. 2022) as timm lays out and names it (`timm.models.convnext`); `open_clip`'s
//! image towers `convnext_base_w` are the same behind a prefix.

use tch::Tensor;

use super::{
    Backbone,
    layers::{Conv, ConvShape, DropPath, LayerNorm, Mlp, Mode, Padding, channels_last},
    source::Builder,
};

const EPSILON: f64 = 1e-6;

/// What tells the members of the family apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Blocks of each stage.
    pub depths: [usize; 4],
    /// Channels of each stage.
    pub widths: [i64; 4],
}

/// The network up to its pooled and normalised features.
pub(super) struct ConvNext {
    stem: Conv,
    stem_norm: LayerNorm,
    stages: Vec<Stage>,
    norm: LayerNorm,
}

struct Stage {
    /// Halves the side.
    downsample: Option<(LayerNorm, Conv)>,
    blocks: Vec<Block>,
}

struct Block {
    depthwise: Conv,
    norm: LayerNorm,
    mlp: Mlp,
    /// Layer scale.
    gamma: Tensor,
    drop_path: DropPath,
}

impl Plan {
    /// Features of an image.
    pub(super) fn features(&self) -> i64 {
        self.widths[3]
    }

    /// Why images of `side` pixels cannot be used; none when they can.
    pub(super) fn objection(side: i64) -> Option<String> {
        (side < 32)
            .then(|| "at least 32 pixels are wanted: it halves the side five times".to_owned())
    }
}

impl ConvNext {
    pub fn new(builder: &mut Builder, plan: &Plan, drop_path: f64) -> Self {
        let rates = super::drop_rates(drop_path, plan.depths.iter().sum());
        let mut rates = rates.into_iter();
        let mut channels = plan.widths[0];
        let shape = ConvShape::patches((3, channels), 4);
        let stem = Conv::with_bias(builder, "stem.0", shape, Padding::None);
        let stem_norm = LayerNorm::new(builder, "stem.1", channels, EPSILON);
        let mut stages = Vec::new();
        for (i, (&depth, &width)) in plan.depths.iter().zip(&plan.widths).enumerate() {
            let downsample = (i > 0).then(|| {
                let name = |part| format!("stages.{i}.downsample.{part}");
                let shape = ConvShape::patches((channels, width), 2);
                (
                    LayerNorm::new(builder, &name(0), channels, EPSILON),
                    Conv::with_bias(builder, &name(1), shape, Padding::None),
                )
            });
            let blocks = rates.by_ref().take(depth).enumerate();
            let blocks = blocks
                .map(|(j, rate)| {
                    Block::new(builder, &format!("stages.{i}.blocks.{j}"), width, rate)
                })
                .collect();
            stages.push(Stage { downsample, blocks });
            channels = width;
        }
        Self {
            stem,
            stem_norm,
            stages,
            norm: LayerNorm::new(builder, "head.norm", channels, EPSILON),
        }
    }
}

impl Backbone for ConvNext {
    fn features(&self, x: &Tensor, mode: Mode) -> Tensor {
        let x = self.stem.forward(&channels_last(x));
        let mut x = self.stem_norm.forward_channels(&x);
        for stage in &self.stages {
            if let Some((norm, conv)) = &stage.downsample {
                x = conv.forward(&norm.forward_channels(&x));
            }
            for block in &stage.blocks {
                x = block.forward(x, mode);
            }
        }
        let pooled = x.adaptive_avg_pool2d([1, 1]).flatten(1, -1);
        self.norm.forward(&pooled)
    }
}

impl Block {
    fn new(builder: &mut Builder, name: &str, width: i64, drop_path: f64) -> Self {
        let shape = ConvShape::depthwise(width, 7, 1);
        Self {
            depthwise: Conv::with_bias(
                builder,
                &format!("{name}.conv_dw"),
                shape,
                Padding::Symmetric,
            ),
            norm: LayerNorm::new(builder, &format!("{name}.norm"), width, EPSILON),
            mlp: Mlp::new(builder, &format!("{name}.mlp"), width),
            gamma: builder.parameter(format!("{name}.gamma"), &[width]),
            drop_path: builder.drop_path(drop_path),
        }
    }

    fn forward(&self, x: Tensor, mode: Mode) -> Tensor {
        let out = self.depthwise.forward(&x).permute([0, 2, 3, 1]);
        let out = self.mlp.forward(&self.norm.forward(&out)) * &self.gamma;
        x + self.drop_path.forward(out.permute([0, 3, 1, 2]), mode)
    }
}
