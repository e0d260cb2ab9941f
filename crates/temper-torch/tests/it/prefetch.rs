//! The loader: the batches that the plan says, ahead of time, and its end.

use std::collections::BTreeSet;

use temper_core::{
    ErrorKind,
    attack::{Attack, Pgd},
    random::{Keyed, Purpose},
    schedule::Schedule,
    spec::TrainSpec,
};
use temper_torch::{
    TorchError,
    prefetch::{Batch, Loader},
};

use crate::support::{Recorder, SIDE, mobilenet_weights, striped, train_spec};

/// 2 epochs of 3 steps on 40 images, by micro batches of 6: 3, 3 and 2 (of 6 and 2) a step.
fn spec(schedule: Schedule) -> TrainSpec {
    let mut spec = train_spec(schedule);
    spec.training.micro_batch_size = 6;
    spec
}

/// All batches from `step` on.
fn batches(spec: &TrainSpec, step: u64) -> Vec<Batch> {
    let mut loader = Loader::start(spec, &striped(40, 0), step).unwrap();
    let mut batches = Vec::new();
    loop {
        match loader.next_batch() {
            Ok(batch) => batches.push(batch),
            Err(TorchError::Loader(text)) => {
                assert_eq!(text, "there are no more batches");
                return batches;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn batches_come_in_the_order_of_the_epochs_with_their_samples_own_bytes() {
    let (all, set) = (batches(&spec(Schedule::Standard), 0), striped(40, 0));
    let sizes: Vec<usize> = all.iter().map(|batch| batch.samples.len()).collect();
    assert_eq!(sizes, [6, 6, 4, 6, 6, 4, 6, 2].repeat(2));
    for (epoch, part) in (0_u32..).zip(all.chunks(8)) {
        assert!(part.iter().all(|batch| batch.epoch == epoch));
        let order: Vec<usize> = part.iter().flat_map(|b| b.samples.clone()).collect();
        let keyed = Keyed::new(1, Purpose::Shuffle, epoch, 0);
        assert_eq!(order, keyed.permutation(40));
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 40);
    }
    for batch in &all {
        let pixels: Vec<u8> = batch
            .samples
            .iter()
            .flat_map(|&i| set.image(i).to_vec())
            .collect();
        assert_eq!(batch.pixels, pixels);
        let labels: Vec<i64> = batch.samples.iter().map(|&i| set.labels[i]).collect();
        assert_eq!(batch.labels, labels);
    }
}

#[test]
fn loader_started_at_a_later_step_goes_on_as_one_that_came_there() {
    let spec = spec(Schedule::Linear);
    let all = batches(&spec, 0);
    for (step, passed) in [(1, 3), (2, 6), (3, 8), (5, 14), (6, 16)] {
        assert_eq!(batches(&spec, step), all[passed..], "from step {step}");
    }
}

#[test]
fn noise_is_made_where_the_attack_wants_it_and_is_the_samples_own() {
    let mut spec = spec(Schedule::Linear);
    let all = batches(&spec, 0);
    // A linear ramp is at 0 in its first step alone.
    let has_noise: Vec<bool> = all.iter().map(|batch| batch.noise.is_some()).collect();
    assert_eq!(has_noise, [vec![false; 3], vec![true; 13]].concat());
    let last = all.last().unwrap();
    let length = (3 * SIDE * SIDE) as usize;
    let noise = last.noise.as_ref().unwrap().chunks(length);
    for (&sample, noise) in last.samples.iter().zip(noise) {
        let mut expected = vec![0.0; length];
        let keyed = Keyed::new(1, Purpose::TrainNoise, 1, 0);
        keyed.stream(sample as u64).fill_symmetric(&mut expected);
        assert_eq!(noise, expected);
    }
    spec.training.attack = Attack::Pgd(Pgd {
        random_start: false,
        ..Pgd::with_steps(2)
    });
    assert!(batches(&spec, 0).iter().all(|batch| batch.noise.is_none()));
}

#[test]
fn loader_that_nobody_takes_from_ends_when_dropped() {
    // Were its thread left waiting for room, the drop would never return.
    let mut loader = Loader::start(&spec(Schedule::Linear), &striped(40, 0), 0).unwrap();
    loader.next_batch().unwrap();
    drop(loader);
}

#[test]
fn failure_of_the_loader_is_the_runs_error() {
    let (mut train_set, validation) = (striped(40, 0), striped(4, 1000));
    // A label without an image: reading it panics.
    train_set.labels.push(0);
    let spec = train_spec(Schedule::Standard);
    let training = temper_torch::Training {
        spec: &spec,
        weights: &mobilenet_weights(),
        train: &train_set,
        validation: &validation,
        device: temper_torch::Device::CPU,
    };
    let error = temper_torch::train(&training, None, &mut Recorder::default()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, TorchError::Loader(_)), "{error:?}");
    assert!(text.contains("index out of bounds"), "{text}");
    assert_eq!(error.kind(), ErrorKind::Internal);
}
