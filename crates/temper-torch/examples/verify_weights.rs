//! The catalog's models on real weights and real photos: `make verify-weights`.
//!
//! Each model's file is taken from a mirror folder or fetched from the hub, held against its
//! digest, and loaded strictly. Those with an `ImageNet` head then classify the 20 photos of `make
//! setup`, prepared as their entry says; the bundled Lite0 gets 18 right. Those without one (CLIP's
//! towers and the bundled `MobileNetV2`) show that their features are numbers, and no more.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Parser;
use tch::{Kind, Tensor};
use temper_core::{
    ErrorKind,
    catalog::{Catalog, EvalTransform, ModelEntry, PinnedModel},
};
use temper_data::{DataError, Inputs, Presence, Sources, eval_image};
use temper_torch::{
    Device,
    models::{Architecture, Head, Mode, Network},
    tensors::Tensors,
};

/// Photos of 20 that a network with an `ImageNet` head must know.
const KNOWN: usize = 16;
const IMAGENET: u32 = 1000;

/// Checks the catalog's models on real weights and photos
#[derive(Parser)]
struct Args {
    /// Only these models
    names: Vec<String>,
    #[command(flatten)]
    inputs: Inputs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (mut facts, mut failures) = (Vec::new(), Vec::new());
    let mut note = |name: &str, outcome: anyhow::Result<String>| match outcome {
        Ok(fact) => facts.push(format!("{name}={fact}")),
        Err(error) => failures.push(format!("{name}: {error:#}")),
    };
    match prepare(&args) {
        Ok((catalog, sources, photos)) => {
            let wanted = |name: &String| args.names.is_empty() || args.names.contains(name);
            // A hub that cannot be reached is asked once: each time takes a minute of tries.
            let mut away = false;
            for (name, entry) in catalog.models.iter().filter(|(name, _)| wanted(name)) {
                if away && sources.find_model(entry) == Presence::Absent {
                    note(name, Err(anyhow!("the hub could not be reached")));
                    continue;
                }
                let outcome = verify(&sources, (name, entry), &photos);
                let error = outcome.as_ref().err();
                let error = error.and_then(|error| error.downcast_ref::<DataError>());
                away |= error.is_some_and(|error| error.kind() == ErrorKind::Unavailable);
                note(name, outcome);
            }
        }
        Err(error) => note("set-up", Err(error)),
    }
    for failure in &failures {
        eprintln!("{failure}");
    }
    if failures.is_empty() {
        println!("verify-weights: ok {}", facts.join(" "));
        return ExitCode::SUCCESS;
    }
    let failed: Vec<_> = failures
        .iter()
        .filter_map(|f| f.split(':').next())
        .collect();
    let verified = if facts.is_empty() {
        "none".to_owned()
    } else {
        facts.join(" ")
    };
    println!(
        "verify-weights: FAILED not verified: {}; verified: {verified}",
        failed.join(", ")
    );
    ExitCode::FAILURE
}

/// A photo and its `ImageNet` class.
type Photo = (Vec<u8>, i64);

fn prepare(args: &Args) -> anyhow::Result<(Catalog, Sources, Vec<Photo>)> {
    let mut photos = Vec::new();
    for root in &args.inputs.mirror {
        let folder = root.join("photos/imagenet");
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry?.path();
            if let Some(label) = label(&path) {
                photos.push((fs::read(&path)?, label));
            }
        }
    }
    ensure!(
        photos.len() == 20,
        "{} photos where 20 should be: run `make setup`",
        photos.len()
    );
    Ok((Catalog::built_in()?, args.inputs.sources()?, photos))
}

/// The class in a name `imagenet_<number>_<class>.jpg`.
fn label(path: &Path) -> Option<i64> {
    let stem = path.file_stem()?.to_str()?.strip_prefix("imagenet_")?;
    stem.rsplit('_').next()?.parse().ok()
}

fn verify(
    sources: &Sources,
    (name, entry): (&String, &ModelEntry),
    photos: &[Photo],
) -> anyhow::Result<String> {
    let mut only = Catalog::default();
    only.models.insert(name.clone(), entry.clone());
    let (pinned, missing) = sources.pin(&only);
    if let Some((_, error)) = missing.into_iter().next() {
        return Err(error.into());
    }
    only.overlay(pinned);
    let model = only.model(name)?;
    let file = sources.weights(&model)?;
    temper_torch::run(|| Ok(classify(&model, entry.eval_transform, &file, photos)))?
}

fn classify(
    model: &PinnedModel,
    transform: Option<EvalTransform>,
    file: &Path,
    photos: &[Photo],
) -> anyhow::Result<String> {
    let _no_grad = tch::no_grad_guard();
    let tensors = Tensors::read(file)?;
    let transform = transform.unwrap_or(EvalTransform {
        resize: 256,
        crop: 224,
        filter: temper_core::catalog::Filter::Bicubic,
    });
    let architecture = Architecture {
        prefix: model.prefix.clone(),
        image_size: transform.crop,
        ..Architecture::new(&model.architecture, IMAGENET, model.normalisation)
    };
    let stored = Network::load(&architecture, &tensors, Head::Stored, Device::CPU);
    let Ok(network) = stored else {
        let head = Head::Fresh { seed: 0 };
        let network = Network::load(&architecture, &tensors, head, Device::CPU)?;
        let (photo, _) = photos.first().context("no photos")?;
        let features = network.features(&pixels(photo, transform)?, Mode::Evaluate);
        ensure!(
            features.isfinite().all().int64_value(&[]) == 1,
            "features are no numbers"
        );
        return Ok("loaded".to_owned());
    };
    let mut right = 0;
    for (photo, label) in photos {
        let logits = network.logits(&pixels(photo, transform)?, Mode::Evaluate);
        right += usize::from(logits.argmax(1, false).int64_value(&[0]) == *label);
    }
    if right < KNOWN {
        bail!(
            "{right} of {} photos are right; at least {KNOWN} should be",
            photos.len()
        );
    }
    Ok(format!("{right}/{}", photos.len()))
}

fn pixels(photo: &[u8], transform: EvalTransform) -> anyhow::Result<Tensor> {
    let side = i64::from(transform.crop);
    let pixels = eval_image(photo, transform)?;
    let x = Tensor::from_slice(&pixels).reshape([1, 3, side, side]);
    Ok(x.to_kind(Kind::Float) / 255.0)
}
