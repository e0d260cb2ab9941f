//! Objectives, clipping, the best model and checkpoints within an epoch, over whole runs.

use temper_core::{
    Digest,
    schedule::Schedule,
    spec::{AttackSteps, Objective, TrainSpec},
};
use temper_torch::{TorchError, TrainedModel, optim::clip};

use crate::support::{Recorder, finished, longer_spec, train_spec, train_stripes};

fn run(spec: &TrainSpec) -> (TrainedModel, Recorder) {
    let mut recorder = Recorder::default();
    let model = finished(train_stripes(spec, None, &mut recorder).unwrap());
    (model, recorder)
}

fn with(change: impl Fn(&mut TrainSpec)) -> TrainSpec {
    let mut spec = train_spec(Schedule::Linear);
    change(&mut spec);
    spec
}

#[test]
fn settings_of_the_objective_change_what_is_learnt() {
    let digest = |spec: &TrainSpec| Digest::of(&run(spec).0.bytes);
    let plain = digest(&with(|_| {}));
    let changed = [
        with(|spec| spec.training.objective = Objective::Trades { beta: 6.0 }),
        with(|spec| spec.training.label_smoothing = 0.1),
        with(|spec| spec.training.gradient_clipping = Some(0.1)),
        with(|spec| spec.training.attack_steps = AttackSteps::Scaled),
    ];
    for spec in &changed {
        assert_ne!(digest(spec), plain, "{:?}", spec.training);
    }
    // Far above every gradient: nothing is clipped.
    let wide = with(|spec| spec.training.gradient_clipping = Some(1e9));
    assert_eq!(digest(&wide), plain);
}

#[test]
fn trades_without_strength_is_ordinary_training() {
    let mut spec = train_spec(Schedule::Standard);
    let (plain, _) = run(&spec);
    spec.training.objective = Objective::Trades { beta: 6.0 };
    assert_eq!(run(&spec).0.bytes, plain.bytes);
}

#[test]
fn trades_learns_the_stripes() {
    let mut spec = longer_spec(Schedule::Linear);
    spec.training.objective = Objective::Trades { beta: 1.0 };
    let (_, recorder) = run(&spec);
    let last = recorder.epochs[11];
    println!("{last:?}");
    assert!(last.validation_accuracy.unwrap() > 0.5, "{last:?}");
}

#[test]
fn gradients_are_clipped_by_their_length_together() {
    let make = || {
        let a = tch::Tensor::from_slice(&[3.0_f32, 0.0]);
        [a, tch::Tensor::from_slice(&[0.0_f32, 4.0, 0.0])]
    };
    let mut gradients = make();
    assert!((clip(&mut gradients, 1.0) - 5.0).abs() < 1e-6);
    assert!((gradients[0].double_value(&[0]) - 0.6).abs() < 1e-6);
    assert!((gradients[1].double_value(&[1]) - 0.8).abs() < 1e-6);
    let mut gradients = make();
    clip(&mut gradients, 5.1);
    assert_eq!(gradients, make());
    let mut broken = [tch::Tensor::from_slice(&[f32::NAN])];
    assert!(clip(&mut broken, 1.0).is_nan());
}

#[test]
fn best_model_is_that_of_the_first_epoch_with_the_greatest_robust_accuracy() {
    let (model, recorder) = run(&longer_spec(Schedule::Linear));
    let mut best = recorder.epochs[0];
    for epoch in &recorder.epochs {
        if epoch.validation_robust_accuracy > best.validation_robust_accuracy {
            best = *epoch;
        }
    }
    let kept = model.best.unwrap();
    assert_eq!(kept.epoch, best.epoch);
    assert_eq!(kept.bytes == model.bytes, kept.epoch == 11);
    // Resumed behind the best epoch, the run still has its weights.
    let later = &recorder.checkpoints[usize::try_from(best.epoch).unwrap().min(9) + 1];
    let bytes = later.to_bytes().unwrap();
    let spec = longer_spec(Schedule::Linear);
    let resumed = train_stripes(&spec, Some(&bytes), &mut Recorder::default());
    assert_eq!(finished(resumed.unwrap()).best.unwrap(), kept);
}

#[test]
fn wanted_checkpoints_come_between_steps_and_never_twice_for_one_step() {
    let mut recorder = Recorder {
        wants_checkpoints: true,
        ..Recorder::default()
    };
    let spec = train_spec(Schedule::Linear);
    let model = finished(train_stripes(&spec, None, &mut recorder).unwrap());
    let states: Vec<_> = recorder
        .checkpoints
        .iter()
        .map(|c| (c.step, c.epochs))
        .collect();
    assert_eq!(states, [(1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 2)]);
    let bytes = recorder.checkpoints[3].to_bytes().unwrap();
    let resumed = train_stripes(&spec, Some(&bytes), &mut Recorder::default());
    assert_eq!(finished(resumed.unwrap()), model);
    assert_eq!(model, run(&spec).0, "taking them changes nothing");
}

#[test]
fn divergence_names_its_step_and_the_last_checkpoint() {
    let mut spec = train_spec(Schedule::Linear);
    spec.hyperparameters.learning_rate = 1e30;
    let mut recorder = Recorder {
        wants_checkpoints: true,
        ..Recorder::default()
    };
    let error = train_stripes(&spec, None, &mut recorder).unwrap_err();
    let TorchError::Diverged { step, checkpoint } = error else {
        panic!("{error:?}")
    };
    assert_eq!(checkpoint, recorder.checkpoints.last().map(|c| c.step));
    let text = error.to_string();
    assert!(text.contains(&format!("at step {step}")), "{text}");
    assert!(text.contains("the last checkpoint is of step"), "{text}");
}
