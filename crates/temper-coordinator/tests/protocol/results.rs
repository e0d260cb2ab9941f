//! What is kept of results, and what is deleted.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use temper_proto::v1::{self, complete_request::Result as Outcome};
use temper_store::testing::tables::Tables;
use tonic::Code;

use crate::house::{Hand, House};

/// Waits until a file is gone; a minute is more than enough.
async fn gone(file: &Path) -> anyhow::Result<()> {
    for _ in 0..1200 {
        if !file.exists() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("{} is still there", file.display())
}

/// Waits until the tables do not tell of a file any more.
async fn forgotten(house: &House, file: &Path) -> anyhow::Result<()> {
    let path = file.strip_prefix(house.objects.path())?;
    for _ in 0..1200 {
        let tables = Tables::read(house.store()).await?;
        let mut told = tables.checkpoints.iter().map(|row| Path::new(&row.path));
        if !told.any(|told| told == path) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("{} is still told of", path.display())
}

#[tokio::test]
async fn old_checkpoints_are_deleted_while_a_job_runs_and_all_of_them_at_its_end()
-> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let job = worker.lease().await?;
    let lease = job.lease.clone().context("a lease")?;
    let mut files = Vec::new();
    for step in 1..=3 {
        files.push(worker.checkpoint(&job, step).await?);
    }
    gone(&files[0]).await?;
    ensure!(files[1].exists() && files[2].exists(), "two are kept");
    worker.report(&lease, &[0, 1]).await?;
    worker.complete(&job, b"model").await?;
    gone(&files[1]).await?;
    gone(&files[2]).await?;
    let model = house.artifact(&lease.job, v1::Selection::Last).await?;
    ensure!(model == b"model", "the model stays");
    house.close().await
}

#[tokio::test]
async fn checkpoint_that_cannot_be_deleted_is_tried_again_and_holds_up_no_other()
-> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let job = worker.lease().await?;
    let file = worker.checkpoint(&job, 1).await?;
    // A folder that is not empty lies in its place: nobody may delete that.
    fs::remove_file(&file)?;
    fs::create_dir(&file)?;
    fs::write(file.join("stone"), "")?;
    let second = worker.checkpoint(&job, 2).await?;
    worker.checkpoint(&job, 3).await?;
    worker.checkpoint(&job, 4).await?;
    gone(&second).await?;
    ensure!(file.exists());
    // Whoever tries again finds nothing that is left to delete.
    fs::remove_dir_all(&file)?;
    forgotten(&house, &file).await?;
    house.close().await
}

#[tokio::test]
async fn best_model_and_memory_of_a_training_are_kept_and_handed_out() -> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let job = worker.lease().await?;
    let lease = job.lease.clone().context("a lease")?;
    worker.report(&lease, &[0, 1]).await?;
    let good = v1::TrainResult {
        artifact: Some(worker.put(&job, "model.safetensors", b"last")?),
        epochs: 2,
        best: Some(worker.put(&job, "best.safetensors", b"best")?),
        best_epoch: 1,
        micro_batch_size: 8,
        peak_memory_bytes: 4096,
    };
    let late = v1::TrainResult {
        best_epoch: 2,
        ..good.clone()
    };
    let negative = v1::TrainResult {
        peak_memory_bytes: -1,
        ..good.clone()
    };
    let mut elsewhere = good.clone();
    elsewhere.best.get_or_insert_default().path = "key/99/best".to_owned();
    for (result, field) in [
        (late, "train.best_epoch"),
        (negative, "train.peak_memory_bytes"),
        (elsewhere, "train.best.path"),
    ] {
        let refused = worker.hand_in(&lease, Outcome::Train(result)).await;
        let refused = refused.err().context("accepted")?;
        ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
        ensure!(format!("{refused:?}").contains(field), "{refused:?}");
    }
    worker.hand_in(&lease, Outcome::Train(good)).await?;
    ensure!(house.artifact(&lease.job, v1::Selection::Last).await? == b"last");
    ensure!(house.artifact(&lease.job, v1::Selection::Best).await? == b"best");
    let shown = house.job(&lease.job).await?;
    ensure!(shown.attempts[0].peak_memory_bytes == 4096, "{shown:?}");
    house.close().await
}

#[tokio::test]
async fn unknown_flags_and_number_formats_are_named() -> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let train = worker.lease().await?;
    let lease = train.lease.clone().context("a lease")?;
    worker.report(&lease, &[0, 1]).await?;
    worker.complete(&train, b"model").await?;
    let lease = worker.lease().await?.lease.context("a lease")?;
    let result = v1::EvaluateResult {
        flags: vec![v1::MaskingFlag::RisingCurve.into(), 99],
        ..v1::EvaluateResult::default()
    };
    let refused = worker.hand_in(&lease, Outcome::Evaluate(result)).await;
    let refused = refused.err().context("accepted")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    ensure!(
        format!("{refused:?}").contains("evaluate.flags[1]"),
        "{refused:?}"
    );
    let request = v1::RegisterRequest {
        incarnation: uuid::Uuid::new_v4().to_string(),
        result_versions: vec![temper_core::spec::RESULT_VERSION],
        precisions: vec![v1::Precision::Bf16.into(), 77],
        ..v1::RegisterRequest::default()
    };
    let refused = worker.client.register(request).await;
    let refused = refused.err().context("accepted")?;
    ensure!(
        format!("{refused:?}").contains("precisions[1]"),
        "{refused:?}"
    );
    house.close().await
}
