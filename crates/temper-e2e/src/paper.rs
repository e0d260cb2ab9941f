//! The paper's grid in small: its five datasets as their authors lay them out, with a few
//! generated images each, and jobs of its models on them.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use temper_core::catalog::{Catalog, Draw, Layout};
use temper_data::testing::{Plan, write_layout};
use temper_proto::v1;

use crate::{Options, System, sweeps};

/// The paper's datasets, by catalog name and layout.
pub const DATASETS: [(&str, Layout); 5] = [
    ("cub200", Layout::Cub200),
    ("stanford-dogs", Layout::StanfordDogs),
    ("caltech256", Layout::Caltech256),
    ("stanford-cars", Layout::StanfordCars),
    ("fgvc-aircraft", Layout::FgvcAircraft),
];

/// The paper's models, by catalog name.
pub const MODELS: [&str; 6] = [
    "vit-base",
    "swin-base",
    "convnext-base",
    "resnet50",
    "clip-vit-base",
    "clip-convnext-base",
];

const PLAN: Plan = Plan {
    classes: 4,
    train: 8,
    validation: 4,
    test: 4,
    side: 48,
};

/// Writes the datasets below `folder`, and a catalog that differs from the built-in one in their
/// sizes alone.
///
/// # Errors
/// When a file cannot be written.
pub fn prepare(folder: &Path) -> anyhow::Result<Options> {
    let mut catalog = Catalog::built_in()?;
    let roots = folder.join("roots");
    for (name, layout) in DATASETS {
        let entry = catalog.datasets.get_mut(name).context("no such dataset")?;
        let original = entry.original.as_ref().context("it has no archives")?;
        write_layout(&roots.join(&original.path), layout, PLAN)?;
        entry.classes = PLAN.classes;
        entry.counts = PLAN.counts(layout);
        let pooled = entry.counts.all.map(|_| PLAN.classes * PLAN.test);
        entry.draw = Draw {
            validation: Some(8),
            test: pooled,
            ..Draw::default()
        };
    }
    let path = folder.join("catalog.toml");
    let of_the_paper = |name: &str| DATASETS.iter().any(|(known, _)| *known == name);
    catalog.datasets.retain(|name, _| of_the_paper(name));
    catalog.models.clear();
    fs::write(&path, toml::to_string(&catalog)?)?;
    Ok(Options {
        catalog: Some(path),
        roots: vec![roots],
        ..Options::default()
    })
}

/// One training of each model on each dataset: an epoch of PGD-1 on a few images of `size`
/// pixels, measured on a few others.
#[must_use]
pub fn grid(models: &[&str], datasets: &[&str], size: u32) -> v1::CreateSweepRequest {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut request = sweeps::tiny([0]);
    let spec = sweeps::spec(&mut request);
    spec.models = owned(models);
    spec.datasets = owned(datasets);
    spec.hyperparameters[0].batch_size = Some(4);
    spec.training.get_or_insert_default().epochs = Some(1);
    let validation = spec.validation.get_or_insert_default();
    validation.robust_samples = Some(4);
    spec.data = Some(v1::DataSettings {
        image_size: Some(size),
        train_samples: 8,
        ..v1::DataSettings::default()
    });
    spec.evaluations[0].samples = 4;
    request
}

/// Runs a grid to its end and checks that every cell has a curve.
///
/// # Errors
/// When a job fails, or a curve is missing.
pub async fn run(system: &System, request: v1::CreateSweepRequest) -> anyhow::Result<v1::Sweep> {
    let sweep = system.submit(request).await?;
    let ended = system.finish(&sweep.name).await?;
    let jobs = system.jobs_of(&sweep.name).await?;
    let reasons: Vec<_> = jobs
        .iter()
        .filter(|job| job.state() != v1::JobState::Succeeded)
        .map(|job| format!("{}: {}", job.title, job.message))
        .collect();
    ensure!(reasons.is_empty(), "{}", reasons.join("; "));
    ensure!(ended.state() == v1::SweepState::Succeeded, "{ended:?}");
    ensure!(ended.cells == ended.cells_succeeded, "{ended:?}");
    let request = v1::AggregateCurvesRequest {
        sweep: sweep.name.clone(),
        ..Default::default()
    };
    let curves = system.curves().await?.aggregate_curves(request).await?;
    let groups = curves.into_inner().groups;
    let complete = |group: &v1::CurveGroup| group.count == group.expected_count;
    ensure!(groups.iter().all(complete), "{groups:?}");
    Ok(ended)
}
