//! Image sizes, and descriptions of architectures.

use temper_core::ErrorKind;
use temper_torch::{
    Device, TorchError,
    models::{Architecture, Head, Network},
};

use super::families::{plan, with_architecture};
use crate::support::{fixture, formula_images};

#[test]
fn sizes_that_a_family_does_not_take_are_refused_with_the_reason() {
    let cases = [
        ("vit", 18, "multiple of its patches' side, 4 pixels"),
        ("vit", 0, "multiple of its patches' side, 4 pixels"),
        ("swin", 30, "multiple of its patches' side, 4 pixels"),
        ("convnext", 31, "at least 32"),
    ];
    for (name, size, reason) in cases {
        let all = fixture(&format!("models/{name}.safetensors"));
        let described = all.metadata().unwrap();
        let mut architecture: Architecture = serde_json::from_str(described).unwrap();
        architecture.image_size = size;
        let weights = all.below("weights.");
        let plan = plan(name);
        let result = Network::of_plan(&plan, &architecture, &weights, Head::Stored, Device::CPU);
        let error = result.map(|_| ()).unwrap_err();
        assert!(matches!(error, TorchError::ImageSize { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(reason), "{text}");
    }
}

#[test]
fn a_network_made_for_another_size_stores_what_loads_at_that_size() {
    for (name, size) in [("vit", 24), ("swin", 40), ("convnext", 48)] {
        let (network, side) =
            with_architecture(name, |architecture| architecture.image_size = size);
        let bytes = network.to_safetensors().unwrap();
        let stored = temper_torch::tensors::Tensors::parse("the model", &bytes).unwrap();
        let architecture: Architecture = serde_json::from_str(stored.metadata().unwrap()).unwrap();
        let head = Head::Stored;
        let again = Network::of_plan(&plan(name), &architecture, &stored, head, Device::CPU);
        assert_eq!(again.unwrap().to_safetensors().unwrap(), bytes, "{name}");
        let mode = temper_torch::models::Mode::Evaluate;
        assert_eq!(network.logits(&formula_images(1, side), mode).size()[0], 1);
    }
}

#[test]
fn descriptions_written_before_there_were_sizes_and_prefixes_are_read() {
    let old = r#"{"name":"mobilenetv2_100","classes":4,"normalisation":{"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5]}}"#;
    let architecture: Architecture = serde_json::from_str(old).unwrap();
    let expected = Architecture::new("mobilenetv2_100", 4, architecture.normalisation);
    assert_eq!(architecture, expected);
}
