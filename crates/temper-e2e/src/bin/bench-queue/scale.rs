//! Large sweeps: one that is expanded and stored, one that is only looked at.

use std::{ops::Range, time::Instant};

use anyhow::{Context as _, ensure};
use temper_e2e::sweeps;
use temper_proto::v1::{self, schedule::Kind, sweep_service_client::SweepServiceClient};
use temper_store::testing::bench;

use crate::{Plan, place::Place, rounds::per_job};

/// Cells that a sweep has for each of its seeds: four schedules by five target strengths.
pub const CELLS_A_SEED: u32 = 20;
/// Epochs of a training.
pub const EPOCHS: u32 = 5;
/// Points of an evaluation: 0 to 4/255.
pub const POINTS: u32 = 5;
/// Samples of each.
pub const SAMPLES: u32 = 100;
/// Answers repeat the request, whose seeds make it large.
const LARGEST_ANSWER: usize = 16 << 20;

/// What large sweeps cost.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Cells that were expanded and stored.
    pub cells: u32,
    /// Seconds from the call of `CreateSweep` to its answer.
    pub expand_s: f64,
    /// The coordinator's peak of resident memory by then, in megabytes.
    pub rss_mb: f64,
    /// Bytes on disk that each of its jobs takes, with what links it to the sweep.
    pub job_bytes: f64,
    /// Cells that were looked at.
    pub previewed: u32,
    /// Seconds from the call with `validate_only` to its answer.
    pub preview_s: f64,
    /// Jobs that were looked up for the estimate of what is shared.
    pub looked_up: u32,
    /// The estimate.
    pub shared: u32,
    /// The coordinator's peak by then.
    pub preview_rss_mb: f64,
}

/// A sweep with these seeds, whose jobs nothing else has asked for unless it had one of them.
pub fn request(seeds: Range<u32>, priority: i32) -> v1::CreateSweepRequest {
    let mut request = sweeps::tiny(seeds.map(u64::from));
    let spec = sweeps::spec(&mut request);
    let kinds = [
        Kind::Fixed(v1::schedule::Fixed {}),
        Kind::TwoHinge(v1::schedule::TwoHinge::default()),
        Kind::Linear(v1::schedule::Linear {}),
        Kind::Cosine(v1::schedule::Cosine::default()),
    ];
    spec.schedules = kinds.map(|kind| v1::Schedule { kind: Some(kind) }).to_vec();
    spec.target_epsilons = (1..=5).map(|target| format!("{target}/255")).collect();
    spec.training.get_or_insert_default().epochs = Some(EPOCHS);
    for evaluation in &mut spec.evaluations {
        evaluation.grid_end = format!("{}/255", POINTS - 1);
        evaluation.samples = SAMPLES;
    }
    request.sweep.get_or_insert_default().priority = priority;
    request
}

/// Submits the large sweep, whose jobs are the queue from then on, and has a larger one looked at.
/// That one's seeds begin with the same ones, so that it shares jobs.
///
/// # Errors
/// When a sweep is refused, or is not counted rightly.
pub async fn measure(place: &Place, plan: Plan) -> anyhow::Result<Scale> {
    let mut client =
        SweepServiceClient::new(place.submitter().await?).max_decoding_message_size(LARGEST_ANSWER);
    let wanted = request(0..plan.cells / CELLS_A_SEED, 0);
    let started = Instant::now();
    let created = client.create_sweep(wanted).await?.into_inner();
    let expand_s = started.elapsed().as_secs_f64();
    let rss_mb = place.peak_memory()?;
    let stored = bench::sizes(&place.store).await?;
    let counts = (
        u32::try_from(created.cells)?,
        u32::try_from(created.jobs_created)?,
    );
    ensure!(
        counts == (plan.cells, 2 * plan.cells),
        "cells and new jobs are {counts:?} of a sweep of {} cells",
        plan.cells
    );

    let mut wanted = request(0..plan.previewed / CELLS_A_SEED, 0);
    wanted.validate_only = true;
    let started = Instant::now();
    let seen = client.create_sweep(wanted).await?.into_inner();
    let preview_s = started.elapsed().as_secs_f64();
    let preview = seen.preview.context("a preview without counts")?;
    let counts = [seen.cells, preview.trainings, preview.evaluations];
    let expected = i32::try_from(plan.previewed)?;
    ensure!(
        counts == [expected; 3],
        "cells, trainings and evaluations are {counts:?} of {expected} cells"
    );
    Ok(Scale {
        cells: plan.cells,
        expand_s,
        rss_mb,
        job_bytes: per_job(stored.others, 2 * plan.cells),
        previewed: plan.previewed,
        preview_s,
        looked_up: u32::try_from(preview.jobs_looked_up)?,
        shared: u32::try_from(preview.jobs_shared)?,
        preview_rss_mb: place.peak_memory()?,
    })
}
