//! Networks of inverted residual blocks (Sandler et al. 2018), as timm lays out and names them
//! (`timm.models.efficientnet`): what `MobileNetV2` and `EfficientNet-Lite` have in common.

use tch::Tensor;

use super::{
    Backbone,
    layers::{BatchNorm, Builder, Conv, ConvShape, Mode, Padding},
};

/// Channels after the stem.
const STEM: i64 = 32;
/// Features of an image.
pub(super) const FEATURES: i64 = 1280;

/// A row of blocks of one width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    /// Blocks.
    pub repeats: usize,
    /// Side of the depthwise kernel.
    pub kernel: i64,
    /// Stride of the first block; the others have 1.
    pub stride: i64,
    /// How many times wider the block is inside; 1: depthwise separable, not widened at all.
    pub expansion: i64,
    /// Channels that come out.
    pub channels: i64,
}

/// What tells the members of the family apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub stages: &'static [Stage],
    pub padding: Padding,
    pub batch_norm_epsilon: f64,
}

/// The network up to its pooled features, `f32[n, 3, s, s]` to `f32[n, 1280]`.
pub(super) struct InvertedResidualNetwork {
    stem: Unit,
    blocks: Vec<Block>,
    head: Unit,
}

/// A convolution and its norm, with or without the activation.
struct Unit {
    conv: Conv,
    norm: BatchNorm,
    activated: bool,
}

struct Block {
    units: Vec<Unit>,
    residual: bool,
}

impl InvertedResidualNetwork {
    pub fn new(builder: &mut Builder, plan: &Plan) -> Self {
        let stem = ConvShape {
            inputs: 3,
            outputs: STEM,
            kernel: 3,
            stride: 2,
            groups: 1,
        };
        let stem = Unit::new(builder, plan, ("conv_stem", "bn1"), stem, true);
        let (mut blocks, mut channels) = (Vec::new(), STEM);
        for (i, stage) in plan.stages.iter().enumerate() {
            for j in 0..stage.repeats {
                let stride = if j == 0 { stage.stride } else { 1 };
                let name = format!("blocks.{i}.{j}");
                blocks.push(Block::new(
                    builder,
                    plan,
                    &name,
                    channels,
                    &Stage { stride, ..*stage },
                ));
                channels = stage.channels;
            }
        }
        let head = ConvShape::pointwise(channels, FEATURES);
        let head = Unit::new(builder, plan, ("conv_head", "bn2"), head, true);
        Self { stem, blocks, head }
    }
}

impl Backbone for InvertedResidualNetwork {
    fn features(&self, x: &Tensor, mode: Mode) -> Tensor {
        let mut x = self.stem.forward(x, mode);
        for block in &self.blocks {
            x = block.forward(&x, mode);
        }
        self.head
            .forward(&x, mode)
            .adaptive_avg_pool2d([1, 1])
            .flatten(1, -1)
    }
}

impl Unit {
    fn new(
        builder: &mut Builder,
        plan: &Plan,
        (conv, norm): (&str, &str),
        shape: ConvShape,
        activated: bool,
    ) -> Self {
        let conv = Conv::new(builder, conv, shape, plan.padding);
        let norm = BatchNorm::new(builder, norm, shape.outputs, plan.batch_norm_epsilon);
        Self {
            conv,
            norm,
            activated,
        }
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let x = self.norm.forward(&self.conv.forward(x), mode);
        if self.activated { x.relu6() } else { x }
    }
}

impl Block {
    fn new(builder: &mut Builder, plan: &Plan, name: &str, inputs: i64, stage: &Stage) -> Self {
        let &Stage {
            kernel,
            stride,
            expansion,
            channels,
            ..
        } = stage;
        let wide = inputs * expansion;
        let depthwise = ("conv_dw", ConvShape::depthwise(wide, kernel, stride), true);
        let narrow = ConvShape::pointwise(wide, channels);
        let layers = if expansion == 1 {
            vec![depthwise, ("conv_pw", narrow, false)]
        } else {
            let widen = ConvShape::pointwise(inputs, wide);
            vec![
                ("conv_pw", widen, true),
                depthwise,
                ("conv_pwl", narrow, false),
            ]
        };
        let units = (1..)
            .zip(layers)
            .map(|(i, (conv, shape, activated))| {
                let names = (format!("{name}.{conv}"), format!("{name}.bn{i}"));
                Unit::new(builder, plan, (&names.0, &names.1), shape, activated)
            })
            .collect();
        Self {
            units,
            residual: stride == 1 && inputs == channels,
        }
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let mut out = x.shallow_clone();
        for unit in &self.units {
            out = unit.forward(&out, mode);
        }
        if self.residual { out + x } else { out }
    }
}
