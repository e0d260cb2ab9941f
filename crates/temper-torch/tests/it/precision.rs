//! Products in bfloat16: near single precision, and good enough to learn by.

use tch::{Kind, Tensor};
use temper_core::{
    key,
    schedule::Schedule,
    spec::{Objective, Precision},
};
use temper_torch::{
    Device,
    models::{Architecture, Head, Mode, Network},
};

use crate::support::{
    Recorder, SIDE, finished, formula_images, longer_spec, mobilenet_weights, train_spec,
    train_stripes,
};

fn network(precision: Precision) -> Network {
    let architecture = Architecture {
        image_size: SIDE,
        ..Architecture::of(&train_spec(Schedule::Standard))
    };
    let head = Head::Fresh { seed: 1 };
    let file = mobilenet_weights();
    let network = Network::pretrained(&architecture, &file, head, Device::CPU).unwrap();
    network.in_precision(precision).unwrap()
}

#[test]
fn logits_are_near_those_of_single_precision_and_gradients_finite() {
    let x = formula_images(4, i64::from(SIDE));
    let [exact, short] = Precision::ALL.map(|precision| {
        let network = network(precision);
        let x = x.copy().set_requires_grad(true);
        let logits = network.logits(&x, Mode::Evaluate);
        assert_eq!(logits.kind(), Kind::Float);
        let loss = logits.square().sum(Kind::Float);
        let mut inputs = vec![&x];
        let trained = network.parameters().iter().filter(|p| p.trainable);
        inputs.extend(trained.map(|p| &p.tensor));
        for gradient in Tensor::run_backward(&[&loss], &inputs, false, false) {
            assert_eq!(gradient.kind(), Kind::Float);
            assert_eq!(gradient.isfinite().all().int64_value(&[]), 1);
        }
        logits.detach()
    });
    let length = |tensor: &Tensor| tensor.norm().double_value(&[]);
    let relative = length(&(&exact - &short)) / length(&exact);
    println!("relative difference of logits {relative}");
    assert!(relative > 0.0 && relative < 0.1, "{relative}");
}

#[test]
fn training_learns_in_bfloat16_and_is_another_job() {
    let mut spec = longer_spec(Schedule::Linear);
    let exact = key::training_key(&spec);
    spec.training.precision = Precision::Bf16;
    assert_ne!(key::training_key(&spec), exact);
    let mut recorder = Recorder::default();
    let model = finished(train_stripes(&spec, None, &mut recorder).unwrap());
    let last = recorder.epochs[11];
    println!("{last:?}");
    assert!(last.validation_accuracy.unwrap() > 0.5, "{last:?}");
    // Weights are kept in single precision whatever they are multiplied in.
    let stored = temper_torch::tensors::Tensors::parse("model", &model.bytes).unwrap();
    let weight = stored.get("conv_head.weight").unwrap();
    assert_ne!(weight, weight.to_kind(Kind::BFloat16).to_kind(Kind::Float));
}

#[test]
fn trades_runs_in_bfloat16() {
    let mut spec = train_spec(Schedule::Linear);
    spec.training.precision = Precision::Bf16;
    spec.training.objective = Objective::Trades { beta: 6.0 };
    let mut recorder = Recorder::default();
    finished(train_stripes(&spec, None, &mut recorder).unwrap());
    assert!(
        recorder
            .epochs
            .iter()
            .all(|epoch| epoch.train_loss.is_finite())
    );
}
