//! A coordinator on a database of its own, and a worker spoken by hand.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use temper_coordinator::{Config, run};
use temper_core::{Digest, access::Role, catalog::Catalog};
use temper_proto::v1::{
    self, complete_request::Result as Outcome, job_service_client::JobServiceClient,
    sweep_service_client::SweepServiceClient, worker_service_client::WorkerServiceClient,
};
use temper_service::{
    access::Secret,
    client::{Channel, Credentials, connect},
    metrics::Metrics,
    server::Server,
    stop::Stop,
};
use temper_store::{Actor, NewToken, Store, testing::Database};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::Status;

/// Longer than any test: hands send no heartbeats of their own.
pub const LEASE: Duration = Duration::from_mins(1);
/// Long enough to act within, short enough to wait out.
pub const SHORT_LEASE: Duration = Duration::from_secs(4);

pub struct House {
    stop: Stop,
    running: JoinHandle<anyhow::Result<()>>,
    /// Of the submitter.
    pub channel: Channel,
    pub objects: TempDir,
    url: String,
    database: Database,
}

impl House {
    pub async fn open() -> anyhow::Result<Self> {
        Self::open_leasing(LEASE).await
    }

    /// The same, with leases that last so long.
    pub async fn open_leasing(lease: Duration) -> anyhow::Result<Self> {
        Self::open_measured(lease, None).await
    }

    /// The same, telling metrics.
    pub async fn open_measured(lease: Duration, metrics: Option<Metrics>) -> anyhow::Result<Self> {
        let database = Database::new().await?;
        let objects = tempfile::tempdir()?;
        let config = Config {
            database_url: database.url().to_owned(),
            connections: 4,
            object_store: format!("file://{}", objects.path().display()),
            catalog: Catalog::built_in()?,
            hub: temper_coordinator::hub()?,
            lease,
            heartbeat: lease / 3,
            janitor: Duration::from_millis(50),
        };
        let server = Server::bind("127.0.0.1:0".parse()?).await?;
        let server = server.measured(metrics);
        let url = format!("http://{}", server.address());
        let stop = Stop::new();
        let running = tokio::spawn(run(config, server, stop.clone()));
        let token = token(&database, Role::Submitter, "ann").await?;
        let credentials = Credentials::default().with_token(token);
        Ok(Self {
            stop,
            running,
            channel: connect(&url, &credentials).await?,
            objects,
            url,
            database,
        })
    }

    /// The database, as nobody sees it who calls.
    pub fn store(&self) -> &Store {
        self.database.store()
    }

    /// A channel without a token.
    pub async fn stranger(&self) -> anyhow::Result<Channel> {
        Ok(connect(&self.url, &Credentials::default()).await?)
    }

    /// The secret of a fresh token.
    pub async fn token(&self, role: Role, name: &str) -> anyhow::Result<String> {
        let secret = token(&self.database, role, name).await?;
        Ok(secret.reveal().to_owned())
    }

    /// A channel under a fresh token.
    pub async fn channel_of(&self, role: Role, name: &str) -> anyhow::Result<Channel> {
        self.channel_with(token(&self.database, role, name).await?)
            .await
    }

    /// A channel under this token.
    pub async fn channel_with(&self, token: Secret) -> anyhow::Result<Channel> {
        let credentials = Credentials::default().with_token(token);
        Ok(connect(&self.url, &credentials).await?)
    }

    pub async fn close(self) -> anyhow::Result<()> {
        self.stop.gracefully();
        self.running.await?
    }

    /// A sweep of one training and one evaluation.
    pub async fn submit(&self, request_id: &str) -> Result<v1::Sweep, Status> {
        self.submit_seed(request_id, 0).await
    }

    /// The same by another seed.
    pub async fn submit_seed(&self, request_id: &str, seed: u64) -> Result<v1::Sweep, Status> {
        let request = request(request_id, seed);
        let mut client = SweepServiceClient::new(self.channel.clone());
        client
            .create_sweep(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub async fn job(&self, name: &str) -> anyhow::Result<v1::Job> {
        let mut client = JobServiceClient::new(self.channel.clone());
        let request = v1::GetJobRequest {
            name: name.to_owned(),
        };
        Ok(client.get_job(request).await?.into_inner())
    }

    pub async fn artifact(&self, name: &str, selection: v1::Selection) -> anyhow::Result<Vec<u8>> {
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

/// What makes a sweep of one training and one evaluation.
pub fn request(request_id: &str, seed: u64) -> v1::CreateSweepRequest {
    let kind = Some(v1::schedule::Kind::Fixed(v1::schedule::Fixed {}));
    let spec = v1::SweepSpec {
        models: vec!["mobilenetv2".to_owned()],
        datasets: vec!["fashion-mnist".to_owned()],
        schedules: vec![v1::Schedule { kind }],
        target_epsilons: vec!["2/255".to_owned()],
        seeds: vec![seed],
        training: Some(v1::TrainingSettings {
            epochs: Some(2),
            ..Default::default()
        }),
        ..v1::SweepSpec::default()
    };
    v1::CreateSweepRequest {
        sweep: Some(v1::Sweep {
            spec: Some(spec),
            ..v1::Sweep::default()
        }),
        request_id: request_id.to_owned(),
        validate_only: false,
    }
}

/// Makes a token as a command at the database does.
async fn token(database: &Database, role: Role, name: &str) -> anyhow::Result<Secret> {
    let secret = Secret::generate()?;
    let token = NewToken::new(name, role, secret.digest());
    let actor = Actor::at_database("test");
    database.store().token_create(&actor, token).await?;
    Ok(secret)
}

/// A worker spoken by hand.
pub struct Hand {
    pub channel: Channel,
    pub client: WorkerServiceClient<Channel>,
    pub incarnation: String,
    pub objects: PathBuf,
}

impl Hand {
    /// Registers a worker under a token of its own.
    pub async fn register(house: &House, name: &str) -> anyhow::Result<Self> {
        let channel = house.channel_of(Role::Worker, name).await?;
        let mut hand = Self {
            client: WorkerServiceClient::new(channel.clone()),
            channel,
            incarnation: uuid::Uuid::new_v4().to_string(),
            objects: house.objects.path().to_owned(),
        };
        hand.register_again(name).await?;
        Ok(hand)
    }

    /// Says who it is once more.
    pub async fn register_again(&mut self, name: &str) -> anyhow::Result<()> {
        let request = v1::RegisterRequest {
            incarnation: self.incarnation.clone(),
            worker: name.to_owned(),
            device: "cpu".to_owned(),
            memory_bytes: 0,
            result_versions: vec![temper_core::spec::RESULT_VERSION],
            precisions: Vec::new(),
            ..v1::RegisterRequest::default()
        };
        self.client.register(request).await?;
        Ok(())
    }

    /// Waits for a job as long as a worker would.
    pub async fn lease(&mut self) -> anyhow::Result<v1::Assignment> {
        self.ask(false, 20).await?.context("no job")
    }

    /// Asks for a job, saying whether it holds none, and waits so many seconds for one.
    pub async fn ask(
        &mut self,
        idle: bool,
        seconds: i64,
    ) -> anyhow::Result<Option<v1::Assignment>> {
        let wait = Some(prost_types::Duration { seconds, nanos: 0 });
        let request = v1::LeaseRequest {
            idle,
            incarnation: self.incarnation.clone(),
            wait,
            ..v1::LeaseRequest::default()
        };
        Ok(self.client.lease(request).await?.into_inner().assignment)
    }

    pub async fn report(&mut self, lease: &v1::LeaseRef, epochs: &[u32]) -> Result<(), Status> {
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
    pub async fn complete(&mut self, job: &v1::Assignment, model: &[u8]) -> Result<(), Status> {
        let lease = job.lease.clone().unwrap_or_default();
        let result = v1::TrainResult {
            artifact: Some(self.put(job, "model.safetensors", model)?),
            epochs: 2,
            ..v1::TrainResult::default()
        };
        self.hand_in(&lease, Outcome::Train(result)).await
    }

    /// Puts a file into the lease's own folder.
    pub fn put(
        &self,
        job: &v1::Assignment,
        name: &str,
        bytes: &[u8],
    ) -> Result<v1::Artifact, Status> {
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

    pub async fn hand_in(&mut self, lease: &v1::LeaseRef, result: Outcome) -> Result<(), Status> {
        let request = v1::CompleteRequest {
            lease: Some(lease.clone()),
            result: Some(result),
        };
        self.client.complete(request).await.map(|_| ())
    }

    /// Puts a checkpoint of so many steps and registers it.
    pub async fn checkpoint(&mut self, job: &v1::Assignment, step: i64) -> anyhow::Result<PathBuf> {
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

    pub async fn heartbeat(&mut self, lease: &v1::LeaseRef) -> anyhow::Result<v1::LeaseStatus> {
        let request = v1::HeartbeatRequest {
            incarnation: self.incarnation.clone(),
            leases: vec![lease.clone()],
        };
        let answer = self.client.heartbeat(request).await?.into_inner();
        answer.statuses().next().context("no status")
    }
}
