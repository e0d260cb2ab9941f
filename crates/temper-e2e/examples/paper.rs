//! One job of each of the paper's models and one on each of its datasets, end to end: `make
//! e2e-paper`. Takes the mirror folder that `parity/export_mirror.py` fills, whose networks are of
//! full size with random weights.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use temper_e2e::{System, paper};

/// Side of the images: all families allow it (`ViT` and Swin fit their tables to it).
const SIZE: u32 = 96;
/// Networks of full size on two busy cores.
const PATIENCE: Duration = Duration::from_mins(40);
/// What the paper trains at.
const PAPER_SIZE: u32 = 224;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(facts) => {
            println!("e2e-paper: ok {facts}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("e2e-paper: FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<String> {
    let started = Instant::now();
    let mirror = std::env::args_os().nth(1).map(PathBuf::from);
    let mirror = mirror.context("usage: paper MIRROR")?;
    let folder = tempfile::tempdir()?;
    let mut options = paper::prepare(folder.path())?;
    options.mirrors.push(mirror);
    options.patience = PATIENCE;
    let mut system = System::start(options).await?;
    let datasets = paper::DATASETS.map(|(name, _)| name);
    let mut jobs = 0;
    for (models, datasets, size) in [
        (&["mobilenetv2"][..], &datasets[..], SIZE),
        (&paper::MODELS[..], &datasets[..1], SIZE),
        (&["vit-base"][..], &datasets[..1], PAPER_SIZE),
    ] {
        let sweep = paper::run(&system, paper::grid(models, datasets, size)).await?;
        println!(
            "{models:?} on {datasets:?} at {size} pixels: {} cells",
            sweep.cells
        );
        jobs += sweep.jobs_created;
    }
    ensure!(jobs == 24, "{jobs} jobs were new where 24 should be");
    system.stop().await?;
    let seconds = started.elapsed().as_secs();
    Ok(format!("models=6 datasets=5 jobs={jobs} seconds={seconds}"))
}
