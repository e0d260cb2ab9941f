//! Residual networks (He et al. 2016), with the stride of a bottleneck in its 3x3 convolution, as
//! timm lays out and names them (`timm.models.resnet`).

use tch::Tensor;

use super::{
    Backbone,
    layers::{BatchNorm, Conv, ConvShape, DropPath, Mode, Padding},
    source::Builder,
};

/// Channels after the stem.
const STEM: i64 = 64;
const EPSILON: f64 = 1e-5;

/// What tells the members of the family apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Blocks of each stage.
    pub depths: [usize; 4],
    /// Channels within the blocks of each stage.
    pub widths: [i64; 4],
    /// Blocks of a 1x1, a 3x3 and a widening 1x1 convolution, instead of two 3x3.
    pub bottleneck: bool,
}

/// The network up to its pooled features.
pub(super) struct ResNet {
    stem: Unit,
    blocks: Vec<Block>,
}

/// A convolution without bias and its norm.
struct Unit {
    conv: Conv,
    norm: BatchNorm,
}

struct Block {
    units: Vec<Unit>,
    shortcut: Option<Unit>,
    drop_path: DropPath,
}

impl Plan {
    /// Features of an image.
    pub(super) fn features(&self) -> i64 {
        self.widths[3] * self.expansion()
    }

    fn expansion(&self) -> i64 {
        if self.bottleneck { 4 } else { 1 }
    }

    /// The convolutions of a block, in their order, from `inputs` channels.
    fn convolutions(&self, inputs: i64, width: i64, stride: i64) -> Vec<ConvShape> {
        if self.bottleneck {
            vec![
                ConvShape::pointwise(inputs, width),
                ConvShape::dense((width, width), 3, stride),
                ConvShape::pointwise(width, 4 * width),
            ]
        } else {
            vec![
                ConvShape::dense((inputs, width), 3, stride),
                ConvShape::dense((width, width), 3, 1),
            ]
        }
    }
}

impl ResNet {
    pub fn new(builder: &mut Builder, plan: &Plan, drop_path: f64) -> Self {
        let stem = Unit::new(builder, ("conv1", "bn1"), ConvShape::dense((3, STEM), 7, 2));
        let rates = super::drop_rates(drop_path, plan.depths.iter().sum());
        let (mut blocks, mut channels) = (Vec::new(), STEM);
        for (i, (&depth, &width)) in (1..).zip(plan.depths.iter().zip(&plan.widths)) {
            for j in 0..depth {
                let stride = if i > 1 && j == 0 { 2 } else { 1 };
                let drop_path = builder.drop_path(rates[blocks.len()]);
                let name = format!("layer{i}.{j}");
                let outputs = width * plan.expansion();
                let units = (1..).zip(plan.convolutions(channels, width, stride));
                let units = units.map(|(k, shape)| {
                    let names = (format!("{name}.conv{k}"), format!("{name}.bn{k}"));
                    Unit::new(builder, (&names.0, &names.1), shape)
                });
                let units = units.collect();
                let shortcut = (stride > 1 || channels != outputs).then(|| {
                    let shape = ConvShape::dense((channels, outputs), 1, stride);
                    let name = format!("{name}.downsample");
                    Unit::new(builder, (&format!("{name}.0"), &format!("{name}.1")), shape)
                });
                blocks.push(Block {
                    units,
                    shortcut,
                    drop_path,
                });
                channels = outputs;
            }
        }
        Self { stem, blocks }
    }
}

impl Backbone for ResNet {
    fn features(&self, x: &Tensor, mode: Mode) -> Tensor {
        let mut x =
            self.stem
                .forward(x, mode)
                .relu()
                .max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        for block in &self.blocks {
            x = block.forward(&x, mode);
        }
        x.adaptive_avg_pool2d([1, 1]).flatten(1, -1)
    }
}

impl Unit {
    fn new(builder: &mut Builder, (conv, norm): (&str, &str), shape: ConvShape) -> Self {
        Self {
            conv: Conv::new(builder, conv, shape, Padding::Symmetric),
            norm: BatchNorm::new(builder, norm, shape.outputs, EPSILON),
        }
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.norm.forward(&self.conv.forward(x), mode)
    }
}

impl Block {
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let mut out = x.shallow_clone();
        for (i, unit) in self.units.iter().enumerate() {
            out = unit.forward(&if i == 0 { out } else { out.relu() }, mode);
        }
        let out = self.drop_path.forward(out, mode);
        let shortcut = self.shortcut.as_ref().map(|unit| unit.forward(x, mode));
        (out + shortcut.as_ref().unwrap_or(x)).relu()
    }
}
