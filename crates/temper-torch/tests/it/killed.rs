//! Runs that are killed by the system and go on from what they left on disk, in a process of their
//! own: at the end nothing tells them from a run that was left alone.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use temper_core::{
    Digest, Fraction,
    random::{Keyed, Purpose},
    report::EpochMetrics,
    schedule::Schedule,
    spec::{Objective, TrainSpec},
};
use temper_torch::{Checkpoint, Control, Interrupted, Observer};

use crate::support::{finished, train_spec, train_stripes_with};

/// Kills of a run.
const KILLS: u64 = 3;
/// Times that a run of the spec below asks how to go on.
const CONTROLS: u64 = 24;

fn spec(case: &str) -> TrainSpec {
    let schedule = match case {
        "auto" => Schedule::Auto {
            patience: 1,
            tolerance: Fraction::ONE,
        },
        _ => Schedule::Uniform,
    };
    let mut spec = train_spec(schedule);
    spec.training.epochs = 4;
    spec.training.micro_batch_size = 8;
    spec.training.drop_path = 0.2;
    spec.training.dropout = 0.2;
    if case == "trades" {
        spec.training.objective = Objective::Trades { beta: 6.0 };
    } else {
        spec.training.gradient_clipping = Some(1.0);
        spec.training.label_smoothing = 0.1;
    }
    spec
}

/// Writes all that it is given into a folder, each file whole or not at all.
struct Disk<'a>(&'a Path);

impl Disk<'_> {
    fn put(&self, name: &str, bytes: &[u8]) {
        let partial = self.0.join("partial");
        fs::write(&partial, bytes).unwrap();
        fs::rename(partial, self.0.join(name)).unwrap();
    }
}

impl Observer for Disk<'_> {
    fn control(&mut self) -> Control {
        println!("\ncontrol");
        Control::Continue
    }

    fn wants_checkpoint(&mut self) -> bool {
        true
    }

    fn epoch(&mut self, metrics: EpochMetrics) -> Result<(), Interrupted> {
        let timeless = EpochMetrics {
            images_per_second: 0.0,
            loading_share: 0.0,
            ..metrics
        };
        self.put(
            &format!("epoch-{}", metrics.epoch),
            format!("{timeless:?}").as_bytes(),
        );
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Interrupted> {
        let name = format!("checkpoint-{:04}", checkpoint.step);
        self.put(&name, &checkpoint.to_bytes().unwrap());
        Ok(())
    }
}

/// Files whose names begin with `prefix`, sorted, with their contents' digests.
fn files(folder: &Path, prefix: &str) -> Vec<(String, Digest)> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    let digest = |name: &String| Digest::of(&fs::read(folder.join(name)).unwrap());
    names
        .iter()
        .map(|name| (name.clone(), digest(name)))
        .collect()
}

#[test]
#[ignore = "the process that other tests start"]
fn another_process() {
    let folder = env::var_os("TEST_FOLDER").unwrap();
    let folder = Path::new(&folder);
    let newest = files(folder, "checkpoint-").pop();
    let bytes = newest.map(|(name, _)| fs::read(folder.join(name)).unwrap());
    let spec = spec(&env::var("TEST_CASE").unwrap());
    let mut disk = Disk(folder);
    let model = finished(train_stripes_with(&spec, bytes.as_deref(), &mut disk).unwrap());
    disk.put("result-last", &model.bytes);
    let best = model.best.unwrap();
    disk.put(&format!("result-best-{}", best.epoch), &best.bytes);
}

/// Runs in a process, killed after it has asked `controls` times, if it lives so long.
fn process(case: &str, folder: &Path, controls: u64) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "killed::another_process",
            "--ignored",
            "--nocapture",
        ])
        .env("TEST_FOLDER", folder)
        .env("TEST_CASE", case)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut left = controls;
    for line in lines {
        if line.unwrap() == "control" {
            left -= 1;
        }
        if left == 0 {
            // SIGKILL: nothing is tidied up.
            child.kill().unwrap();
            break;
        }
    }
    let status = child.wait().unwrap();
    assert_eq!(status.success(), left > 0, "{status}");
}

fn results(folder: &Path) -> Vec<(String, Digest)> {
    ["epoch-", "result-"]
        .map(|prefix| files(folder, prefix))
        .concat()
}

fn survives(case: &str) {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    process(case, whole.path(), u64::MAX);
    let expected = results(whole.path());
    assert_eq!(expected.len(), 4 + 2, "{expected:?}");
    for kill in 0..KILLS {
        let mut stream = Keyed::new(11, Purpose::Split, 0, 0).stream(kill);
        process(case, killed.path(), 1 + stream.bits() % (CONTROLS / KILLS));
    }
    assert!(
        files(killed.path(), "result-").is_empty(),
        "it was never killed"
    );
    process(case, killed.path(), u64::MAX);
    assert_eq!(results(killed.path()), expected, "{case}");
}

#[test]
fn killed_run_of_auto_ends_with_the_same_bits() {
    survives("auto");
}

#[test]
fn killed_run_of_uniform_ends_with_the_same_bits() {
    survives("uniform");
}

#[test]
fn killed_run_of_trades_ends_with_the_same_bits() {
    survives("trades");
}
