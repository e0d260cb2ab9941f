//! Runs: repeatable, resumable to the last bit, and stopped as asked.

use serde_json::Value;
use temper_core::{
    Digest, ErrorKind,
    attack::{Attack, Pgd},
    schedule::Schedule,
    spec::{Augmentation, TrainSpec},
};
use temper_torch::{
    Checkpoint, Control, TorchError, TrainOutcome,
    tensors::{Tensors, write},
};

use crate::support::{Recorder, finished, longer_spec, train_spec, train_stripes};

/// Controls asked in an epoch of the test's spec: 3 steps, the closing, 1 chunk clean, 1 attacked.
const CONTROLS_AN_EPOCH: usize = 6;

fn spec() -> TrainSpec {
    let mut spec = train_spec(Schedule::Linear);
    spec.training.augmentation = Augmentation::default();
    spec
}

/// The checkpoint with another header.
fn with_header(bytes: &[u8], change: impl Fn(&mut Value)) -> Vec<u8> {
    let tensors = Tensors::parse("checkpoint", bytes).unwrap();
    let mut header = serde_json::from_str(tensors.metadata().unwrap()).unwrap();
    change(&mut header);
    let named: Vec<_> = tensors
        .names()
        .map(|name| (name.to_owned(), tensors.get(name).unwrap()))
        .collect();
    let named = named.iter().map(|(name, tensor)| (name.clone(), tensor));
    write(named, header.to_string()).unwrap()
}

/// Stops the run at its `after`th control, resumes from the last checkpoint, and gives the final
/// digest, what both parts reported, and the checkpoint.
fn interrupted(spec: &TrainSpec, after: usize) -> (Digest, Recorder, Checkpoint) {
    let mut first = Recorder::stopping(after, Control::Drain);
    let outcome = train_stripes(spec, None, &mut first).unwrap();
    assert_eq!(outcome, TrainOutcome::Drained);
    let checkpoint = first.checkpoints.pop().unwrap();
    let mut second = Recorder::default();
    let model =
        finished(train_stripes(spec, Some(&checkpoint.to_bytes().unwrap()), &mut second).unwrap());
    first.epochs.append(&mut second.epochs);
    (Digest::of(&model.bytes), first, checkpoint)
}

#[test]
fn run_repeats_to_the_last_bit_and_another_seed_differs() {
    let run = |spec: &TrainSpec| {
        let mut recorder = Recorder::default();
        let model = finished(train_stripes(spec, None, &mut recorder).unwrap());
        (Digest::of(&model.bytes), recorder)
    };
    let (digest, recorder) = run(&spec());
    let (again, repeated) = run(&spec());
    assert_eq!(digest, again);
    assert_eq!(recorder.timeless(), repeated.timeless());
    assert_ne!(digest, run(&TrainSpec { seed: 2, ..spec() }).0);

    let epochs = recorder.timeless();
    assert_eq!(
        epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(),
        [0, 1]
    );
    let strengths: Vec<f64> = epochs.iter().map(|epoch| epoch.epsilon * 255.0).collect();
    assert!(
        (strengths[0] - 4.0 * 2.0 / 6.0).abs() < 1e-9,
        "{strengths:?}"
    );
    assert!(
        (strengths[1] - 4.0 * 5.0 / 6.0).abs() < 1e-9,
        "{strengths:?}"
    );
    assert!(
        epochs
            .iter()
            .all(|epoch| epoch.validation_robust_accuracy.is_some())
    );
    assert!(recorder.epochs.iter().all(|epoch| {
        epoch.images_per_second > 0.0 && (0.0..=1.0).contains(&epoch.loading_share)
    }));
    let states: Vec<_> = recorder
        .checkpoints
        .iter()
        .map(|c| (c.step, c.epochs))
        .collect();
    assert_eq!(states, [(3, 1), (6, 2)]);
    assert_eq!(recorder.controls, 2 * CONTROLS_AN_EPOCH);
}

#[test]
fn run_drained_anywhere_resumes_to_the_same_bits_and_metrics() {
    let mut whole = Recorder::default();
    let model = finished(train_stripes(&spec(), None, &mut whole).unwrap());
    let digest = Digest::of(&model.bytes);
    // In the middle of an epoch, within validation, between epochs, and in the middle of the last.
    let cases = [
        (2, (2, 0)),
        (4, (3, 0)),
        (5, (3, 0)),
        (6, (3, 1)),
        (7, (4, 1)),
    ];
    for (after, state) in cases {
        let (resumed, recorder, checkpoint) = interrupted(&spec(), after);
        assert_eq!((checkpoint.step, checkpoint.epochs), state, "after {after}");
        assert_eq!(resumed, digest, "after {after}");
        assert_eq!(recorder.timeless(), whole.timeless(), "after {after}");
    }
}

#[test]
fn drain_before_the_first_step_leaves_no_checkpoint() {
    let mut recorder = Recorder::stopping(0, Control::Drain);
    assert_eq!(
        train_stripes(&spec(), None, &mut recorder).unwrap(),
        TrainOutcome::Drained
    );
    assert!(recorder.checkpoints.is_empty());
}

#[test]
fn abort_and_an_observer_that_cannot_go_on_stop_the_run() {
    let mut recorder = Recorder::stopping(2, Control::Abort);
    assert_eq!(
        train_stripes(&spec(), None, &mut recorder).unwrap(),
        TrainOutcome::Aborted
    );
    assert!(recorder.checkpoints.is_empty() && recorder.epochs.is_empty());

    let mut recorder = Recorder {
        refuse_epochs: true,
        ..Recorder::default()
    };
    assert_eq!(
        train_stripes(&spec(), None, &mut recorder).unwrap(),
        TrainOutcome::Aborted
    );
    assert_eq!((recorder.epochs.len(), recorder.checkpoints.len()), (1, 0));
}

#[test]
fn checkpoint_that_is_damaged_or_of_another_job_is_told_apart() {
    let (_, _, checkpoint) = interrupted(&spec(), 2);
    let refused = |spec: &TrainSpec, bytes: &[u8]| {
        let error = train_stripes(spec, Some(bytes), &mut Recorder::default()).unwrap_err();
        assert!(matches!(error, TorchError::BadCheckpoint(_)), "{error:?}");
    };
    let bytes = &checkpoint.to_bytes().unwrap();
    refused(&spec(), &bytes[..bytes.len() - 1]);
    refused(&spec(), &bytes[..9]);
    refused(&spec(), b"");
    refused(&TrainSpec { seed: 2, ..spec() }, bytes);
    let model = finished(train_stripes(&spec(), Some(bytes), &mut Recorder::default()).unwrap());
    refused(&spec(), &model.bytes);
    let older = with_header(bytes, |header| {
        header["version"] = 1.into();
        header["counters"]
            .as_object_mut()
            .unwrap()
            .remove("waiting_micros");
    });
    let error = train_stripes(&spec(), Some(&older), &mut Recorder::default()).unwrap_err();
    assert!(error.to_string().contains("layout is 1"), "{error}");
    let asked = u64::from(spec().hyperparameters.batch_size);
    for size in [0, 1, asked + 1, u64::from(u32::MAX)] {
        let other = with_header(bytes, |header| header["micro_batch"] = size.into());
        refused(&spec(), &other);
    }
}

#[test]
fn time_spent_waiting_outlives_a_resume_in_the_middle_of_an_epoch() {
    let (_, _, checkpoint) = interrupted(&spec(), 2);
    assert_eq!((checkpoint.step, checkpoint.epochs), (2, 0));
    // Two steps of eleven days, half of it waiting: what comes after hardly counts.
    let slow = with_header(&checkpoint.to_bytes().unwrap(), |header| {
        let counters = &mut header["counters"];
        assert!(counters["waiting_micros"].as_u64() <= counters["micros"].as_u64());
        counters["micros"] = 1_000_000_000_000_u64.into();
        counters["waiting_micros"] = 500_000_000_000_u64.into();
    });
    let mut recorder = Recorder::default();
    finished(train_stripes(&spec(), Some(&slow), &mut recorder).unwrap());
    let shares: Vec<f64> = recorder.epochs.iter().map(|e| e.loading_share).collect();
    assert!((shares[0] - 0.5).abs() < 1e-2, "{shares:?}");
    // The next epoch is counted by itself.
    assert!(recorder.epochs[1].images_per_second > 1e-3);
}

#[test]
fn augmentation_changes_what_is_learnt_from() {
    let loss = |augmentation| {
        let mut spec = train_spec(Schedule::Standard);
        spec.training.augmentation = augmentation;
        let mut recorder = Recorder::default();
        finished(train_stripes(&spec, None, &mut recorder).unwrap());
        recorder.epochs[0].train_loss
    };
    let plain = loss(Augmentation::NONE);
    let mut flips = Augmentation::NONE;
    flips.horizontal_flip = true;
    let mut turns = Augmentation::NONE;
    turns.rotation_degrees = 20.0;
    let mut colours = Augmentation::NONE;
    colours.color_jitter.contrast = 0.5;
    for varied in [flips, turns, colours] {
        let difference = (loss(varied) - plain).abs();
        assert!(difference > 1e-6, "{varied:?}: {difference}");
    }
}

#[test]
fn loss_that_is_not_finite_is_divergence_with_its_step() {
    let mut spec = spec();
    spec.hyperparameters.learning_rate = 1e30;
    let error = train_stripes(&spec, None, &mut Recorder::default()).unwrap_err();
    assert!(
        matches!(error, TorchError::Diverged { step: 1.., .. }),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::Diverged);
}

#[test]
fn standard_run_crafts_nothing_and_reports_no_robust_accuracy() {
    let mut spec = train_spec(Schedule::Standard);
    let mut recorder = Recorder::default();
    let model = finished(train_stripes(&spec, None, &mut recorder).unwrap());
    assert!(
        recorder
            .epochs
            .iter()
            .all(|e| e.validation_robust_accuracy.is_none())
    );
    assert!(recorder.epochs.iter().all(|e| e.epsilon == 0.0));
    // The attack's settings cannot matter where nothing is attacked.
    spec.training.attack = Attack::Pgd(Pgd::with_steps(7));
    let other = finished(train_stripes(&spec, None, &mut Recorder::default()).unwrap());
    assert_eq!(Digest::of(&model.bytes), Digest::of(&other.bytes));
}

#[test]
fn fine_tuning_learns_the_stripes() {
    let spec = longer_spec(Schedule::Standard);
    let mut recorder = Recorder::default();
    let model = finished(train_stripes(&spec, None, &mut recorder).unwrap());
    let accuracies: Vec<f64> = recorder
        .epochs
        .iter()
        .filter_map(|epoch| epoch.validation_accuracy)
        .collect();
    let losses: Vec<f64> = recorder
        .epochs
        .iter()
        .map(|epoch| epoch.train_loss)
        .collect();
    println!("accuracies {accuracies:?}, losses {losses:?}");
    assert!(losses[11] < losses[0] / 2.0, "{losses:?}");
    assert!(accuracies[11] > 0.5, "{accuracies:?}");
    let trained = Tensors::parse("model", &model.bytes).unwrap();
    assert!(
        trained
            .names()
            .any(|name| name == "blocks.6.0.bn3.running_var")
    );
    assert!(trained.metadata().unwrap().contains("mobilenetv2_100"));
}

#[test]
fn micro_batches_share_one_optimiser_step() {
    let run = |micro_batch_size| {
        let mut spec = spec();
        spec.training.micro_batch_size = micro_batch_size;
        let mut recorder = Recorder::default();
        let outcome = train_stripes(&spec, None, &mut recorder);
        outcome.map(|outcome| (finished(outcome), recorder.epochs[0].train_loss))
    };
    let ((whole, whole_loss), (parts, parts_loss)) = (run(0).unwrap(), run(8).unwrap());
    assert_eq!((parts.steps, parts.epochs), (whole.steps, whole.epochs));
    // Batch norm sees other batches, so the losses are near and not equal.
    assert_ne!(whole.bytes, parts.bytes);
    assert!(
        (whole_loss - parts_loss).abs() < 1.0,
        "{whole_loss} {parts_loss}"
    );
    let error = run(1).unwrap_err();
    assert!(matches!(error, TorchError::BadInput(_)), "{error:?}");
}
