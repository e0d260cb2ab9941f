//! Models against timm, and what becomes of unsound weights.

mod families;
mod memory;
mod regularisation;
mod scripted;
mod sizes;

use std::fs;

use tch::{Kind, Tensor};
use temper_core::{
    ErrorKind,
    catalog::{Catalog, EvalTransform, Filter},
    schedule::Schedule,
};
use temper_torch::{
    Device, TorchError, Training,
    models::{Architecture, Draws, Head, Mode, Network},
    set_threads,
    tensors::Tensors,
    train,
};

use crate::support::{
    Recorder, fixture, formula_images, largest_difference, lite0_weights, mirror,
    mobilenet_weights, striped, train_spec,
};
fn architecture(model: &str, classes: u32) -> Architecture {
    let pinned = Catalog::built_in().unwrap().model(model).unwrap();
    Architecture::new(&pinned.architecture, classes, pinned.normalisation)
}

fn lite0() -> Network {
    let source = Tensors::read(&lite0_weights()).unwrap();
    let architecture = architecture("efficientnet-lite0", 1000);
    Network::load(&architecture, &source, Head::Stored, Device::CPU).unwrap()
}

fn mobilenet(seed: u64) -> Network {
    let source = Tensors::read(&mobilenet_weights()).unwrap();
    let architecture = architecture("mobilenetv2", 10);
    Network::load(&architecture, &source, Head::Fresh { seed }, Device::CPU).unwrap()
}

#[test]
fn mobilenet_features_equal_timms() {
    let _no_grad = tch::no_grad_guard();
    let (network, expected) = (mobilenet(0), fixture("mobilenetv2_features.safetensors"));
    for side in [64, 65] {
        let features = network.features(&formula_images(2, side), Mode::Evaluate);
        let expected = expected.get(&format!("side{side}")).unwrap();
        let difference = largest_difference(&features, &expected);
        assert!(difference < 1e-4, "{side}: {difference}");
        println!("side {side}: largest difference {difference:e}");
    }
}

#[test]
fn lite0_logits_equal_timms() {
    let _no_grad = tch::no_grad_guard();
    let (network, expected) = (lite0(), fixture("efficientnet_lite0_logits.safetensors"));
    for side in [64, 65] {
        let logits = network.logits(&formula_images(2, side), Mode::Evaluate);
        let difference =
            largest_difference(&logits, &expected.get(&format!("side{side}")).unwrap());
        assert!(difference < 1e-4, "{side}: {difference}");
        println!("side {side}: largest difference {difference:e}");
    }
}

#[test]
fn lite0_knows_18_of_20_photos() {
    let network = lite0();
    let transform = EvalTransform {
        resize: 256,
        crop: 224,
        filter: Filter::Bicubic,
    };
    let _no_grad = tch::no_grad_guard();
    let (mut right, mut photos) = (0, 0);
    for entry in fs::read_dir(mirror("photos/imagenet")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jpg") {
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let label: i64 = stem.rsplit('_').next().unwrap().parse().unwrap();
        let pixels = temper_data::eval_image(&fs::read(&path).unwrap(), transform).unwrap();
        let x = Tensor::from_slice(&pixels)
            .reshape([1, 3, 224, 224])
            .to_kind(Kind::Float)
            / 255.0;
        let top = network
            .logits(&x, Mode::Evaluate)
            .argmax(1, false)
            .int64_value(&[0]);
        photos += 1;
        right += usize::from(top == label);
    }
    assert_eq!((right, photos), (18, 20));
}

#[test]
fn fresh_head_depends_on_the_seed_alone_and_is_narrow() {
    let head = |seed| {
        let network = mobilenet(seed);
        let find = |name: &str| {
            let found = network
                .parameters()
                .iter()
                .find(|parameter| parameter.name == name);
            found.unwrap().tensor.copy()
        };
        (find("classifier.weight"), find("classifier.bias"))
    };
    let (weight, bias) = head(3);
    assert_eq!(weight.size(), [10, 1280]);
    assert_eq!(weight, head(3).0);
    assert_ne!(weight, head(4).0);
    let deviation = weight.std(true).double_value(&[]);
    assert!((deviation - 0.01).abs() < 3e-4, "{deviation}");
    assert_eq!(bias, Tensor::zeros([10], (Kind::Float, tch::Device::Cpu)));
}

#[test]
fn trained_file_loads_to_the_same_model() {
    let network = mobilenet(1);
    let bytes = network.to_safetensors().unwrap();
    let source = Tensors::parse("bytes", &bytes).unwrap();
    let architecture = architecture("mobilenetv2", 10);
    let again = Network::load(&architecture, &source, Head::Stored, Device::CPU).unwrap();
    let x = formula_images(2, 32);
    assert_eq!(
        network.logits(&x, Mode::Evaluate),
        again.logits(&x, Mode::Evaluate)
    );
    assert_eq!(bytes, again.to_safetensors().unwrap());
}

#[test]
fn evaluation_mode_leaves_the_running_statistics_alone_and_training_mode_moves_them() {
    let (network, x) = (mobilenet(1), formula_images(4, 32));
    let before = network.to_safetensors().unwrap();
    let alone = network.logits(&x.narrow(0, 2, 1), Mode::Evaluate);
    let together = network.logits(&x, Mode::Evaluate).narrow(0, 2, 1);
    assert!(largest_difference(&alone, &together) < 1e-5);
    assert_eq!(network.to_safetensors().unwrap(), before);
    let _ = network.logits(&x, Mode::Train(Draws::default()));
    assert_ne!(network.to_safetensors().unwrap(), before);
}

#[test]
fn every_missing_tensor_is_named_with_the_file() {
    let source = Tensors::read(&mobilenet_weights()).unwrap();
    let load = |source: &Tensors, classes, head| {
        let architecture = architecture("mobilenetv2", classes);
        Network::load(&architecture, source, head, Device::CPU)
            .map(|_| ())
            .unwrap_err()
    };
    let error = load(&source, 10, Head::Stored);
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    for part in ["model.safetensors", "classifier.weight", "classifier.bias"] {
        assert!(text.contains(part), "{text}");
    }
    let error = load(&source.below("blocks."), 10, Head::Fresh { seed: 0 });
    assert!(error.to_string().contains("conv_stem.weight"), "{error}");
}

#[test]
fn tensor_of_another_shape_is_refused() {
    let source = Tensors::read(&lite0_weights()).unwrap();
    let architecture = architecture("efficientnet-lite0", 10);
    let result = Network::load(&architecture, &source, Head::Stored, Device::CPU);
    let error = result.map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, TorchError::Shape { name, .. } if name == "classifier.bias"
        || name == "classifier.weight"),
        "{error}"
    );
}

#[test]
fn unknown_architecture_names_the_known_ones() {
    let source = Tensors::read(&mobilenet_weights()).unwrap();
    let mut architecture = architecture("mobilenetv2", 10);
    architecture.name = "vit_huge".to_owned();
    let result = Network::load(&architecture, &source, Head::Stored, Device::CPU);
    let text = result.map(|_| ()).unwrap_err().to_string();
    assert!(
        text.contains("vit_huge") && text.contains("mobilenetv2_100"),
        "{text}"
    );
}

#[test]
fn unsound_weights_fail_a_training_as_bad_input_naming_the_file() {
    set_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(mobilenet_weights()).unwrap();
    let (images, spec) = (striped(8, 0), train_spec(Schedule::Fixed));
    let error_of = |name: &str, bytes: Option<&[u8]>| {
        let path = folder.path().join(name);
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).unwrap();
        }
        let (train_set, validation) = (&images, &images);
        let (weights, device) = (path.as_path(), Device::CPU);
        let training = Training {
            spec: &spec,
            weights,
            train: train_set,
            validation,
            device,
        };
        train(&training, None, &mut Recorder::default()).unwrap_err()
    };
    let cases = [
        ("truncated.safetensors", Some(&whole[..whole.len() / 2])),
        (
            "text.safetensors",
            Some(b"<html>not found</html>".as_slice()),
        ),
        ("empty.safetensors", Some(b"".as_slice())),
        ("missing.safetensors", None),
    ];
    for (name, bytes) in cases {
        let error = error_of(name, bytes);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}
