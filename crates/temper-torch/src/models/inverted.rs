//! Networks of inverted residual blocks (Sandler et al. 2018), as timm lays out and names them
//! (`timm.models.efficientnet`): what `MobileNetV2` and `EfficientNet-Lite` have in common.

use tch::Tensor;

use super::{
    Backbone,
    layers::{BatchNorm, Conv, ConvShape, DropPath, Mode, Padding, channels_last},
    source::Builder,
};

/// A row of blocks of one width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Channels after the stem.
    pub stem: i64,
    /// The rows of blocks.
    pub stages: &'static [Stage],
    /// Features of an image.
    pub features: i64,
    /// How convolutions of stride 2 pad.
    pub padding: Padding,
    /// Epsilon of the batch norms.
    pub batch_norm_epsilon: f64,
}

/// The network up to its pooled features, `f32[n, 3, s, s]` to `f32[n, features]`.
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
    /// Stochastic depth, where there is a way around the block.
    residual: Option<DropPath>,
}

impl InvertedResidualNetwork {
    pub fn new(builder: &mut Builder, plan: &Plan, drop_path: f64) -> Self {
        let stem = ConvShape::dense((3, plan.stem), 3, 2);
        let stem = Unit::new(builder, plan, ("conv_stem", "bn1"), stem, true);
        let mut rates = drop_rates(drop_path, plan).into_iter();
        let (mut blocks, mut channels) = (Vec::new(), plan.stem);
        for (i, stage) in plan.stages.iter().enumerate() {
            for (j, rate) in rates.by_ref().take(stage.repeats).enumerate() {
                let stride = if j == 0 { stage.stride } else { 1 };
                let name = format!("blocks.{i}.{j}");
                let stage = Stage { stride, ..*stage };
                let mut block = Block::new(builder, plan, &name, channels, &stage);
                if stride == 1 && channels == stage.channels {
                    block.residual = Some(builder.drop_path(rate));
                }
                blocks.push(block);
                channels = stage.channels;
            }
        }
        let head = ConvShape::pointwise(channels, plan.features);
        let head = Unit::new(builder, plan, ("conv_head", "bn2"), head, true);
        Self { stem, blocks, head }
    }
}

/// This family's rule: block i of n has i / n of the rate, so that none has all of it.
#[expect(clippy::cast_precision_loss, reason = "counts of blocks")]
fn drop_rates(rate: f64, plan: &Plan) -> Vec<f64> {
    let blocks: usize = plan.stages.iter().map(|stage| stage.repeats).sum();
    (0..blocks)
        .map(|i| rate * i as f64 / blocks as f64)
        .collect()
}

impl Backbone for InvertedResidualNetwork {
    fn features(&self, x: &Tensor, mode: Mode) -> Tensor {
        let mut x = self.stem.forward(&channels_last(x), mode);
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
            residual: None,
        }
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let mut out = x.shallow_clone();
        for unit in &self.units {
            out = unit.forward(&out, mode);
        }
        match &self.residual {
            Some(drop_path) => drop_path.forward(out, mode) + x,
            None => out,
        }
    }
}
