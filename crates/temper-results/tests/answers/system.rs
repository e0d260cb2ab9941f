//! A service over a database in which workers have been at work.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use temper_core::{
    Digest,
    access::Role,
    curve::Point,
    report::EpochMetrics,
    schedule::Ramp,
    spec::{EvaluateSpec, JobSpec, Precision, RESULT_VERSION, TrainSpec},
};
use temper_proto::v1::results_service_client::ResultsServiceClient;
use temper_results::{Config, run};
use temper_service::{
    client::{Channel, connect},
    server::Server,
    stop::Stop,
};
use temper_store::{
    Actor, Artifact, Measured, NewToken, NewWorker, Store, Trained, WorkerRef, testing::Database,
};
use tonic::Status;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::lab;

/// Two models, one of them published on this dataset; one training of `standard` for both targets.
const SPEC: &str = r#"{"models": ["vit-base", "mobilenet"], "datasets": ["cub200"],
    "schedules": [{"standard": {}}, {"fixed": {}}, {"twoHinge": {}}, {"linear": {}}],
    "targetEpsilons": ["4/255", "8/255"], "seeds": [0, 1],
    "training": {"epochs": 4}, "evaluations": [{"samples": 100}]}"#;
const LEASE: Duration = Duration::from_mins(10);
pub const SAMPLES: u32 = 100;

pub type Client = ResultsServiceClient<Channel>;

pub struct System {
    pub database: Database,
    pub sweep: String,
    pub client: Client,
    stop: Stop,
}

impl System {
    /// A sweep of which all jobs are done that `done` takes; the others stay as they are.
    pub async fn start(done: fn(&TrainSpec) -> bool) -> Result<Self> {
        let database = Database::new().await?;
        let sweep = lab::submit(database.store(), SPEC).await?;
        work(database.store(), done).await?;
        let (client, stop) = serve(database.url(), database.store()).await?;
        Ok(Self {
            database,
            sweep: format!("sweeps/{sweep}"),
            client,
            stop,
        })
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.stop.gracefully();
    }
}

/// A service of the database at `url`, and a client that may read.
pub async fn serve(url: &str, store: &Store) -> Result<(Client, Stop)> {
    let (address, stop) = listen(url).await?;
    let channel = connect(&address, &lab::viewer(store).await?).await?;
    let client = ResultsServiceClient::new(channel).max_decoding_message_size(64 << 20);
    Ok((client, stop))
}

/// Where a service of the database at `url` listens.
pub async fn listen(url: &str) -> Result<(String, Stop)> {
    let (server, stop) = (Server::bind("127.0.0.1:0".parse()?).await?, Stop::new());
    let address = format!("http://{}", server.address());
    let config = Config {
        database_url: url.to_owned(),
        connections: 4,
    };
    tokio::spawn(run(config, server, stop.clone()));
    Ok((address, stop))
}

/// The fields that a request was refused for.
pub fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
    let violations = status
        .get_details_bad_request()
        .map(|bad| bad.field_violations);
    let violations = violations.into_iter().flatten();
    violations.map(|violation| violation.field).collect()
}

/// What a run is right about: at each strength five fewer, from what depends on schedule, model, seed.
pub fn points(spec: &EvaluateSpec) -> Vec<Point> {
    let clean = clean(&spec.train);
    let counts = (0..).zip(&spec.grid);
    let point = |(i, epsilon): (u32, &_)| Point {
        epsilon: *epsilon,
        correct: clean - 5 * i,
        samples: SAMPLES,
    };
    counts.map(point).collect()
}

/// 90 of `standard`, 45 of `fixed`, 70 of two-hinge and 60 of linear; seed and model add to it.
pub fn clean(train: &TrainSpec) -> u32 {
    let schedule = match train.ramp {
        Ramp::Standard => 90,
        Ramp::Hinged { start, end, .. } if start == end => 45,
        Ramp::Hinged { start, .. } if start.value() > 0.0 => 70,
        _ => 60,
    };
    let model = if train.model.name == "vit-base" { 3 } else { 0 };
    schedule + model + 2 * u32::try_from(train.seed).unwrap()
}

/// Fixed begins to adapt in its third epoch, with seed 1 never; the others at once, or one later.
pub fn validation(train: &TrainSpec, epoch: u32) -> f64 {
    let onset = match train.ramp {
        Ramp::Standard => 0,
        Ramp::Hinged { start, end, .. } if start == end && train.seed == 1 => 99,
        Ramp::Hinged { start, end, .. } if start == end => 2,
        _ => 1,
    };
    if epoch < onset { 0.01 } else { 0.5 }
}

async fn work(store: &Store, done: fn(&TrainSpec) -> bool) -> Result<()> {
    let worker = register(store).await?;
    let mut left = Vec::new();
    while let Some(claim) = store.lease_claim(worker, LEASE).await? {
        match &claim.spec {
            JobSpec::Train(spec) if done(spec) => {
                let epochs: Vec<_> = (0..4).map(|epoch| metrics(spec, epoch)).collect();
                store.epochs_report(&claim.lease, &epochs).await?;
                let path = format!("{}/model", claim.key);
                let trained = Trained {
                    artifact: Artifact {
                        sha256: Digest::of(path.as_bytes()),
                        path,
                        size: 1,
                    },
                    best: None,
                    epochs: 4,
                    micro_batch_size: None,
                    peak_memory_bytes: None,
                };
                store.train_complete(&claim.lease, &trained).await?;
            }
            JobSpec::Evaluate(spec) => {
                let measured = Measured {
                    points: points(spec),
                    passes: Some(1000),
                    ..Measured::default()
                };
                store.evaluation_complete(&claim.lease, &measured).await?;
            }
            JobSpec::Train(_) => left.push(claim.lease),
        }
    }
    Ok(())
}

fn metrics(spec: &TrainSpec, epoch: u32) -> EpochMetrics {
    EpochMetrics {
        epoch,
        epsilon: 4.0 / 255.0,
        learning_rate: 1e-4,
        train_loss: 2.0 / f64::from(epoch + 1),
        validation_accuracy: Some(validation(spec, epoch)),
        validation_robust_accuracy: None,
        images_per_second: 500.0,
        loading_share: 0.0,
    }
}

async fn register(store: &Store) -> Result<WorkerRef> {
    let token = NewToken::new("workers", Role::Worker, Digest::of(b"workers"));
    let token = store
        .token_create(&Actor::at_database("test"), token)
        .await?;
    let worker = NewWorker {
        worker: WorkerRef {
            incarnation: Uuid::new_v4(),
            token: token.id,
        },
        name: "w".to_owned(),
        device: "cuda:0".to_owned(),
        memory_bytes: Some(1 << 30),
        result_versions: vec![RESULT_VERSION],
        precisions: vec![Precision::Fp32],
        labels: BTreeMap::new(),
        time_left: None,
        least_time: LEASE,
    };
    store
        .worker_register(&worker)
        .await
        .context("registering")?;
    Ok(worker.worker)
}
