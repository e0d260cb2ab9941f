//! What memory training takes, and what it does when there is not enough; each case in a process
//! of its own, whose memory nobody else uses.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use temper_core::{
    Digest,
    attack::{Attack, Pgd},
    catalog::Catalog,
    report::EpochMetrics,
    schedule::Schedule,
    spec::TrainSpec,
};
use temper_torch::{
    Checkpoint, Control, Device, Interrupted, Observer, TorchError, TrainOutcome, Training,
    set_threads, train,
};

use crate::support::{mobilenet_weights, status_bytes, striped, train_spec, vit_weights};

/// Optimiser steps of the run whose memory must not grow; `make soak` makes them 2,000.
const STEPS: &str = "TEMPER_TEST_STEPS";
const SHORT: u32 = 200;
/// Images of a micro-batch that does not find the room.
const WHOLE: u32 = 512;

/// Starts the ignored test `name` of this file in another process.
fn process(name: &str, variables: &[(&str, &str)]) -> Output {
    let output = Command::new(env::current_exe().unwrap())
        .args([&format!("memory::{name}"), "--exact", "--ignored"])
        .arg("--nocapture")
        // As people have it who look for a bug: where memory is short it must do no harm.
        .env("RUST_BACKTRACE", "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What follows `key` in a child's output.
fn told(output: &Output, key: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(key));
    lines
        .next()
        .unwrap_or_else(|| panic!("no {key} in {text}"))
        .trim()
        .to_owned()
}

/// Notes resident memory before every step, with a checkpoint taken and dropped now and then. Pages
/// of files, libtorch's above all, come and go as the system likes, and are not counted.
#[derive(Default)]
struct Soak(Vec<u64>);

impl Observer for Soak {
    fn control(&mut self) -> Control {
        self.0.push(status_bytes("RssAnon:"));
        Control::Continue
    }

    fn wants_checkpoint(&mut self) -> bool {
        self.0.len().is_multiple_of(50)
    }

    fn epoch(&mut self, _: EpochMetrics) -> Result<(), Interrupted> {
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Interrupted> {
        assert!(!checkpoint.to_bytes().unwrap().is_empty());
        Ok(())
    }
}

#[test]
fn resident_memory_does_not_grow_with_steps() {
    let output = process("child_that_trains_long", &[]);
    assert!(output.status.success());
    let growth: f64 = told(&output, "growth:").parse().unwrap();
    assert!(growth < 0.05, "{growth}");
}

/// Compares the largest of a tenth of the steps after warm-up with that of the last tenth.
#[test]
#[ignore = "run by the test of growing memory, in a process of its own"]
fn child_that_trains_long() {
    let steps = env::var(STEPS).map_or(SHORT, |text| text.parse().unwrap());
    let mut spec = train_spec(Schedule::Fixed);
    spec.training.epochs = steps / 5;
    spec.training.attack = Attack::Pgd(Pgd::with_steps(1));
    spec.hyperparameters.batch_size = 8;
    let mut soak = Soak::default();
    run(&spec, &mobilenet_weights(), 40, &mut soak).unwrap();
    let (all, tenth) = (soak.0, steps as usize / 10);
    assert!(all.len() >= steps as usize, "{}", all.len());
    #[expect(clippy::cast_precision_loss, reason = "bytes of this process")]
    let most = |part: &[u64]| part.iter().copied().max().unwrap() as f64;
    let warm = all.len() / 3;
    let (early, late) = (&all[warm..warm + tenth], &all[all.len() - tenth..]);
    println!("steps: {steps}");
    println!("resident: {} MiB", most(late) / f64::from(1 << 20));
    println!("growth: {}", most(late) / most(early) - 1.0);
}

/// Lets the process have `room` more bytes once the model is loaded.
struct Cramped {
    room: Option<u64>,
    before: u64,
}

impl Observer for Cramped {
    fn control(&mut self) -> Control {
        if self.before == 0 {
            self.before = status_bytes("VmSize:");
            if let Some(room) = self.room {
                let limit = format!("--as={}", self.before + room);
                let own = format!("--pid={}", std::process::id());
                assert!(
                    Command::new("prlimit")
                        .args([own, limit])
                        .status()
                        .unwrap()
                        .success()
                );
            }
        }
        Control::Continue
    }

    fn wants_checkpoint(&mut self) -> bool {
        false
    }

    fn epoch(&mut self, _: EpochMetrics) -> Result<(), Interrupted> {
        Ok(())
    }

    fn checkpoint(&mut self, _: Checkpoint) -> Result<(), Interrupted> {
        Ok(())
    }
}

/// A training of `model` in another process: micro-batches of `size`, with `room` more bytes than
/// the loaded model takes.
fn cramped(model: &str, size: u32, room: Option<u64>, weights: &Path) -> Output {
    let (size, room) = (
        size.to_string(),
        room.map_or_else(String::new, |room| room.to_string()),
    );
    let weights = weights.to_str().unwrap();
    let variables = [
        ("CASE", model),
        ("SIZE", &size),
        ("ROOM", &room),
        ("WEIGHTS", weights),
    ];
    process("child_that_is_cramped", &variables)
}

#[test]
#[ignore = "run by the tests of lacking memory, in a process of its own"]
fn child_that_is_cramped() {
    let get = |name| env::var(name).unwrap();
    let mut spec = train_spec(Schedule::Fixed);
    spec.model = Catalog::built_in().unwrap().model("mobilenetv2").unwrap();
    if get("CASE") == "vit" {
        spec.model.architecture = "vit_tiny_patch16_224".to_owned();
    }
    spec.training.epochs = 1;
    spec.training.attack = Attack::Pgd(Pgd::with_steps(1));
    spec.training.micro_batch_size = get("SIZE").parse().unwrap();
    spec.hyperparameters.batch_size = WHOLE;
    let mut observer = Cramped {
        room: get("ROOM").parse().ok(),
        before: 0,
    };
    match run(&spec, &PathBuf::from(get("WEIGHTS")), WHOLE, &mut observer) {
        Ok(TrainOutcome::Finished(model)) => {
            println!("micro-batch: {}", model.micro_batch_size);
            println!("model: {}", Digest::of(&model.bytes));
        }
        Ok(other) => panic!("{other:?}"),
        Err(TorchError::OutOfMemory(text)) => println!("out of memory: {text}"),
        Err(error) => panic!("{error}"),
    }
    println!("taken: {}", status_bytes("VmPeak:") - observer.before);
}

fn run(
    spec: &TrainSpec,
    weights: &Path,
    images: u32,
    observer: &mut dyn Observer,
) -> Result<TrainOutcome, TorchError> {
    set_threads(1);
    let (train_set, validation) = (striped(images, 0), striped(4, 1000));
    let training = Training {
        spec,
        weights,
        train: &train_set,
        validation: &validation,
        device: Device::CPU,
    };
    train(&training, None, observer)
}

/// Room in which micro-batches of `WHOLE` do not fit, and those of a quarter do.
fn too_little(model: &str, weights: &Path) -> u64 {
    let taken = |size| {
        told(&cramped(model, size, None, weights), "taken:")
            .parse::<u64>()
            .unwrap()
    };
    let (whole, quarter) = (taken(WHOLE), taken(WHOLE / 4));
    assert!(whole > quarter + (64 << 20), "{whole} {quarter}");
    // What is asked of the system is more than what is needed: a whole one gets by with less.
    quarter + (whole - quarter) / 4
}

#[test]
fn model_without_batch_norm_goes_on_in_smaller_micro_batches() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("model.safetensors");
    fs::write(&weights, vit_weights(192, 12)).unwrap();
    let room = too_little("vit", &weights);
    let output = cramped("vit", WHOLE, Some(room), &weights);
    let size: u32 = told(&output, "micro-batch:").parse().unwrap();
    assert!([WHOLE / 2, WHOLE / 4].contains(&size), "{size}");
    let asked = cramped("vit", size, None, &weights);
    assert_eq!(
        told(&output, "model:"),
        told(&asked, "model:"),
        "same effective batch, same bits"
    );
}

#[test]
fn model_with_batch_norm_fails_and_says_what_would_fit() {
    let weights = mobilenet_weights();
    let room = too_little("mobilenet", &weights);
    let output = cramped("mobilenet", WHOLE, Some(room), &weights);
    let text = told(&output, "out of memory:");
    assert!(text.contains("MiB were in use at most"), "{text}");
    assert!(
        text.contains(&format!("micro_batch_size {}", WHOLE / 2)),
        "{text}"
    );
}
