//! The families and their members by timm's names.

use super::{
    Architecture, Backbone, convnext, efficientnet_lite, inverted, mobilenetv2, resnet,
    source::Builder, swin, vit,
};
use crate::TorchError;

/// The architectures that can be built, by their timm names.
pub const ARCHITECTURES: [&str; 16] = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "vit_base_patch16_clip_224",
    "swin_tiny_patch4_window7_224",
    "swin_small_patch4_window7_224",
    "swin_base_patch4_window7_224",
    "convnext_tiny",
    "convnext_small",
    "convnext_base",
    "mobilenetv2_100",
    "tf_efficientnet_lite0",
];

/// A family, and the measures of a member.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Residual networks.
    ResNet(resnet::Plan),
    /// Vision transformers.
    Vit(vit::Plan),
    /// Swin transformers.
    Swin(swin::Plan),
    /// `ConvNeXt`.
    ConvNext(convnext::Plan),
    /// `MobileNetV2` and `EfficientNet-Lite`.
    Inverted(inverted::Plan),
}

impl Plan {
    /// The member of that timm name.
    ///
    /// # Errors
    /// [`TorchError::UnknownArchitecture`].
    pub fn named(name: &str) -> Result<Self, TorchError> {
        Ok(match name {
            "resnet18" => resnet([2, 2, 2, 2], false),
            "resnet34" => resnet([3, 4, 6, 3], false),
            "resnet50" => resnet([3, 4, 6, 3], true),
            "resnet101" => resnet([3, 4, 23, 3], true),
            "vit_tiny_patch16_224" => vit(192, 3, false),
            "vit_small_patch16_224" => vit(384, 6, false),
            "vit_base_patch16_224" => vit(768, 12, false),
            "vit_base_patch16_clip_224" => vit(768, 12, true),
            "swin_tiny_patch4_window7_224" => swin(96, 6, [3, 6, 12, 24]),
            "swin_small_patch4_window7_224" => swin(96, 18, [3, 6, 12, 24]),
            "swin_base_patch4_window7_224" => swin(128, 18, [4, 8, 16, 32]),
            "convnext_tiny" => convnext(9, 96),
            "convnext_small" => convnext(27, 96),
            "convnext_base" => convnext(27, 128),
            "mobilenetv2_100" => Self::Inverted(mobilenetv2::PLAN),
            "tf_efficientnet_lite0" => Self::Inverted(efficientnet_lite::LITE0),
            name => {
                let (name, known) = (name.to_owned(), ARCHITECTURES.join(", "));
                return Err(TorchError::UnknownArchitecture { name, known });
            }
        })
    }

    /// Name of the classification head, as in timm.
    #[must_use]
    pub fn head(&self) -> &'static str {
        match self {
            Self::ResNet(_) => "fc",
            Self::Vit(_) => "head",
            Self::Swin(_) | Self::ConvNext(_) => "head.fc",
            Self::Inverted(_) => "classifier",
        }
    }

    /// Features of an image.
    #[must_use]
    pub fn features(&self) -> i64 {
        match self {
            Self::ResNet(plan) => plan.features(),
            Self::Vit(plan) => plan.width,
            Self::Swin(plan) => plan.features(),
            Self::ConvNext(plan) => plan.features(),
            Self::Inverted(plan) => plan.features,
        }
    }

    /// Refuses images of a size that the family does not take; convolutions and pooling take any.
    pub(super) fn check_size(&self, architecture: &Architecture) -> Result<(), TorchError> {
        let side = i64::from(architecture.image_size);
        let objection = match self {
            Self::Vit(plan) => plan.objection(side),
            Self::Swin(_) => swin::Plan::objection(side),
            Self::ConvNext(_) => convnext::Plan::objection(side),
            Self::ResNet(_) | Self::Inverted(_) => None,
        };
        objection.map_or(Ok(()), |reason| {
            Err(TorchError::ImageSize {
                architecture: architecture.name.clone(),
                size: architecture.image_size,
                reason,
            })
        })
    }

    /// The part before the head, filled by `builder`.
    pub(super) fn build(
        &self,
        builder: &mut Builder,
        architecture: &Architecture,
    ) -> Box<dyn Backbone> {
        let drop_path = architecture.drop_path;
        let sized = (i64::from(architecture.image_size), drop_path);
        match self {
            Self::ResNet(plan) => Box::new(resnet::ResNet::new(builder, plan, drop_path)),
            Self::Vit(plan) => Box::new(vit::VisionTransformer::new(builder, plan, sized)),
            Self::Swin(plan) => Box::new(swin::Swin::new(builder, plan, sized)),
            Self::ConvNext(plan) => Box::new(convnext::ConvNext::new(builder, plan, drop_path)),
            Self::Inverted(plan) => Box::new(inverted::InvertedResidualNetwork::new(
                builder, plan, drop_path,
            )),
        }
    }
}

/// The rates of stochastic depth of `blocks` blocks: linear from 0 to `rate`, timm's rule.
#[expect(clippy::cast_precision_loss, reason = "counts of blocks")]
pub(super) fn drop_rates(rate: f64, blocks: usize) -> Vec<f64> {
    let last = blocks.saturating_sub(1).max(1) as f64;
    (0..blocks).map(|i| rate * i as f64 / last).collect()
}

/// He et al. 2016, table 1.
fn resnet(depths: [usize; 4], bottleneck: bool) -> Plan {
    Plan::ResNet(resnet::Plan {
        depths,
        widths: [64, 128, 256, 512],
        bottleneck,
    })
}

/// Dosovitskiy et al. 2021, table 1, and the smaller ones of Touvron et al. 2021.
fn vit(width: i64, heads: i64, clip: bool) -> Plan {
    Plan::Vit(vit::Plan {
        patch: 16,
        width,
        depth: 12,
        heads,
        pre_norm: clip,
        norm_epsilon: if clip { 1e-5 } else { 1e-6 },
    })
}

/// Liu et al. 2021, section 3.3.
fn swin(width: i64, third: usize, heads: [i64; 4]) -> Plan {
    Plan::Swin(swin::Plan {
        width,
        depths: [2, 2, third, 2],
        heads,
        window: 7,
    })
}

/// Liu et al. 2022, section 3.
fn convnext(third: usize, width: i64) -> Plan {
    Plan::ConvNext(convnext::Plan {
        depths: [3, 3, third, 3],
        widths: [width, 2 * width, 4 * width, 8 * width],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_architecture_has_a_plan() {
        for name in ARCHITECTURES {
            assert!(Plan::named(name).is_ok(), "{name}");
        }
        assert!(Plan::named("vit_huge").is_err());
    }

    #[test]
    fn stochastic_depth_grows_from_nothing_to_the_rate() {
        assert_eq!(drop_rates(0.75, 4), [0.0, 0.25, 0.5, 0.75]);
        assert_eq!(drop_rates(0.3, 1), [0.0]);
    }
}
