//! What the tests share: files, images made by a formula, job specs, and an observer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tch::{Kind, Tensor};
use temper_core::{
    Digest, Epsilon, Fraction,
    attack::{Attack, Pgd},
    catalog::{Catalog, Counts, Draw, Layout, PinnedDataset, Source},
    report::EpochMetrics,
    schedule::Schedule,
    spec::{
        Augmentation, CurveMode, DataSettings, EvaluateSpec, Hyperparameters, Selection, TrainSpec,
        TrainingSettings, ValidationSettings,
    },
};
use temper_data::ImageSet;
use temper_torch::{
    Checkpoint, Control, Device, Interrupted, Observer, TorchError, TrainOutcome, TrainedModel,
    Training, set_threads,
    tensors::{Tensors, write},
    train,
};

/// Side of the images that training tests use.
pub const SIDE: u32 = 32;

pub fn mirror(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../.local/mirror")
        .join(path)
}

pub fn mobilenet_weights() -> PathBuf {
    mirror("models/temper/mobilenetv2_100.deep_sort/model.safetensors")
}

pub fn lite0_weights() -> PathBuf {
    mirror("models/temper/tf_efficientnet_lite0.pypi/model.safetensors")
}

pub fn fixture(name: &str) -> Tensors<'static> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    Tensors::read(&folder.join(name)).unwrap()
}

/// The images of `parity/images.py`: `f32[count, 3, side, side]`.
pub fn formula_images(count: i64, side: i64) -> Tensor {
    let mut values = Vec::new();
    for n in 0..count {
        for c in 0..3 {
            for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                values.push((37 * n + 73 * c + 5 * y + 3 * x + (x * y) % 31 + (x * x) / 7) % 256);
            }
        }
    }
    Tensor::from_slice(&values)
        .reshape([count, 3, side, side])
        .to_kind(Kind::Float)
        / 255.0
}

/// A file of a vision transformer's tensors, of patches of 16 pixels, at 224; no two blocks are alike.
pub fn vit_weights(width: i64, depth: u32) -> Vec<u8> {
    let mut shapes = vec![
        ("cls_token".to_owned(), vec![1, 1, width]),
        ("pos_embed".to_owned(), vec![1, 197, width]),
        ("patch_embed.proj.weight".to_owned(), vec![width, 3, 16, 16]),
        ("patch_embed.proj.bias".to_owned(), vec![width]),
        ("norm.weight".to_owned(), vec![width]),
        ("norm.bias".to_owned(), vec![width]),
    ];
    for block in 0..depth {
        let mut layer = |name: &str, outputs, inputs| {
            let name = format!("blocks.{block}.{name}");
            let weight = if inputs == 0 {
                vec![outputs]
            } else {
                vec![outputs, inputs]
            };
            shapes.push((format!("{name}.weight"), weight));
            shapes.push((format!("{name}.bias"), vec![outputs]));
        };
        layer("norm1", width, 0);
        layer("norm2", width, 0);
        layer("attn.qkv", 3 * width, width);
        layer("attn.proj", width, width);
        layer("mlp.fc1", 4 * width, width);
        layer("mlp.fc2", width, 4 * width);
    }
    let tensors = shapes.into_iter().zip(0_u32..).map(|((name, shape), i)| {
        let count: i64 = shape.iter().product();
        let angles =
            Tensor::arange(count, (Kind::Float, tch::Device::Cpu)) * (0.7 + 0.01 * f64::from(i));
        (name, (angles.sin() * 0.05).reshape(shape))
    });
    let tensors: Vec<_> = tensors.collect();
    let named = tensors.iter().map(|(name, tensor)| (name.clone(), tensor));
    write(named, String::new()).unwrap()
}

/// Bytes of this process under `name` in `/proc/self/status`.
pub fn status_bytes(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.unwrap().trim_end_matches("kB").trim();
    1024 * kibibytes.parse::<u64>().unwrap()
}

pub fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

/// Images of stripes, whose direction and colour tell the class of 4, under much noise.
pub fn striped(count: u32, offset: u32) -> ImageSet {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for n in offset..offset + count {
        let class = n % 4;
        labels.push(i64::from(class));
        let mut noise = n.wrapping_mul(2_654_435_761);
        for channel in 0..3 {
            for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
                let along = if class < 2 { x } else { y };
                let on = (along + n / 4) / 4 % 2 == 0 && channel % 2 == class % 2;
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let value = 90 + if on { 25 } else { 0 } + (noise >> 24) % 90;
                pixels.push(u8::try_from(value).unwrap());
            }
        }
    }
    ImageSet::new(SIDE, 4, pixels, labels).unwrap()
}

pub fn epsilon(text: &str) -> Epsilon {
    text.parse().unwrap()
}

/// A short run of `MobileNetV2` on 40 images of 4 classes: 2 epochs of 3 steps, PGD-2.
pub fn train_spec(schedule: Schedule) -> TrainSpec {
    let source = Source::Folder {
        path: "stripes".to_owned(),
        layout: Layout::ClassFolders,
        list: None,
        manifest: Some(Digest::of(b"")),
    };
    TrainSpec {
        model: Catalog::built_in().unwrap().model("mobilenetv2").unwrap(),
        dataset: PinnedDataset {
            name: "stripes".to_owned(),
            classes: 4,
            counts: Counts::default(),
            draw: Draw::default(),
            source,
        },
        ramp: schedule.ramp(epsilon("4/255"), 2),
        hyperparameters: Hyperparameters {
            learning_rate: 1e-3,
            head_learning_rate: 1e-2,
            weight_decay: 1e-2,
            batch_size: 16,
            warmup: Fraction::new(1, 6).unwrap(),
        },
        training: TrainingSettings {
            epochs: 2,
            attack: Attack::Pgd(Pgd::with_steps(2)),
            augmentation: Augmentation {
                horizontal_flip: true,
                ..Augmentation::NONE
            },
            ..TrainingSettings::default()
        },
        data: DataSettings {
            image_size: SIDE,
            train_samples: 40,
            validation_samples: 20,
            split_seed: 0,
        },
        validation: ValidationSettings {
            attack: Attack::Pgd(Pgd::with_steps(2)),
            robust_samples: 10,
        },
        seed: 1,
    }
}

/// A run of 12 epochs of 5 steps, which learns: enough steps for the running statistics of batch
/// norm (momentum 0.1) to follow.
pub fn longer_spec(schedule: Schedule) -> TrainSpec {
    let mut spec = train_spec(schedule);
    spec.training.epochs = 12;
    spec.hyperparameters.batch_size = 8;
    spec.hyperparameters.learning_rate = 3e-4;
    spec.hyperparameters.head_learning_rate = 3e-3;
    spec
}

pub fn evaluate_spec(train: TrainSpec) -> EvaluateSpec {
    EvaluateSpec {
        train,
        attacks: vec![Attack::Pgd(Pgd::with_steps(3))],
        model: Selection::Last,
        grid: Epsilon::grid(epsilon("4/255"), epsilon("1/255")),
        mode: CurveMode::Monotone,
        samples: 0,
        seed: 5,
    }
}

/// Records what it is given, and may answer `stop` once that many controls were asked.
#[derive(Default)]
pub struct Recorder {
    pub epochs: Vec<EpochMetrics>,
    pub checkpoints: Vec<Checkpoint>,
    pub controls: usize,
    pub stop: Option<(usize, Control)>,
    pub refuse_epochs: bool,
    /// Wants a checkpoint before every step.
    pub wants_checkpoints: bool,
}

impl Recorder {
    pub fn stopping(after: usize, control: Control) -> Self {
        Self {
            stop: Some((after, control)),
            ..Self::default()
        }
    }

    /// The metrics without the one that is a time.
    pub fn timeless(&self) -> Vec<EpochMetrics> {
        self.epochs
            .iter()
            .map(|epoch| EpochMetrics {
                images_per_second: 0.0,
                loading_share: 0.0,
                ..*epoch
            })
            .collect()
    }
}

impl Observer for Recorder {
    fn control(&mut self) -> Control {
        self.controls += 1;
        match self.stop {
            Some((after, control)) if self.controls > after => control,
            _ => Control::Continue,
        }
    }

    fn epoch(&mut self, metrics: EpochMetrics) -> Result<(), Interrupted> {
        self.epochs.push(metrics);
        if self.refuse_epochs {
            Err(Interrupted)
        } else {
            Ok(())
        }
    }

    fn wants_checkpoint(&mut self) -> bool {
        self.wants_checkpoints
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Interrupted> {
        self.checkpoints.push(checkpoint);
        Ok(())
    }
}

/// Trains on 40 stripes, validating on 20 others, on one thread.
pub fn train_stripes(
    spec: &TrainSpec,
    resume: Option<&[u8]>,
    recorder: &mut Recorder,
) -> Result<TrainOutcome, TorchError> {
    train_stripes_with(spec, resume, recorder)
}

/// The same before any observer.
pub fn train_stripes_with(
    spec: &TrainSpec,
    resume: Option<&[u8]>,
    observer: &mut dyn Observer,
) -> Result<TrainOutcome, TorchError> {
    set_threads(1);
    let (train_set, validation) = (striped(40, 0), striped(20, 1000));
    let training = Training {
        spec,
        weights: &mobilenet_weights(),
        train: &train_set,
        validation: &validation,
        device: Device::CPU,
    };
    train(&training, resume, observer)
}

pub fn finished(outcome: TrainOutcome) -> TrainedModel {
    match outcome {
        TrainOutcome::Finished(model) => model,
        other => panic!("{other:?}"),
    }
}
