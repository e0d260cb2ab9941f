//! `make bench-loader`: images a second that the loader makes ready, against those that one
//! training step takes where it takes most: the fastest model, without an attack, at 224 pixels.

use std::{error::Error, path::Path, process::ExitCode, time::Instant};

use temper_core::{
    Digest, Fraction,
    attack::{Attack, Pgd},
    catalog::{Catalog, Counts, Draw, Layout, PinnedDataset, Source},
    random::{Keyed, Purpose},
    report::EpochMetrics,
    schedule::Schedule,
    spec::{
        Augmentation, DataSettings, Hyperparameters, TrainSpec, TrainingSettings,
        ValidationSettings,
    },
};
use temper_data::ImageSet;
use temper_torch::{
    Checkpoint, Control, Device, Interrupted, Observer, Training, augment, prefetch::Loader,
    set_threads, train,
};

const SIDE: u32 = 224;
const IMAGES: usize = 256;
const BATCH: usize = 64;
const EPOCHS: u32 = 2;

fn main() -> ExitCode {
    match measure() {
        Ok(figures) => {
            let (verdict, status) = if figures.ratio() < 1.0 {
                (
                    "FAILED the loader is slower than the step,",
                    ExitCode::FAILURE,
                )
            } else {
                ("ok", ExitCode::SUCCESS)
            };
            println!("bench-loader: {verdict} {}", figures.line());
            status
        }
        Err(error) => {
            println!("bench-loader: FAILED {error}");
            ExitCode::FAILURE
        }
    }
}

/// Images a second of the loader, without and with start noise, and of the step; shares of time.
struct Figures {
    loader: f64,
    noisy_loader: f64,
    step: f64,
    loading_share: f64,
    augmentation_share: f64,
}

impl Figures {
    fn ratio(&self) -> f64 {
        self.loader / self.step
    }

    fn line(&self) -> String {
        format!(
            "loader={:.0} step={:.1} ratio={:.1} loading_share={:.5} augmentation_share={:.4} \
             loader_with_noise={:.0} batch={BATCH} side={SIDE}",
            self.loader,
            self.step,
            self.ratio(),
            self.loading_share,
            self.augmentation_share,
            self.noisy_loader,
        )
    }
}

fn measure() -> Result<Figures, Box<dyn Error>> {
    set_threads(std::thread::available_parallelism()?.get());
    let set = random_images()?;
    let plain = spec(Schedule::Standard, Augmentation::NONE)?;
    let loader = loader_speed(&plain, &set)?;
    let noisy_loader = loader_speed(&spec(Schedule::Fixed, Augmentation::NONE)?, &set)?;
    let epochs = train_epochs(&plain, &set)?;
    // The fastest epoch asks most of the loader.
    let speeds = epochs.iter().map(|epoch| epoch.images_per_second);
    let step = speeds.fold(0.0, f64::max);
    let batch_seconds = as_float(BATCH) / step;
    let augmentation_seconds = augmentation_seconds(&set)?;
    Ok(Figures {
        loader,
        noisy_loader,
        step,
        loading_share: epochs
            .iter()
            .map(|epoch| epoch.loading_share)
            .fold(0.0, f64::max),
        augmentation_share: augmentation_seconds / (batch_seconds + augmentation_seconds),
    })
}

/// Images a second of the loader alone, over whole epochs.
fn loader_speed(spec: &TrainSpec, set: &ImageSet) -> Result<f64, Box<dyn Error>> {
    let started = Instant::now();
    let mut loader = Loader::start(spec, set, 0)?;
    let images = set.len() * spec.training.epochs as usize;
    let mut seen = 0;
    while seen < images {
        seen += loader.next_batch()?.samples.len();
    }
    Ok(as_float(images) / started.elapsed().as_secs_f64())
}

fn train_epochs(spec: &TrainSpec, set: &ImageSet) -> Result<Vec<EpochMetrics>, Box<dyn Error>> {
    let weights = "../../.local/mirror/models/temper/mobilenetv2_100.deep_sort/model.safetensors";
    let training = Training {
        spec,
        weights: &Path::new(env!("CARGO_MANIFEST_DIR")).join(weights),
        train: set,
        validation: &ImageSet::new(SIDE, 10, Vec::new(), Vec::new())?,
        device: Device::CPU,
    };
    let mut epochs = Epochs(Vec::new());
    train(&training, None, &mut epochs)?;
    Ok(epochs.0)
}

/// Seconds that the paper's augmentation takes for a batch.
fn augmentation_seconds(set: &ImageSet) -> Result<f64, Box<dyn Error>> {
    let mut loader = Loader::start(&spec(Schedule::Standard, Augmentation::default())?, set, 0)?;
    let batch = loader.next_batch()?;
    let side = i64::from(SIDE);
    let pixels = tch::Tensor::from_slice(&batch.pixels).reshape([-1, 3, side, side]);
    let x = pixels.to_kind(tch::Kind::Float) / 255.0;
    let times = (0..9).map(|epoch| {
        let started = Instant::now();
        let drawn = augment::draw(&Augmentation::default(), (0, epoch), &batch.samples);
        let _ = augment::vary(&x, &drawn);
        started.elapsed().as_secs_f64()
    });
    Ok(median(times))
}

fn random_images() -> Result<ImageSet, Box<dyn Error>> {
    let mut stream = Keyed::new(0, Purpose::Split, 0, 0).stream(0);
    let length = IMAGES * 3 * (SIDE * SIDE) as usize;
    let pixels = (0..length / 8).flat_map(|_| stream.bits().to_le_bytes());
    let labels = (0..10).cycle().take(IMAGES).collect();
    Ok(ImageSet::new(SIDE, 10, pixels.collect(), labels)?)
}

fn spec(schedule: Schedule, augmentation: Augmentation) -> Result<TrainSpec, Box<dyn Error>> {
    let dataset = PinnedDataset {
        name: "random".to_owned(),
        classes: 10,
        counts: Counts::default(),
        draw: Draw::default(),
        source: Source::Folder {
            path: "random".to_owned(),
            layout: Layout::ClassFolders,
            list: None,
            manifest: Some(Digest::of(b"")),
        },
    };
    Ok(TrainSpec {
        model: Catalog::built_in()?.model("mobilenetv2")?,
        dataset,
        ramp: schedule.ramp("4/255".parse()?, EPOCHS),
        hyperparameters: Hyperparameters {
            batch_size: u32::try_from(BATCH)?,
            warmup: Fraction::ZERO,
            ..Hyperparameters::default()
        },
        training: TrainingSettings {
            epochs: EPOCHS,
            attack: Attack::Pgd(Pgd::with_steps(1)),
            augmentation,
            ..TrainingSettings::default()
        },
        data: DataSettings {
            image_size: SIDE,
            train_samples: u32::try_from(IMAGES)?,
            validation_samples: 0,
            split_seed: 0,
        },
        validation: ValidationSettings {
            attack: Attack::Pgd(Pgd::with_steps(1)),
            robust_samples: 0,
        },
        seed: 0,
    })
}

/// Keeps what a run reports.
struct Epochs(Vec<EpochMetrics>);

impl Observer for Epochs {
    fn control(&mut self) -> Control {
        Control::Continue
    }

    fn epoch(&mut self, metrics: EpochMetrics) -> Result<(), Interrupted> {
        self.0.push(metrics);
        Ok(())
    }

    fn checkpoint(&mut self, _: Checkpoint) -> Result<(), Interrupted> {
        Ok(())
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "counts of images")]
fn as_float(count: usize) -> f64 {
    count as f64
}
