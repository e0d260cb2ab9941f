//! Curves: what they may not depend on, and what they must agree with.

use std::sync::OnceLock;

use tch::{Kind, Tensor};
use temper_core::{
    ErrorKind,
    attack::{Attack, Pgd},
    curve::Point,
    schedule::Schedule,
    spec::EvaluateSpec,
};
use temper_data::ImageSet;
use temper_torch::{
    Control, Device, EvaluateOutcome, StoredModel, TorchError, evaluate,
    models::{Architecture, Head, Mode, Network},
    set_threads,
    tensors::Tensors,
};

use crate::support::{
    Recorder, epsilon, evaluate_spec, finished, longer_spec, striped, train_stripes,
};

/// One model for all tests here, fine-tuned without attacks: the grid breaks it bit by bit.
fn model() -> &'static [u8] {
    static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
    MODEL.get_or_init(|| {
        let spec = longer_spec(Schedule::Standard);
        finished(train_stripes(&spec, None, &mut Recorder::default()).unwrap()).bytes
    })
}

fn spec() -> EvaluateSpec {
    evaluate_spec(longer_spec(Schedule::Standard))
}

fn stored(bytes: &[u8]) -> StoredModel<'_> {
    StoredModel {
        bytes,
        module: None,
    }
}

fn curve(spec: &EvaluateSpec, test: &ImageSet, batch: usize) -> Vec<Point> {
    set_threads(1);
    let observer = &mut |_| Control::Continue;
    match evaluate(spec, stored(model()), (test, batch), Device::CPU, observer).unwrap() {
        EvaluateOutcome::Finished(points) => points,
        EvaluateOutcome::Aborted => panic!("aborted"),
    }
}

#[test]
fn curve_does_not_depend_on_the_batch_size_and_repeats() {
    let (spec, test) = (spec(), striped(75, 2000));
    let reference = curve(&spec, &test, 64);
    for batch in [7, 1, 32, 1000, 64] {
        assert_eq!(curve(&spec, &test, batch), reference, "batch {batch}");
    }
    let counts: Vec<u32> = reference.iter().map(|point| point.correct).collect();
    println!("correct of 75: {counts:?}");
    assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
    assert!(
        counts[0] > counts[4],
        "the attack breaks nothing: {counts:?}"
    );
    let grid: Vec<_> = reference
        .iter()
        .map(|point| (point.epsilon, point.samples))
        .collect();
    assert_eq!(
        grid,
        spec.grid
            .iter()
            .map(|&epsilon| (epsilon, 75))
            .collect::<Vec<_>>()
    );
}

#[test]
fn epsilon_zero_is_the_clean_accuracy() {
    let (spec, test) = (spec(), striped(75, 2000));
    let source = Tensors::parse("model", model()).unwrap();
    let architecture = Architecture::of(&spec.train);
    let network = Network::load(&architecture, &source, Head::Stored, Device::CPU).unwrap();
    let side = i64::from(test.size);
    let pixels: Vec<u8> = test.images().flatten().copied().collect();
    let x = Tensor::from_slice(&pixels)
        .reshape([-1, 3, side, side])
        .to_kind(Kind::Float);
    let right = network
        .logits(&(x / 255.0), Mode::Evaluate)
        .argmax(1, false)
        .eq_tensor(&Tensor::from_slice(&test.labels))
        .sum(Kind::Int64);
    let first = curve(&spec, &test, 32)[0];
    assert!(first.epsilon.is_zero());
    assert_eq!(i64::from(first.correct), right.int64_value(&[]));
}

#[test]
fn seed_is_the_start_noise_and_nothing_else() {
    let (mut spec, test) = (spec(), striped(32, 2000));
    spec.attacks = vec![Attack::Pgd(Pgd {
        random_start: false,
        ..Pgd::with_steps(3)
    })];
    let other = EvaluateSpec {
        seed: 6,
        ..spec.clone()
    };
    assert_eq!(curve(&spec, &test, 32), curve(&other, &test, 32));
}

#[test]
fn evaluation_stops_when_told_to_and_says_how_far_it_is() {
    set_threads(1);
    let (spec, test) = (spec(), striped(75, 2000));
    let mut seen = Vec::new();
    let outcome = evaluate(
        &spec,
        stored(model()),
        (&test, 32),
        Device::CPU,
        &mut |progress| {
            seen.push(progress);
            if progress.grid_index == 1 {
                Control::Abort
            } else {
                Control::Continue
            }
        },
    );
    assert_eq!(outcome.unwrap(), EvaluateOutcome::Aborted);
    let done: Vec<usize> = seen.iter().map(|progress| progress.done).collect();
    assert_eq!(done, [32, 64, 75, 32.min(seen[3].samples)]);
    assert!(seen.iter().all(|progress| progress.grid_points == 5));
}

#[test]
fn unsound_inputs_are_refused() {
    let (spec, test) = (spec(), striped(8, 0));
    let error = |spec: &EvaluateSpec, model: &[u8], test: &ImageSet| {
        let observer = &mut |_| Control::Continue;
        evaluate(spec, stored(model), (test, 32), Device::CPU, observer).unwrap_err()
    };
    let damaged = error(&spec, &model()[..1000], &test);
    assert_eq!(damaged.kind(), ErrorKind::InvalidInput, "{damaged}");
    let empty = error(&spec, model(), &striped(0, 0));
    assert!(matches!(empty, TorchError::BadInput(_)), "{empty}");
    let mut classes = spec.clone();
    classes.train.dataset.classes = 5;
    assert!(matches!(
        error(&classes, model(), &test),
        TorchError::Shape { .. }
    ));
    let mut size = spec.clone();
    size.train.data.image_size = 33;
    assert!(matches!(
        error(&size, model(), &test),
        TorchError::BadInput(_)
    ));
}

#[test]
fn standard_grid_of_one_point_is_clean_accuracy_alone() {
    let mut spec = spec();
    spec.grid = vec![epsilon("0")];
    let points = curve(&spec, &striped(20, 2000), 32);
    assert_eq!((points.len(), points[0].samples), (1, 20));
}
