//! The worker protocol against a real coordinator on a real PostgreSQL, spoken by hand: what a
//! worker may do late, twice, or under another's lease.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use temper_coordinator::{Config, run};
use temper_core::{Digest, catalog::Catalog};
use temper_proto::v1::{
    self, complete_request::Result as Outcome, job_service_client::JobServiceClient,
    sweep_service_client::SweepServiceClient, worker_service_client::WorkerServiceClient,
};
use temper_service::{client::connect, server::Server, stop::Stop};
use temper_store::testing::Database;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::{Code, Status, transport::Channel};

/// Two seconds: long enough to act within, short enough to wait out.
const LEASE: Duration = Duration::from_secs(2);

struct House {
    stop: Stop,
    running: JoinHandle<anyhow::Result<()>>,
    channel: Channel,
    objects: TempDir,
    _database: Database,
}

impl House {
    async fn open() -> anyhow::Result<Self> {
        let database = Database::new().await?;
        let objects = tempfile::tempdir()?;
        let config = Config {
            database_url: database.url().to_owned(),
            connections: 4,
            object_store: format!("file://{}", objects.path().display()),
            catalog: Catalog::built_in()?,
            hub: temper_coordinator::hub()?,
            lease: LEASE,
            heartbeat: LEASE / 3,
            janitor: Duration::from_millis(50),
        };
        let server = Server::bind("127.0.0.1:0".parse()?).await?;
        let url = format!("http://{}", server.address());
        let stop = Stop::new();
        let running = tokio::spawn(run(config, server, stop.clone()));
        let channel = connect(&url).await?;
        Ok(Self {
            stop,
            running,
            channel,
            objects,
            _database: database,
        })
    }

    async fn close(self) -> anyhow::Result<()> {
        self.stop.gracefully();
        self.running.await?
    }

    /// A sweep of one training and one evaluation.
    async fn submit(&self, request_id: &str) -> Result<v1::Sweep, Status> {
        let kind = Some(v1::schedule::Kind::Fixed(v1::schedule::Fixed {}));
        let spec = v1::SweepSpec {
            models: vec!["mobilenetv2".to_owned()],
            datasets: vec!["fashion-mnist".to_owned()],
            schedules: vec![v1::Schedule { kind }],
            target_epsilons: vec!["2/255".to_owned()],
            seeds: vec![0],
            training: Some(v1::TrainingSettings {
                epochs: Some(2),
                ..Default::default()
            }),
            ..v1::SweepSpec::default()
        };
        let request = v1::CreateSweepRequest {
            sweep: Some(v1::Sweep {
                spec: Some(spec),
                ..v1::Sweep::default()
            }),
            request_id: request_id.to_owned(),
            validate_only: false,
        };
        let mut client = SweepServiceClient::new(self.channel.clone());
        client
            .create_sweep(request)
            .await
            .map(tonic::Response::into_inner)
    }

    async fn job(&self, name: &str) -> anyhow::Result<v1::Job> {
        let mut client = JobServiceClient::new(self.channel.clone());
        let request = v1::GetJobRequest {
            name: name.to_owned(),
        };
        Ok(client.get_job(request).await?.into_inner())
    }

    async fn artifact(&self, name: &str, selection: v1::Selection) -> anyhow::Result<Vec<u8>> {
        let mut client = JobServiceClient::new(self.channel.clone());
        let request = v1::GetArtifactRequest {
            name: name.to_owned(),
            selection: selection.into(),
        };
        let mut parts = client.get_artifact(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(message) = parts.message().await? {
            if let Some(v1::get_artifact_response::Part::Chunk(chunk)) = message.part {
                bytes.extend(chunk);
            }
        }
        Ok(bytes)
    }
}

/// A worker spoken by hand.
struct Hand {
    client: WorkerServiceClient<Channel>,
    incarnation: String,
    objects: PathBuf,
}

impl Hand {
    async fn register(house: &House, name: &str) -> anyhow::Result<Self> {
        let mut client = WorkerServiceClient::new(house.channel.clone());
        let incarnation = uuid::Uuid::new_v4().to_string();
        let request = v1::RegisterRequest {
            incarnation: incarnation.clone(),
            worker: name.to_owned(),
            device: "cpu".to_owned(),
            memory_bytes: 0,
            result_versions: vec![temper_core::spec::RESULT_VERSION],
            precisions: Vec::new(),
        };
        client.register(request).await?;
        Ok(Self {
            client,
            incarnation,
            objects: house.objects.path().to_owned(),
        })
    }

    /// Waits for a job as long as a worker would.
    async fn lease(&mut self) -> anyhow::Result<v1::Assignment> {
        let wait = Some(prost_types::Duration {
            seconds: 20,
            nanos: 0,
        });
        let request = v1::LeaseRequest {
            incarnation: self.incarnation.clone(),
            wait,
        };
        self.client
            .lease(request)
            .await?
            .into_inner()
            .assignment
            .context("no job")
    }

    async fn report(&mut self, lease: &v1::LeaseRef, epochs: &[u32]) -> Result<(), Status> {
        let epochs = epochs.iter().map(|&epoch| v1::EpochMetrics {
            epoch,
            ..v1::EpochMetrics::default()
        });
        let request = v1::ReportEpochsRequest {
            lease: Some(lease.clone()),
            epochs: epochs.collect(),
        };
        self.client.report_epochs(request).await.map(|_| ())
    }

    /// Puts a model into the lease's own folder and hands it in.
    async fn complete(&mut self, job: &v1::Assignment, model: &[u8]) -> Result<(), Status> {
        let lease = job.lease.clone().unwrap_or_default();
        let result = v1::TrainResult {
            artifact: Some(self.put(job, "model.safetensors", model)?),
            epochs: 2,
            ..v1::TrainResult::default()
        };
        self.hand_in(&lease, Outcome::Train(result)).await
    }

    /// Puts a file into the lease's own folder.
    fn put(&self, job: &v1::Assignment, name: &str, bytes: &[u8]) -> Result<v1::Artifact, Status> {
        let fence = job.lease.clone().unwrap_or_default().fence;
        let path = format!("{}/{fence}/{name}", job.key);
        let file = self.objects.join(&path);
        let put = file.parent().map_or(Ok(()), fs::create_dir_all);
        put.and_then(|()| fs::write(file, bytes))
            .map_err(|e| Status::internal(e.to_string()))?;
        Ok(v1::Artifact {
            path,
            sha256: Digest::of(bytes).to_string(),
            size: i64::try_from(bytes.len()).unwrap_or_default(),
        })
    }

    async fn hand_in(&mut self, lease: &v1::LeaseRef, result: Outcome) -> Result<(), Status> {
        let request = v1::CompleteRequest {
            lease: Some(lease.clone()),
            result: Some(result),
        };
        self.client.complete(request).await.map(|_| ())
    }

    /// Puts a checkpoint of so many steps and registers it.
    async fn checkpoint(&mut self, job: &v1::Assignment, step: i64) -> anyhow::Result<PathBuf> {
        let state = self.put(job, &step.to_string(), &step.to_be_bytes())?;
        let file = self.objects.join(&state.path);
        let request = v1::RegisterCheckpointRequest {
            lease: job.lease.clone(),
            checkpoint: Some(v1::Checkpoint {
                step,
                epochs: 0,
                path: state.path,
                sha256: state.sha256,
                size: state.size,
            }),
        };
        self.client.register_checkpoint(request).await?;
        Ok(file)
    }

    async fn heartbeat(&mut self, lease: &v1::LeaseRef) -> anyhow::Result<v1::LeaseStatus> {
        let request = v1::HeartbeatRequest {
            incarnation: self.incarnation.clone(),
            leases: vec![lease.clone()],
        };
        let answer = self.client.heartbeat(request).await?.into_inner();
        answer.statuses().next().context("no status")
    }
}

#[tokio::test]
async fn late_worker_is_refused_with_a_reason_and_its_files_harm_nothing() -> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut late = Hand::register(&house, "late").await?;
    let mut successor = Hand::register(&house, "successor").await?;
    let first = late.lease().await?;
    let first_lease = first.lease.clone().context("a lease")?;
    late.report(&first_lease, &[0, 1]).await?;
    // No heartbeat: the lease runs out, and the waiting successor is given the job.
    let second = successor.lease().await?;
    let second_lease = second.lease.clone().context("a lease")?;
    ensure!(second_lease.job == first_lease.job && second_lease.fence > first_lease.fence);
    ensure!(late.heartbeat(&first_lease).await? == v1::LeaseStatus::Lost);
    ensure!(successor.heartbeat(&second_lease).await? == v1::LeaseStatus::Continue);

    let refused = late
        .complete(&first, b"late model")
        .await
        .err()
        .context("accepted")?;
    ensure!(refused.code() == Code::Aborted, "{refused:?}");
    ensure!(refused.message().contains("lease"), "{refused:?}");
    let refused = late
        .report(&first_lease, &[0])
        .await
        .err()
        .context("accepted")?;
    ensure!(refused.code() == Code::Aborted, "{refused:?}");

    // The late worker's epochs went with its lease: handing in without them is refused.
    let gap = successor
        .complete(&second, b"model")
        .await
        .err()
        .context("accepted")?;
    ensure!(gap.code() == Code::FailedPrecondition, "{gap:?}");
    successor.report(&second_lease, &[0, 1]).await?;
    successor.complete(&second, b"model").await?;
    // As after a lost reply.
    successor.complete(&second, b"model").await?;
    ensure!(late.complete(&first, b"late model").await.is_err());

    ensure!(
        house
            .artifact(&second_lease.job, v1::Selection::Unspecified)
            .await?
            == b"model"
    );
    let job = house.job(&second_lease.job).await?;
    let outcomes: Vec<_> = job.attempts.iter().map(v1::Attempt::outcome).collect();
    ensure!(
        outcomes == [v1::AttemptOutcome::Lost, v1::AttemptOutcome::Succeeded],
        "{job:?}"
    );
    house.close().await
}

#[tokio::test]
async fn a_lease_covers_neither_another_folder_nor_another_job() -> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let job = worker.lease().await?;
    let lease = job.lease.clone().context("a lease")?;
    let checkpoint = v1::Checkpoint {
        step: 1,
        epochs: 0,
        path: format!("{}/{}/1", job.key, lease.fence + 1),
        sha256: Digest::of(b"state").to_string(),
        size: 5,
    };
    let request = v1::RegisterCheckpointRequest {
        lease: Some(lease.clone()),
        checkpoint: Some(checkpoint),
    };
    let refused = worker
        .client
        .register_checkpoint(request)
        .await
        .err()
        .context("accepted")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    let mut stolen = Hand::register(&house, "thief").await?;
    let lease = v1::LeaseRef {
        incarnation: stolen.incarnation.clone(),
        ..lease
    };
    let refused = stolen
        .report(&lease, &[0])
        .await
        .err()
        .context("accepted")?;
    ensure!(refused.code() == Code::Aborted, "{refused:?}");
    house.close().await
}

#[tokio::test]
async fn bad_input_fails_the_job_at_once_and_cancels_what_depends_on_it() -> anyhow::Result<()> {
    let house = House::open().await?;
    let sweep = house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let job = worker.lease().await?;
    let request = v1::FailRequest {
        lease: job.lease.clone(),
        failure_class: v1::FailureClass::BadInput.into(),
        message: "weights.safetensors is cut short".to_owned(),
        ..v1::FailRequest::default()
    };
    worker.client.fail(request).await?;
    let mut client = SweepServiceClient::new(house.channel.clone());
    let watched = v1::WatchSweepRequest { name: sweep.name };
    let mut stream = client.watch_sweep(watched).await?.into_inner();
    let mut last = v1::WatchSweepResponse::default();
    while let Some(message) = stream.message().await? {
        last = message;
    }
    let sweep = last.sweep.context("no sweep")?;
    ensure!(sweep.state() == v1::SweepState::Failed, "{sweep:?}");
    let counts = sweep.jobs.unwrap_or_default();
    ensure!((counts.failed, counts.cancelled) == (1, 1), "{counts:?}");
    let lease = job.lease.context("a lease")?;
    ensure!(
        house
            .job(&lease.job)
            .await?
            .message
            .contains("weights.safetensors")
    );
    house.close().await
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_no_name_is_invalid() -> anyhow::Result<()> {
    let house = House::open().await?;
    let mut client = SweepServiceClient::new(house.channel.clone());
    let mut code = async |name: String| {
        let answer = client.get_sweep(v1::GetSweepRequest { name }).await;
        answer.err().map(|status| status.code())
    };
    ensure!(code(format!("sweeps/{}", uuid::Uuid::nil())).await == Some(Code::NotFound));
    ensure!(code("sweeps/one".to_owned()).await == Some(Code::InvalidArgument));
    let refused = house.submit("not a uuid").await.err().context("accepted")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    house.close().await
}

#[tokio::test]
async fn pages_of_sweeps_follow_one_another_without_gap_or_repeat() -> anyhow::Result<()> {
    let house = House::open().await?;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(house.submit("").await?.name);
    }
    made.reverse();
    let mut client = SweepServiceClient::new(house.channel.clone());
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListSweepsRequest {
            page_size: 2,
            page_token,
        };
        let page = client.list_sweeps(request).await?.into_inner();
        ensure!(page.sweeps.len() <= 2);
        listed.extend(page.sweeps.into_iter().map(|sweep| sweep.name));
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    ensure!(listed == made, "{listed:?} {made:?}");
    let request = v1::ListSweepsRequest {
        page_size: 0,
        page_token: "zz".to_owned(),
    };
    let refused = client
        .list_sweeps(request)
        .await
        .err()
        .context("accepted")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    house.close().await
}

/// Waits until a file is gone; a minute is more than enough.
async fn gone(file: &std::path::Path) -> anyhow::Result<()> {
    for _ in 0..1200 {
        if !file.exists() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("{} is still there", file.display())
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
    fs::remove_dir_all(&file)?;
    fs::write(&file, "again")?;
    gone(&file).await?;
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
