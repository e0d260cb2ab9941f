//! Modules whose structure comes from a file.

use std::path::{Path, PathBuf};

use tch::Tensor;
use temper_core::{
    ErrorKind,
    catalog::{Normalisation, Scripted},
    spec::Precision,
};
use temper_torch::{
    Device, TorchError,
    models::{Architecture, Draws, Head, Mode, Network, Source},
    optim::{AdamW, Rates},
    set_threads,
    tensors::Tensors,
};

use crate::support::{fixture, formula_images, largest_difference};

const SAMPLES: [usize; 4] = [0, 1, 2, 3];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/scripted")
        .join(name)
}

fn architecture() -> Architecture {
    let imagenet = Normalisation {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };
    Architecture {
        image_size: 32,
        scripted: Some(Scripted {
            features: 8,
            image_size: 32,
        }),
        ..Architecture::new("torchscript", 4, imagenet)
    }
}

fn fresh(name: &str) -> Result<Network, TorchError> {
    let head = Head::Fresh { seed: 2 };
    Network::pretrained(&architecture(), &file(name), head, Device::CPU)
}

/// One step on four images, and its logits.
fn step(network: &Network, optimiser: &mut AdamW) -> Tensor {
    let draws = Draws {
        seed: 1,
        epoch: 0,
        samples: &SAMPLES,
    };
    let logits = network.logits(&formula_images(4, 32), Mode::Train(draws));
    let loss = logits.cross_entropy_for_logits(&Tensor::from_slice(&[0_i64, 1, 2, 3]));
    let gradients = Tensor::run_backward(&[&loss], &optimiser.parameters(), false, false);
    let rates = Rates {
        backbone: 1e-2,
        head: 1e-2,
    };
    optimiser.step(&gradients, rates);
    logits.detach()
}

#[test]
fn features_are_the_modules_in_both_modes() {
    let (network, expected) = (
        fresh("trainable.pt").unwrap(),
        fixture("scripted/features.safetensors"),
    );
    let x = formula_images(2, 32);
    let modes = [
        ("evaluate", Mode::Evaluate),
        ("train", Mode::Train(Draws::default())),
    ];
    for (name, mode) in modes {
        let difference =
            largest_difference(&network.features(&x, mode), &expected.get(name).unwrap());
        assert!(difference < 1e-5, "{name}: {difference}");
    }
}

#[test]
fn training_stored_and_loaded_goes_on_to_the_last_bit() {
    set_threads(1);
    let network = fresh("trainable.pt").unwrap();
    let mut optimiser = AdamW::new(&network, 0.1);
    let before = step(&network, &mut optimiser);
    let bytes = network.to_safetensors().unwrap();
    let stored = Tensors::parse("the model", &bytes).unwrap();
    for name in ["head.weight", "module.0.weight", "module.1.running_var"] {
        assert!(stored.names().any(|stored| stored == name), "{name}");
    }
    let module = file("trainable.pt");
    let source = Source::stored(&stored, Some(&module));
    let loaded = Network::load(&architecture(), source, Head::Stored, Device::CPU).unwrap();
    let x = formula_images(2, 32);
    let logits = |network: &Network| network.logits(&x, Mode::Evaluate);
    assert_eq!(logits(&network), logits(&loaded));
    let moments = temper_torch::tensors::write(optimiser.state(), String::new()).unwrap();
    let mut resumed = AdamW::new(&loaded, 0.1);
    let moments = Tensors::parse("moments", &moments).unwrap();
    resumed.restore(&moments, 1).unwrap();
    let (on, again) = (step(&network, &mut optimiser), step(&loaded, &mut resumed));
    assert_eq!(on, again);
    assert_ne!(on, before);
    assert_eq!(
        network.to_safetensors().unwrap(),
        loaded.to_safetensors().unwrap()
    );
}

#[test]
fn gradient_of_the_input_alone_can_be_had() {
    let network = fresh("trainable.pt").unwrap();
    let x = formula_images(2, 32).set_requires_grad(true);
    let loss = network.logits(&x, Mode::Evaluate).sum(tch::Kind::Float);
    let gradient = Tensor::run_backward(&[&loss], &[&x], false, false).swap_remove(0);
    assert!(gradient.abs().max().double_value(&[]) > 0.0);
    let trained = network.parameters().iter().filter(|p| p.trainable);
    assert!(trained.map(|p| p.tensor.grad()).all(|grad| !grad.defined()));
}

#[test]
fn modules_that_cannot_be_trained_here_are_refused_with_the_reason() {
    let cases = [
        ("buffers.pt", "register them as parameters"),
        ("traced.pt", "do not trace it"),
        ("frozen.pt", "nothing to train"),
        ("double.pt", "float32"),
        ("features.safetensors", "cannot be used"),
        ("absent.pt", "cannot read"),
    ];
    for (name, reason) in cases {
        let error = fresh(name).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(reason), "{text}");
    }
}

#[test]
fn scripted_module_refuses_bfloat16() {
    assert!(
        fresh("trainable.pt")
            .unwrap()
            .in_precision(Precision::Fp32)
            .is_ok()
    );
    let network = fresh("trainable.pt").unwrap();
    let error = network
        .in_precision(Precision::Bf16)
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, TorchError::Module { .. }), "{error:?}");
    assert!(error.to_string().contains("fp32 will do"), "{error}");
}

#[test]
fn another_size_and_another_number_of_features_are_refused() {
    let load = |change: &dyn Fn(&mut Architecture)| {
        let mut architecture = architecture();
        change(&mut architecture);
        let head = Head::Fresh { seed: 0 };
        Network::pretrained(&architecture, &file("trainable.pt"), head, Device::CPU)
            .map(|_| ())
            .unwrap_err()
    };
    let size = load(&|architecture| architecture.image_size = 64);
    assert!(matches!(size, TorchError::ImageSize { .. }), "{size}");
    let features = load(&|architecture| {
        architecture.scripted = Some(Scripted {
            features: 9,
            image_size: 32,
        });
    });
    assert!(features.to_string().contains("[2, 8]"), "{features}");
}
