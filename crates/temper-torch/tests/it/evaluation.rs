//! Curves: what they may not depend on, and what they must agree with.

use std::sync::OnceLock;

use tch::{Kind, Tensor};
use temper_core::{
    ErrorKind, Fraction,
    attack::{Attack, Pgd},
    curve::{Point, expected_robustness},
    schedule::Schedule,
    spec::{CurveMode, EvaluateSpec},
};
use temper_data::ImageSet;
use temper_torch::{
    Control, Device, EvaluateObserver, EvaluateOutcome, Interim, Interrupted, Measurement,
    Progress, StoredModel, TorchError, evaluate,
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

/// Hands over a checkpoint whenever asked and keeps them, and may answer `stop` from that many
/// questions on.
#[derive(Default)]
struct Watcher {
    seen: Vec<Progress>,
    checkpoints: Vec<Interim>,
    stop: Option<(usize, Control)>,
}

impl EvaluateObserver for Watcher {
    fn control(&mut self, progress: Progress) -> Control {
        self.seen.push(progress);
        match self.stop {
            Some((after, control)) if self.seen.len() >= after => control,
            _ => Control::Continue,
        }
    }

    fn checkpoint_due(&mut self) -> bool {
        true
    }

    fn checkpoint(&mut self, checkpoint: Interim) -> Result<(), Interrupted> {
        self.checkpoints.push(checkpoint);
        Ok(())
    }
}

fn run(
    spec: &EvaluateSpec,
    test: &ImageSet,
    resume: Option<&[u8]>,
    watcher: &mut Watcher,
) -> Result<EvaluateOutcome, TorchError> {
    set_threads(1);
    let from = (Device::CPU, resume);
    evaluate(spec, stored(model()), test, from, watcher)
}

fn measure(spec: &EvaluateSpec, test: &ImageSet) -> Measurement {
    match run(spec, test, None, &mut Watcher::default()).unwrap() {
        EvaluateOutcome::Finished(measured) => measured,
        other => panic!("{other:?}"),
    }
}

fn curve(spec: &EvaluateSpec, test: &ImageSet) -> Vec<Point> {
    measure(spec, test).points
}

fn in_mode(mode: CurveMode) -> EvaluateSpec {
    EvaluateSpec { mode, ..spec() }
}

fn bisect(numerator: u32, denominator: u32) -> CurveMode {
    let audit = Fraction::new(numerator, denominator).unwrap();
    CurveMode::Bisect { audit }
}

#[test]
fn curve_repeats_and_falls() {
    let (spec, test) = (spec(), striped(75, 2000));
    let reference = curve(&spec, &test);
    assert_eq!(curve(&spec, &test), reference);
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
    let first = curve(&spec, &test)[0];
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
    assert_eq!(curve(&spec, &test), curve(&other, &test));
}

#[test]
fn evaluation_stops_when_told_to_and_says_how_far_it_is() {
    let (spec, test) = (spec(), striped(150, 2000));
    let mut watcher = Watcher {
        stop: Some((3, Control::Abort)),
        ..Watcher::default()
    };
    let outcome = run(&spec, &test, None, &mut watcher);
    assert_eq!(outcome.unwrap(), EvaluateOutcome::Aborted);
    let seen = watcher.seen;
    let done: Vec<usize> = seen.iter().map(|progress| progress.done).collect();
    // Asked before the first iteration of an attack, and once more at the end.
    assert_eq!(done, [128, 150, 0, 0]);
    let rounds: Vec<usize> = seen.iter().map(|progress| progress.round).collect();
    assert_eq!(rounds, [0, 0, 1, 1]);
    assert!(seen.iter().all(|progress| progress.rounds == 5));
    // No checkpoint once it is to stop.
    assert_eq!(watcher.checkpoints.len(), 2);
}

#[test]
fn modes_agree_on_an_ordinary_model_and_raise_no_flag() {
    let test = striped(75, 2000);
    let exact = measure(&in_mode(CurveMode::Exact), &test);
    let monotone = measure(&in_mode(CurveMode::Monotone), &test);
    let bisect = measure(&in_mode(bisect(1, 1)), &test);
    let area = |measured: &Measurement| expected_robustness(&measured.points).unwrap();
    let areas = [&exact, &monotone, &bisect].map(area);
    println!("areas {areas:?}, audit {:?}", bisect.audit);
    assert!(areas.iter().all(|other| (other - areas[0]).abs() < 0.05));
    for measured in [&exact, &monotone, &bisect] {
        assert_eq!(measured.points[0], exact.points[0]);
        assert_eq!(measured.flags, []);
    }
    assert!(monotone.passes < exact.passes);
    let audit = bisect.audit.unwrap();
    assert_eq!(audit.samples, 75);
    assert!((audit.gap - (areas[2] - areas[0])).abs() < 1e-12);
    assert_eq!((exact.audit, monotone.audit), (None, None));
}

#[test]
fn evaluation_resumes_at_every_hand_over_to_the_same_result() {
    let test = striped(150, 2000);
    for mode in [CurveMode::Exact, CurveMode::Monotone, bisect(1, 3)] {
        let spec = in_mode(mode);
        let mut watcher = Watcher::default();
        let whole = run(&spec, &test, None, &mut watcher).unwrap();
        assert!(watcher.checkpoints.len() > 5);
        assert!(watcher.checkpoints.is_sorted_by(|a, b| a.pairs < b.pairs));
        let pairs = watcher.seen.last().unwrap().pairs;
        for checkpoint in &watcher.checkpoints {
            let mut rest = Watcher::default();
            let bytes = Some(checkpoint.bytes.as_slice());
            let resumed = run(&spec, &test, bytes, &mut rest).unwrap();
            assert_eq!(resumed, whole, "{mode:?} from {}", checkpoint.pairs);
            // It does what is left, and no more.
            let first = rest.seen.first().map_or(pairs, |progress| progress.pairs);
            assert!(first >= checkpoint.pairs, "{first} {}", checkpoint.pairs);
        }
    }
}

#[test]
fn drained_evaluation_hands_over_where_it_stands() {
    let (spec, test) = (in_mode(bisect(0, 1)), striped(150, 2000));
    let whole = run(&spec, &test, None, &mut Watcher::default()).unwrap();
    let questions = spec.attacks[0].steps() as usize + 3;
    let (mut resume, mut drains) = (None::<Vec<u8>>, 0);
    let end = loop {
        // Enough questions for one pool to come to its end, but not for two.
        let mut watcher = Watcher {
            stop: Some((questions, Control::Drain)),
            ..Watcher::default()
        };
        match run(&spec, &test, resume.as_deref(), &mut watcher).unwrap() {
            EvaluateOutcome::Drained => resume = watcher.checkpoints.pop().map(|c| c.bytes),
            end => break end,
        }
        drains += 1;
    };
    assert_eq!(end, whole);
    assert!(drains > 2, "{drains}");
}

#[test]
fn checkpoint_of_another_evaluation_or_layout_is_refused() {
    let (spec, test) = (spec(), striped(32, 2000));
    let mut watcher = Watcher {
        stop: Some((2, Control::Drain)),
        ..Watcher::default()
    };
    run(&spec, &test, None, &mut watcher).unwrap();
    let bytes = watcher.checkpoints.pop().unwrap().bytes;
    let refused = |spec: &EvaluateSpec, test: &ImageSet, bytes: &[u8]| {
        let error = run(spec, test, Some(bytes), &mut Watcher::default()).unwrap_err();
        assert!(matches!(error, TorchError::BadCheckpoint(_)), "{error}");
        error.to_string()
    };
    let other = EvaluateSpec {
        seed: 6,
        ..spec.clone()
    };
    assert!(refused(&other, &test, &bytes).contains("of job"));
    refused(&spec, &striped(31, 2000), &bytes);
    for length in (0..bytes.len()).step_by(7) {
        refused(&spec, &test, &bytes[..length]);
    }
    let json = String::from_utf8(bytes).unwrap();
    let newer = json.replacen("\"version\":1", "\"version\":2", 1);
    assert!(refused(&spec, &test, newer.as_bytes()).contains("layout"));
}

#[test]
fn unsound_inputs_are_refused() {
    let (spec, test) = (spec(), striped(8, 0));
    let error = |spec: &EvaluateSpec, model: &[u8], test: &ImageSet| {
        let watcher = &mut Watcher::default();
        evaluate(spec, stored(model), test, (Device::CPU, None), watcher).unwrap_err()
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
    let points = curve(&spec, &striped(20, 2000));
    assert_eq!((points.len(), points[0].samples), (1, 20));
}
