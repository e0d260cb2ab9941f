//! Measurements of models that can be worked out by hand.

use std::cell::Cell;

use tch::{Kind, Tensor};
use temper_core::{
    Digest, Epsilon, Fraction,
    attack::{Attack, Pgd, StepSize},
    catalog::{Catalog, Counts, Draw, Layout, PinnedDataset, Source},
    report::MaskingFlag,
    schedule::Schedule,
    spec::{
        CurveMode, DataSettings, EvaluateSpec, Hyperparameters, Selection, TrainSpec,
        TrainingSettings, ValidationSettings,
    },
};
use temper_data::ImageSet;

use super::{EvaluateOutcome, Measurement, drive::Job};
use crate::{Device, batch::Images};

const SIDE: u32 = 4;

fn train() -> TrainSpec {
    let source = Source::Folder {
        path: "grey".to_owned(),
        layout: Layout::ClassFolders,
        list: None,
        manifest: Some(Digest::of(b"")),
    };
    TrainSpec {
        model: Catalog::built_in().unwrap().model("mobilenetv2").unwrap(),
        dataset: PinnedDataset {
            name: "grey".to_owned(),
            classes: 2,
            counts: Counts::default(),
            draw: Draw::default(),
            source,
        },
        ramp: Schedule::Standard.ramp(Epsilon::ZERO, 1),
        hyperparameters: Hyperparameters::default(),
        training: TrainingSettings::default(),
        data: DataSettings {
            image_size: SIDE,
            train_samples: 1,
            validation_samples: 1,
            split_seed: 0,
        },
        validation: ValidationSettings::default(),
        seed: 0,
    }
}

/// One step as long as epsilon, from the image itself: the best there is on a linear model.
fn straight() -> Attack {
    Attack::Pgd(Pgd {
        random_start: false,
        step_size: StepSize::Relative(1.0),
        ..Pgd::with_steps(1)
    })
}

pub(super) fn spec(mode: CurveMode, end: u32) -> EvaluateSpec {
    let end = Epsilon::new(end, 255).unwrap();
    EvaluateSpec {
        train: train(),
        attacks: vec![straight()],
        model: Selection::Last,
        grid: Epsilon::grid(end, Epsilon::LEVEL),
        mode,
        samples: 0,
        seed: 1,
    }
}

pub(super) fn bisect(numerator: u32, denominator: u32) -> CurveMode {
    let audit = Fraction::new(numerator, denominator).unwrap();
    CurveMode::Bisect { audit }
}

/// Images of one grey each.
fn grey(greys: &[u8], labels: Vec<i64>) -> ImageSet {
    let numbers = 3 * (SIDE * SIDE) as usize;
    let pixels = greys.iter().flat_map(|&grey| vec![grey; numbers]);
    ImageSet::new(SIDE, 2, pixels.collect(), labels).unwrap()
}

/// Mean pixels `f32[n]`, in levels of 1/255.
fn level(x: &Tensor) -> Tensor {
    x.mean_dim([1, 2, 3].as_slice(), false, Kind::Float) * 255.0
}

fn two(first: &Tensor, second: &Tensor) -> Tensor {
    Tensor::stack(&[first, second], 1)
}

/// Class 1 above a grey of 127.5: the least perturbation that breaks an image of grey `g` has a
/// norm of `|g - 127.5|` levels.
fn linear(x: &Tensor) -> Tensor {
    let margin = (level(x) - 127.5) * 0.1;
    two(&margin.neg(), &margin)
}

fn measure(spec: &EvaluateSpec, model: &dyn Fn(&Tensor) -> Tensor, test: &ImageSet) -> Measurement {
    let images = Images::new("test", test, (SIDE, 2), Device::CPU).unwrap();
    let job = Job::new(spec, model, &images).unwrap();
    match job.run(None, &mut ()).unwrap() {
        EvaluateOutcome::Finished(measured) => measured,
        other => panic!("{other:?}"),
    }
}

fn counts(measured: &Measurement) -> Vec<u32> {
    measured.points.iter().map(|point| point.correct).collect()
}

/// 100 greys around the boundary; every tenth has the wrong label.
fn around() -> (Vec<u8>, Vec<i64>) {
    let greys: Vec<u8> = (0..100).map(|i: u8| 108 + (i % 36 * 7) % 40).collect();
    let label = |(i, &grey): (usize, &u8)| i64::from((grey > 127) != (i % 10 == 3));
    let labels = greys.iter().enumerate().map(label).collect();
    (greys, labels)
}

#[test]
fn all_modes_find_the_true_curve_of_a_linear_model() {
    let (greys, labels) = around();
    let test = grey(&greys, labels.clone());
    let truth: Vec<u32> = (0_u8..=16)
        .map(|index| {
            let right = greys.iter().zip(&labels).filter(|&(&grey, &label)| {
                let distance = (f32::from(grey) - 127.5).abs();
                (grey > 127) == (label == 1) && (index == 0 || distance > f32::from(index))
            });
            u32::try_from(right.count()).unwrap()
        })
        .collect();
    let modes = [CurveMode::Exact, CurveMode::Monotone, bisect(1, 5)];
    let measured = modes.map(|mode| measure(&spec(mode, 16), &linear, &test));
    for (found, mode) in measured.iter().zip(modes) {
        assert_eq!(counts(found), truth, "{mode:?}");
        assert_eq!(found.flags, [], "{mode:?}");
    }
    let audit = measured[2].audit.unwrap();
    assert_eq!((audit.samples, audit.gap), (20, 0.0));
    let unaudited = measure(&spec(bisect(0, 1), 16), &linear, &test);
    assert_eq!((unaudited.audit, counts(&unaudited)), (None, truth));
    let passes = [&measured[0], &measured[1], &unaudited].map(|found| found.passes);
    println!("passes of exact, monotone and bisect: {passes:?}");
    assert!(passes.is_sorted_by(|a, b| a > b), "{passes:?}");
}

#[test]
fn order_of_the_images_changes_nothing() {
    let (mut greys, mut labels) = around();
    let spec = spec(bisect(0, 1), 16);
    let before = measure(&spec, &linear, &grey(&greys, labels.clone()));
    greys.reverse();
    labels.reverse();
    assert_eq!(measure(&spec, &linear, &grey(&greys, labels)), before);
}

/// Wrong about images of grey 100 where they are 1.5 to 2.5 levels brighter, and nowhere else: one
/// step of 2 levels breaks them, any other jumps over or falls short.
fn band(x: &Tensor) -> Tensor {
    let wrong = (level(x) - 102.0).square().neg() + 0.25;
    two(&wrong.zeros_like(), &wrong)
}

#[test]
fn audit_sees_that_the_attack_is_weak_where_bisection_tries_it() {
    let test = grey(&[100; 20], vec![0; 20]);
    let measured = measure(&spec(bisect(1, 2), 8), &band, &test);
    assert_eq!(counts(&measured), [20; 9]);
    let audit = measured.audit.unwrap();
    assert_eq!(audit.samples, 10);
    assert!((audit.gap - 0.125).abs() < 1e-9, "{audit:?}");
}

#[test]
fn bisection_of_what_withstands_everything_is_one_attack() {
    let test = grey(&[100; 20], vec![0; 20]);
    let sure = |x: &Tensor| two(&(level(x) * 0.0 + 1.0), &(level(x) * 0.0));
    let spec = spec(bisect(0, 1), 16);
    let measured = measure(&spec, &sure, &test);
    assert_eq!(counts(&measured), [20; 17]);
    // Twice clean, as outputs are compared, and each step forward and backward.
    let attack = 2 * u64::from(spec.attacks[0].steps()) + 1;
    assert_eq!(measured.passes, 20 * (2 + attack));
}

#[test]
fn rising_curve_is_told_in_exact_mode() {
    let test = grey(&[100; 20], vec![0; 20]);
    let measured = measure(&spec(CurveMode::Exact, 8), &band, &test);
    assert_eq!(counts(&measured), [20, 20, 0, 20, 20, 20, 20, 20, 20]);
    assert_eq!(measured.flags, [MaskingFlag::RisingCurve]);
    let few = grey(&[100; 9], vec![0; 9]);
    let few = measure(&spec(CurveMode::Exact, 8), &band, &few);
    assert_eq!(few.flags, []);
}

#[test]
fn models_that_hide_their_gradients_are_told() {
    let (greys, labels) = around();
    let test = grey(&greys, labels);
    let flags = |model: &dyn Fn(&Tensor) -> Tensor| {
        measure(&spec(CurveMode::Monotone, 4), model, &test).flags
    };
    let probabilities = |x: &Tensor| linear(x).softmax(1, Kind::Float);
    assert_eq!(flags(&probabilities), [MaskingFlag::Probabilities]);
    let flat = |x: &Tensor| linear(&x.detach()) + x.sum(Kind::Float) * 0.0;
    assert_eq!(flags(&flat), [MaskingFlag::ZeroGradients]);
    let calls = Cell::new(0);
    let random = |x: &Tensor| {
        calls.set(calls.get() + 1);
        linear(x) * (1.0 + 0.1 * f64::from(calls.get() % 2))
    };
    assert_eq!(flags(&random), [MaskingFlag::Randomised]);
}

#[test]
fn weak_first_attack_is_told_and_the_later_one_counts() {
    let (greys, labels) = around();
    let test = grey(&greys, labels);
    let weak = Attack::Pgd(Pgd {
        random_start: false,
        step_size: StepSize::Absolute(1e-6),
        ..Pgd::with_steps(1)
    });
    let strong = measure(&spec(bisect(0, 1), 16), &linear, &test);
    let mut both = spec(bisect(0, 1), 16);
    both.attacks = vec![weak, straight()];
    let found = measure(&both, &linear, &test);
    assert_eq!(found.points, strong.points);
    assert_eq!(found.flags, [MaskingFlag::WeakFirstAttack]);
    both.attacks.swap(0, 1);
    assert_eq!(measure(&both, &linear, &test).flags, []);
}
