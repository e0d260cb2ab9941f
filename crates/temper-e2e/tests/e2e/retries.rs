//! A job that fails tells why in its log, and is tried again once its input is mended.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use temper_core::Digest;
use temper_e2e::{Grpcurl, Options, System, checkout, sweeps};
use temper_proto::v1::{Attempt, AttemptOutcome, FailureClass, JobKind, JobState, SweepState};

const WEIGHTS: &str = "models/temper/mobilenetv2_100.deep_sort/model.safetensors";

/// A catalog with two models whose weights are nowhere; the mirror in which they are looked for.
fn prepare(folder: &Path) -> anyhow::Result<Options> {
    let digest = Digest::of(&fs::read(checkout().join(".local/mirror").join(WEIGHTS))?);
    // They differ in what is trained, so that they share no job.
    let model = |name: &str, mean: &str| {
        format!(
            "[models.{name}]\narchitecture = \"mobilenetv2_100\"\nrepository = \"lab/{name}\"\n\
             file = \"model.safetensors\"\nsha256 = \"{digest}\"\nlicence = \"MIT\"\n\
             normalisation = {{ mean = [{mean}, 0.5, 0.5], std = [0.5, 0.5, 0.5] }}\n"
        )
    };
    let catalog = folder.join("catalog.toml");
    fs::write(
        &catalog,
        [model("late", "0.5"), model("never", "0.4")].join("\n"),
    )?;
    let mirror = folder.join("mirror");
    fs::create_dir_all(&mirror)?;
    Ok(Options {
        catalog: Some(catalog),
        mirrors: vec![checkout().join(".local/mirror"), mirror],
        ..Options::default()
    })
}

/// Puts the weights of `late` where they were missing.
fn mend(folder: &Path) -> anyhow::Result<()> {
    let weights = folder.join("mirror/models/lab/late/model.safetensors");
    fs::create_dir_all(weights.parent().context("no folder")?)?;
    fs::copy(checkout().join(".local/mirror").join(WEIGHTS), weights)?;
    Ok(())
}

#[tokio::test]
async fn failed_job_shows_its_log_and_succeeds_when_retried_after_its_input_is_mended()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut system = System::start(prepare(folder.path())?).await?;
    let mut request = sweeps::tiny([0]);
    sweeps::spec(&mut request).models = ["late", "never"].map(str::to_owned).to_vec();
    let sweep = system.submit(request).await?.name;
    ensure!(system.finish(&sweep).await?.state() == SweepState::Failed);
    let before = system.jobs_of(&sweep).await?;
    let failed = before.iter().find(|job| job.title.starts_with("late"));
    let failed = failed.context("no such job")?;
    ensure!(failed.state() == JobState::Failed, "{failed:?}");
    let class = failed.attempts.first().map(Attempt::failure_class);
    ensure!(class == Some(FailureClass::BadInput), "{failed:?}");

    let coordinator = Grpcurl::new(&system.coordinator, &system.token())?;
    let by_name = format!(r#"{{"name": "{}", "follow": true}}"#, failed.name);
    let log = coordinator
        .call("temper.v1.JobService/GetLogs", &by_name)
        .await?;
    for said in [
        "leased",
        "training",
        "LOG_LEVEL_ERROR",
        "lab/late/model.safetensors",
    ] {
        ensure!(log.contains(said), "{said} is missing in {log}");
    }

    mend(folder.path())?;
    let filter = format!(
        r#"{{"parent": "{sweep}", "filter":
            {{"failureClasses": ["FAILURE_CLASS_BAD_INPUT"], "cells": {{"models": ["late"]}}}}}}"#
    );
    let retried = coordinator
        .call("temper.v1.JobService/RetryJobs", &filter)
        .await?;
    let retried: serde_json::Value = serde_json::from_str(&retried)?;
    ensure!(
        retried["jobs"] == serde_json::json!([failed.name]) && retried["count"] == 1,
        "{retried}"
    );
    let ended = system.finish(&sweep).await?;
    ensure!(ended.cells_succeeded == 1, "{ended:?}");

    for (old, job) in before.iter().zip(system.jobs_of(&sweep).await?) {
        if !job.title.starts_with("late") {
            ensure!(*old == job, "another model's job has changed: {job:?}");
            continue;
        }
        ensure!(job.state() == JobState::Succeeded, "{job:?}");
        if job.kind() == JobKind::Train {
            let outcomes: Vec<_> = job.attempts.iter().map(Attempt::outcome).collect();
            ensure!(outcomes == [AttemptOutcome::Failed, AttemptOutcome::Succeeded]);
            ensure!(job.wasted_share > 0.0 && job.wasted_share < 1.0, "{job:?}");
        }
    }
    let first = format!(r#"{{"name": "{}", "attempt": 1}}"#, failed.name);
    let kept = coordinator
        .call("temper.v1.JobService/GetLogs", &first)
        .await?;
    ensure!(kept.contains("lab/late/model.safetensors"), "{kept}");
    system.stop().await
}
