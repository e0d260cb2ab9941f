//! The Rust side of comparisons of whole trainings with Python: what `make parity` and
//! `make bench-train` ask for line by line, so that both sides take turns on one machine.
//!
//! Asked `train SCHEDULE STEPS EPOCHS`, it trains `mobilenetv2` afresh and answers with the seconds
//! that its steps took; `save FILE` writes the model that was trained last; `curve MODE FILE`
//! measures that file and answers with seconds and a curve. Images and settings are the peer's too:
//! `write FOLDER` hands them over. `follow OBJECTIVE EPOCHS FOLDER` trains on a few images and
//! leaves in the folder all that a peer needs to do the same: `batches.safetensors`, the model
//! before and after, and answers with the rates and the losses.

use std::{
    fs,
    io::{BufRead as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, bail};
use clap::Parser;
use tch::{Kind, Tensor};
use temper_core::{
    Epsilon, Fraction,
    attack::{Apgd, ApgdLoss, Attack, Pgd},
    catalog::Catalog,
    curve::{Point, expected_robustness},
    report::EpochMetrics,
    schedule::Schedule,
    spec::{
        AttackSteps, Augmentation, CurveMode, DataSettings, EvaluateSpec, Hyperparameters,
        Objective, Selection, TrainSpec, TrainingSettings, ValidationSettings,
    },
};
use temper_data::{ImageSet, Inputs};
use temper_torch::{
    Checkpoint, Control, Device, EvaluateOutcome, Interrupted, Observer, StoredModel, TrainOutcome,
    Training, evaluate, keep_freed_memory,
    models::{Architecture, Head, Network},
    prefetch::Loader,
    set_threads, tensors, train,
};

const BATCH: u32 = 32;
const TEST: u32 = 200;
/// Crafting steps of training.
const STEPS: u32 = 7;
/// Iterations of the attack that measures, on both sides.
const ITERATIONS: u32 = 50;
/// Images of the training that a peer follows step by step.
const FOLLOWED: usize = 5 * BATCH as usize;
/// The paper's, of the divergence in TRADES.
const TRADES_BETA: f64 = 6.0;

#[derive(Parser)]
struct Args {
    /// Threads that libtorch uses
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Height and width of the images
    #[arg(long, default_value_t = 64)]
    side: u32,
    /// Training images
    #[arg(long, default_value_t = 320)]
    images: u32,
    #[command(flatten)]
    inputs: Inputs,
}

fn main() -> anyhow::Result<()> {
    // As the worker does.
    keep_freed_memory();
    let args = Args::parse();
    set_threads(args.threads);
    let mut bench = Bench::new(&args)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["write", folder] => bench.write(&PathBuf::from(folder))?,
            ["train", schedule, steps, epochs] => bench.train(schedule, steps, epochs)?,
            ["save", file] => bench.save(&PathBuf::from(file))?,
            ["curve", mode, file] => bench.curve(mode, &PathBuf::from(file))?,
            ["follow", objective, epochs, folder] => {
                bench.follow(objective, epochs.parse()?, &PathBuf::from(folder))?
            }
            _ => bail!("`{line}` is no command"),
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

struct Bench {
    spec: TrainSpec,
    weights: PathBuf,
    train: Arc<ImageSet>,
    test: Arc<ImageSet>,
    /// No images: an epoch is not validated.
    nothing: Arc<ImageSet>,
    trained: Option<Vec<u8>>,
}

/// Keeps what a run says of its epochs.
#[derive(Default)]
struct Epochs {
    /// That their steps took, the epochs added up.
    seconds_per_image: f64,
    losses: Vec<f64>,
}

impl Observer for Epochs {
    fn control(&mut self) -> Control {
        Control::Continue
    }

    fn wants_checkpoint(&mut self) -> bool {
        false
    }

    fn epoch(&mut self, metrics: EpochMetrics) -> Result<(), Interrupted> {
        self.seconds_per_image += 1.0 / metrics.images_per_second;
        self.losses.push(metrics.train_loss);
        Ok(())
    }

    fn checkpoint(&mut self, _: Checkpoint) -> Result<(), Interrupted> {
        Ok(())
    }
}

impl Bench {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let sources = args.inputs.sources()?;
        let catalog = Catalog::built_in()?;
        let spec = TrainSpec {
            model: catalog.model("mobilenetv2")?,
            dataset: catalog.dataset("fashion-mnist")?,
            ramp: Schedule::Fixed.ramp(target()?, 1),
            hyperparameters: Hyperparameters {
                learning_rate: 3e-3,
                head_learning_rate: 3e-3,
                batch_size: BATCH,
                warmup: Fraction::new(1, 10)?,
                ..Hyperparameters::default()
            },
            training: TrainingSettings {
                epochs: 1,
                attack: Attack::Pgd(Pgd::with_steps(STEPS)),
                augmentation: Augmentation::NONE,
                ..TrainingSettings::default()
            },
            data: DataSettings {
                image_size: args.side,
                train_samples: args.images,
                validation_samples: 0,
                split_seed: 0,
            },
            validation: ValidationSettings {
                robust_samples: 0,
                ..ValidationSettings::default()
            },
            seed: 0,
        };
        let splits = sources.training(&spec.dataset, &spec.data)?;
        let test = sources.test(&spec.dataset, &spec.data, TEST)?;
        Ok(Self {
            weights: sources.weights(&spec.model)?,
            train: splits.train,
            nothing: splits.validation,
            test,
            spec,
            trained: None,
        })
    }

    /// What the peer needs to do the same: images, labels, and where the weights are.
    fn write(&self, folder: &Path) -> anyhow::Result<String> {
        let images = |set: &ImageSet| {
            let pixels: Vec<u8> = set.images().flatten().copied().collect();
            (
                squares(set.size, &pixels).to_kind(Kind::Float) / 255.0,
                Tensor::from_slice(&set.labels),
            )
        };
        let ((x, y), (test_x, test_y)) = (images(&self.train), images(&self.test));
        let (y, test_y) = (y.to_kind(Kind::Float), test_y.to_kind(Kind::Float));
        let named = [
            ("x", &x),
            ("y", &y),
            ("test_x", &test_x),
            ("test_y", &test_y),
        ];
        let named = named.map(|(name, tensor)| (name.to_owned(), tensor));
        fs::write(
            folder.join("images.safetensors"),
            tensors::write(named, String::new())?,
        )?;
        Ok(serde_json::json!({
            "weights": self.weights,
            "batch": BATCH,
            "steps": STEPS,
            "iterations": ITERATIONS,
            "epsilon": target()?.value(),
        })
        .to_string())
    }

    fn train(&mut self, schedule: &str, steps: &str, epochs: &str) -> anyhow::Result<String> {
        let mut spec = self.spec.clone();
        spec.training.epochs = epochs.parse()?;
        spec.training.attack_steps = match steps {
            "scaled" => AttackSteps::Scaled,
            _ => AttackSteps::Fixed,
        };
        spec.ramp = schedule
            .parse::<Schedule>()?
            .ramp(target()?, spec.training.epochs);
        let images = f64::from(spec.data.train_samples);
        let epochs = self.run(spec, &self.train.clone())?;
        Ok((epochs.seconds_per_image * images).to_string())
    }

    /// Trains on `set`, and keeps the model.
    fn run(&mut self, spec: TrainSpec, set: &ImageSet) -> anyhow::Result<Epochs> {
        let training = Training {
            spec: &spec,
            weights: &self.weights,
            train: set,
            validation: &self.nothing,
            device: Device::CPU,
        };
        let mut epochs = Epochs::default();
        let TrainOutcome::Finished(model) = train(&training, None, &mut epochs)? else {
            bail!("the training did not finish");
        };
        self.trained = Some(model.bytes);
        self.spec = spec;
        Ok(epochs)
    }

    fn follow(&mut self, objective: &str, epochs: u32, folder: &Path) -> anyhow::Result<String> {
        let mut spec = self.spec.clone();
        spec.ramp = Schedule::Fixed.ramp(target()?, epochs);
        spec.training.epochs = epochs;
        spec.training.objective = match objective {
            "adversarial" => Objective::Adversarial,
            "trades" => Objective::Trades { beta: TRADES_BETA },
            _ => bail!("`{objective}` is no objective"),
        };
        // As torch's own cosine, which has no warm-up.
        spec.hyperparameters.warmup = Fraction::new(0, 1)?;
        let set = first(&self.train, FOLLOWED)?;
        write_batches(&spec, &set, &folder.join("batches.safetensors"))?;
        let (architecture, head) = (Architecture::of(&spec), Head::Fresh { seed: spec.seed });
        let network = Network::pretrained(&architecture, &self.weights, head, Device::CPU)?;
        fs::write(folder.join("before.safetensors"), network.to_safetensors()?)?;
        let settings = serde_json::json!({
            "learning_rate": spec.hyperparameters.learning_rate,
            "weight_decay": spec.hyperparameters.weight_decay,
            "epsilon": target()?.value(),
            "steps": STEPS,
            "beta": TRADES_BETA,
        });
        let losses = self.run(spec, &set)?.losses;
        self.save(&folder.join("after.safetensors"))?;
        Ok(serde_json::json!({ "settings": settings, "losses": losses }).to_string())
    }

    fn save(&self, file: &Path) -> anyhow::Result<String> {
        fs::write(file, self.trained.as_ref().context("nothing was trained")?)?;
        Ok(file.display().to_string())
    }

    fn curve(&self, mode: &str, file: &Path) -> anyhow::Result<String> {
        let mode = match mode {
            "exact" => CurveMode::Exact,
            "monotone" => CurveMode::Monotone,
            _ => CurveMode::bisect_default(),
        };
        let spec = EvaluateSpec {
            train: self.spec.clone(),
            attacks: vec![Attack::Apgd(Apgd::new(ApgdLoss::Ce, ITERATIONS))],
            model: Selection::Last,
            grid: Epsilon::grid(Epsilon::new(16, 255)?, Epsilon::LEVEL),
            mode,
            samples: TEST,
            seed: 0,
        };
        let bytes = fs::read(file)?;
        let model = StoredModel {
            bytes: &bytes,
            module: None,
        };
        let started = Instant::now();
        let from = (Device::CPU, None);
        let outcome = evaluate(&spec, model, &self.test, from, &mut ())?;
        let EvaluateOutcome::Finished(measured) = outcome else {
            bail!("the measurement did not finish");
        };
        let seconds = started.elapsed().as_secs_f64();
        let accuracies: Vec<f64> = measured.points.iter().map(Point::accuracy).collect();
        Ok(serde_json::json!({
            "seconds": seconds,
            "expected": expected_robustness(&measured.points)?,
            "curve": accuracies,
            "audit": measured.audit,
            "passes": measured.passes,
        })
        .to_string())
    }
}

/// The first `count` images.
fn first(set: &ImageSet, count: usize) -> anyhow::Result<ImageSet> {
    let pixels = set.images().take(count).flatten().copied().collect();
    let labels = set.labels[..count].to_vec();
    Ok(ImageSet::new(set.size, set.classes, pixels, labels)?)
}

/// What the steps of a run compute on: `x.STEP`, `y.STEP` and `noise.STEP` of each.
fn write_batches(spec: &TrainSpec, set: &ImageSet, file: &Path) -> anyhow::Result<()> {
    let mut loader = Loader::start(spec, set, 0)?;
    let steps = spec.training.epochs as usize * set.len() / BATCH as usize;
    let mut named = Vec::new();
    for step in 0..steps {
        let batch = loader.next_batch()?;
        let noise = batch.noise.context("a batch without start noise")?;
        named.extend([
            (
                format!("x.{step}"),
                squares(set.size, &batch.pixels).to_kind(Kind::Float) / 255.0,
            ),
            (format!("y.{step}"), Tensor::from_slice(&batch.labels)),
            (format!("noise.{step}"), squares(set.size, &noise)),
        ]);
    }
    Ok(Tensor::write_safetensors(&named, file)?)
}

/// `[n, 3, side, side]` of a flat list.
fn squares<T: tch::kind::Element>(side: u32, values: &[T]) -> Tensor {
    Tensor::from_slice(values).reshape([-1, 3, i64::from(side), i64::from(side)])
}

fn target() -> anyhow::Result<Epsilon> {
    Ok(Epsilon::new(4, 255)?)
}
