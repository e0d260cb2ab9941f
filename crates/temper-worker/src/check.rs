//! `temper-worker check`: what this machine's device computes, before a sweep trusts it.

use std::num::NonZeroU32;

use anyhow::Context as _;
use clap::Args;
use temper_core::{
    Epsilon,
    catalog::Catalog,
    schedule::Schedule,
    spec::{
        Augmentation, DataSettings, Hyperparameters, Precision, TrainSpec, TrainingSettings,
        ValidationSettings,
    },
};
use temper_data::Inputs;
use temper_torch::{
    Device, Training,
    check::{Report, check},
};

/// Epochs of each run: the first warms up, the second is timed.
const EPOCHS: u32 = 2;
/// Optimiser steps of an epoch.
const STEPS: u32 = 4;

/// What to check, and with what.
#[derive(Debug, Clone, Args)]
pub struct CheckConfig {
    /// Where tensors live: cpu, or cuda:N
    #[arg(long, env = "TEMPER_DEVICE", default_value = "cpu")]
    pub device: Device,
    /// Network to train, by its name in the built-in catalog
    #[arg(long, default_value = "mobilenetv2")]
    pub model: String,
    /// Data set to train it on
    #[arg(long, default_value = "fashion-mnist")]
    pub dataset: String,
    /// Height and width of the images
    #[arg(long, default_value = "64")]
    pub image_size: NonZeroU32,
    /// Samples of an optimiser step
    #[arg(long, default_value = "32")]
    pub batch_size: NonZeroU32,
    /// Precisions in which to measure the speed
    #[arg(
        long,
        default_value = "fp32,bf16",
        value_delimiter = ',',
        value_parser = precision,
        value_name = "NAMES"
    )]
    pub precisions: Vec<Precision>,
    /// Where images and weights lie.
    #[command(flatten)]
    pub inputs: Inputs,
}

/// Trains a little on the device and compares. On the processor with one thread, as exactness asks
/// for there.
///
/// # Errors
/// When the model or the data set is unknown or missing, or training fails.
pub fn run(config: &CheckConfig) -> anyhow::Result<Report> {
    let spec = spec(config)?;
    let sources = config.inputs.sources()?;
    let splits = sources.training(&spec.dataset, &spec.data)?;
    let weights = sources.weights(&spec.model)?;
    temper_torch::set_threads(1);
    let training = Training {
        spec: &spec,
        weights: &weights,
        train: &splits.train,
        validation: &splits.validation,
        device: config.device,
    };
    check(&training, &config.precisions).context("the check could not be run")
}

fn precision(text: &str) -> Result<Precision, String> {
    let known = Precision::ALL.into_iter();
    let mut found = known.filter(|precision| precision.as_str() == text);
    found.next().ok_or_else(|| "fp32 or bf16".to_owned())
}

/// What is trained for the check.
pub(crate) fn spec(config: &CheckConfig) -> anyhow::Result<TrainSpec> {
    let catalog = Catalog::built_in()?;
    let batch_size = config.batch_size.get();
    Ok(TrainSpec {
        model: catalog.model(&config.model)?,
        dataset: catalog.dataset(&config.dataset)?,
        ramp: Schedule::Fixed.ramp(Epsilon::new(4, 255)?, EPOCHS),
        hyperparameters: Hyperparameters {
            batch_size,
            ..Hyperparameters::default()
        },
        training: TrainingSettings {
            epochs: EPOCHS,
            augmentation: Augmentation::NONE,
            ..TrainingSettings::default()
        },
        data: DataSettings {
            image_size: config.image_size.get(),
            train_samples: batch_size.saturating_mul(STEPS),
            validation_samples: 0,
            split_seed: 0,
        },
        validation: ValidationSettings {
            robust_samples: 0,
            ..ValidationSettings::default()
        },
        seed: 0,
    })
}
