//! Small members of every family against timm, and mistakes that must not go unseen.

use tch::{Kind, Tensor};
use temper_torch::{
    Device,
    models::{
        Architecture, Head, Network, Padding, Plan, convnext, inverted, inverted::Stage, resnet,
        swin, vit,
    },
    tensors::{Tensors, write},
};

use crate::{
    parity::{MODES, Report, TOLERANCE, computed, relative_difference, unexpected},
    support::{fixture, formula_images},
};

/// The fixtures of `parity/make_model_fixtures.py`.
const MEMBERS: [&str; 9] = [
    "vit",
    "clip-vit",
    "swin",
    "convnext",
    "clip-convnext",
    "resnet-bottleneck",
    "resnet-basic",
    "mobilenetv2",
    "efficientnet-lite",
];
/// Those whose tables are made for another image size than they are used at.
const RESIZED: [&str; 3] = ["vit-resized", "swin-resized", "swin-padded"];

const STAGES: &[Stage] = &[
    stage(3, 1, 1, 8, 1),
    stage(3, 2, 3, 8, 2),
    stage(5, 2, 3, 16, 2),
];

const fn stage(kernel: i64, stride: i64, expansion: i64, channels: i64, repeats: usize) -> Stage {
    Stage {
        repeats,
        kernel,
        stride,
        expansion,
        channels,
    }
}

pub fn plan(name: &str) -> Plan {
    let vit = |pre_norm, norm_epsilon| vit::Plan {
        patch: 4,
        width: 16,
        depth: 2,
        heads: 2,
        pre_norm,
        norm_epsilon,
    };
    let resnet = |depths, bottleneck| resnet::Plan {
        depths,
        widths: [8, 8, 8, 16],
        bottleneck,
    };
    let inverted = |padding, batch_norm_epsilon| inverted::Plan {
        stem: 8,
        stages: STAGES,
        features: 16,
        padding,
        batch_norm_epsilon,
    };
    match name {
        "vit" | "vit-resized" => Plan::Vit(vit(false, 1e-6)),
        "clip-vit" => Plan::Vit(vit(true, 1e-5)),
        "swin" | "swin-resized" | "swin-padded" => Plan::Swin(swin::Plan {
            width: 4,
            depths: [2, 2, 1, 1],
            heads: [1, 2, 2, 4],
            window: 3,
        }),
        "convnext" | "clip-convnext" => Plan::ConvNext(convnext::Plan {
            depths: [1, 1, 2, 1],
            widths: [8, 8, 8, 16],
        }),
        "resnet-bottleneck" => Plan::ResNet(resnet([2, 1, 1, 1], true)),
        "resnet-basic" => Plan::ResNet(resnet([1, 2, 1, 1], false)),
        "mobilenetv2" => Plan::Inverted(inverted(Padding::Symmetric, 1e-5)),
        "efficientnet-lite" => Plan::Inverted(inverted(Padding::TensorFlow, 1e-3)),
        other => panic!("no plan for {other}"),
    }
}

/// Members in which no sample sees another in training mode either.
pub const PLANS_OF_LAYER_NORM: [&str; 4] = ["vit", "clip-vit", "swin", "convnext"];

/// The network of a fixture with its architecture changed, and the side of its images.
pub fn with_architecture(name: &str, change: impl Fn(&mut Architecture)) -> (Network, i64) {
    let all = fixture(&format!("models/{name}.safetensors"));
    let mut architecture: Architecture = serde_json::from_str(all.metadata().unwrap()).unwrap();
    change(&mut architecture);
    let weights = all.below("weights.");
    let head = Head::Stored;
    let network = Network::of_plan(&plan(name), &architecture, &weights, head, Device::CPU);
    (network.unwrap(), i64::from(architecture.image_size))
}

/// A fixture and the network on its weights.
fn member(name: &str) -> (Tensors<'static>, Architecture, Network) {
    let all = fixture(&format!("models/{name}.safetensors"));
    let architecture: Architecture = serde_json::from_str(all.metadata().unwrap()).unwrap();
    let head = if architecture.prefix.is_empty() {
        Head::Stored
    } else {
        Head::Fresh { seed: 0 }
    };
    let weights = all.below("weights.");
    let network = Network::of_plan(&plan(name), &architecture, &weights, head, Device::CPU);
    (all, architecture, network.unwrap())
}

#[test]
fn every_family_computes_what_timm_computes_in_both_modes() {
    for name in MEMBERS.iter().chain(&RESIZED) {
        let (all, architecture, network) = member(name);
        let x = formula_images(2, i64::from(architecture.image_size));
        let mut report = Report::default();
        for (prefix, mode) in MODES {
            // Without batch norm both modes are one.
            let mut expected = all.below(prefix);
            if expected.names().count() == 0 {
                expected = all.below("evaluate.");
            }
            let projection = expected.get("projection").unwrap();
            let values = computed(&network, &x, mode, &projection);
            report.add(prefix, &values, &expected);
            if !RESIZED.contains(name) {
                assert_eq!(unexpected(&values, &expected), [""; 0], "{name}");
            }
        }
        println!("{name}: {report:?}");
        assert!(report.largest <= TOLERANCE, "{name}: {report:?}");
    }
}

#[test]
fn hub_files_load_with_nothing_missing_and_nothing_unused() {
    for name in MEMBERS.iter().chain(&RESIZED) {
        let (_, architecture, network) = member(name);
        assert_eq!(network.unused().other, [""; 0], "{name}");
        let is_tower = !architecture.prefix.is_empty();
        assert_eq!(network.unused().head.len(), if is_tower { 3 } else { 0 });
    }
}

#[test]
fn names_without_use_are_told_with_the_head_apart() {
    let (_, architecture, network) = member("swin");
    let extra = Tensor::ones([1], (Kind::Float, tch::Device::Cpu));
    let named = network
        .parameters()
        .iter()
        .map(|p| (p.name.clone(), &p.tensor));
    let more = [
        "layers.9.strange.weight",
        "layers.0.blocks.1.attn_mask",
        "layers.0.blocks.0.attn.relative_position_index",
        "bn1.num_batches_tracked",
    ];
    let more = more.map(|name| (name.to_owned(), &extra));
    let bytes = write(named.chain(more), String::new()).unwrap();
    let source = Tensors::parse("the file", &bytes).unwrap();
    let head = Head::Fresh { seed: 0 };
    let network = Network::of_plan(&plan("swin"), &architecture, &source, head, Device::CPU);
    let network = network.unwrap();
    assert_eq!(network.unused().other, ["layers.9.strange.weight"]);
    assert_eq!(network.unused().head, ["head.fc.bias", "head.fc.weight"]);
}

#[test]
fn mistakes_in_a_network_are_seen() {
    let mut seen = 0;
    for name in MEMBERS {
        let (all, architecture, network) = member(name);
        let x = formula_images(2, i64::from(architecture.image_size));
        let projection = all.get("evaluate.projection").unwrap();
        let values = computed(&network, &x, MODES[0].1, &projection);
        let mutations = all.below("mutation.");
        for witness in mutations.names() {
            let (mutation, tensor) = witness.split_once('.').unwrap();
            let mutated = mutations.below(&format!("{mutation}."));
            let (difference, _) = relative_difference(tensor, &values, &mutated);
            println!("{name} with {mutation}: {difference:.2e} at {tensor}");
            assert!(difference > TOLERANCE, "{name}: {mutation} at {tensor}");
            seen += 1;
        }
    }
    assert_eq!(seen, 5 * 3 + 1 + 4);
}
