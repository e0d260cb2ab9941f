//! A laboratory in a database: sweeps, workers and what they do.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use temper_core::{
    Digest, Epsilon, ErrorKind,
    access::Role,
    attack::{Attack, Pgd},
    catalog::{
        Counts, Draw, File, Input, InputKind, Normalisation, PinnedDataset, PinnedModel, Source,
    },
    curve::Point,
    expand::{self, Expansion},
    job::FailureClass,
    placement::Placement,
    report::EpochMetrics,
    schedule::Schedule,
    spec::{
        DataRequest, EvaluationSettings, Hyperparameters, JobSpec, Precision, RESULT_VERSION,
        SweepSpec, TrainingSettings, ValidationSettings,
    },
    trace::TraceParent,
};
use temper_store::{
    Actor, Artifact, Claim, FailedAttempt, JobId, JobRow, JobsQuery, Measured, NewSweep, NewToken,
    NewWorker, Store, StoreError, SweepCreated, Trained, WorkerRef, testing::Database,
};
use uuid::Uuid;

/// Longer than any test.
pub const LEASE: Duration = Duration::from_mins(10);
pub const EPOCHS: u32 = 3;

/// Whoever tests.
pub const TESTER: Actor<'static> = Actor {
    name: "tester",
    token: None,
    role: None,
};

pub struct Lab {
    pub database: Database,
    /// The token of its workers.
    pub token: Uuid,
}

impl Lab {
    pub async fn new() -> Result<Self> {
        let database = Database::new().await?;
        let token = token(database.store(), "workers", Role::Worker).await?;
        Ok(Self { database, token })
    }

    pub fn store(&self) -> &Store {
        self.database.store()
    }

    pub async fn submit(&self, spec: &SweepSpec) -> Result<SweepCreated> {
        Ok(Submission::of(spec).send(self.store()).await?)
    }

    pub async fn worker(&self, name: &str) -> Result<WorkerRef> {
        self.worker_with(name, &[Precision::Fp32]).await
    }

    pub async fn worker_with(&self, name: &str, precisions: &[Precision]) -> Result<WorkerRef> {
        let worker = NewWorker {
            worker: WorkerRef {
                incarnation: Uuid::new_v4(),
                token: self.token,
            },
            name: name.to_owned(),
            device: "cpu".to_owned(),
            memory_bytes: Some(1 << 30),
            result_versions: vec![RESULT_VERSION],
            precisions: precisions.to_vec(),
            labels: BTreeMap::new(),
            time_left: None,
            least_time: LEASE,
        };
        self.store().worker_register(&worker).await?;
        Ok(worker.worker)
    }

    /// Takes the next job, which there must be.
    pub async fn claim(&self, worker: WorkerRef) -> Result<Claim> {
        self.store()
            .lease_claim(worker, LEASE)
            .await?
            .context("nothing to claim")
    }

    /// Does whatever a claimed job asks for.
    pub async fn finish(&self, claim: &Claim) -> Result<(), StoreError> {
        match &claim.spec {
            JobSpec::Train(spec) => {
                let epochs: Vec<_> = (0..spec.training.epochs).map(epoch).collect();
                self.store().epochs_report(&claim.lease, &epochs).await?;
                self.store()
                    .train_complete(&claim.lease, &trained(claim, spec.training.epochs))
                    .await
            }
            JobSpec::Evaluate(spec) => {
                self.store()
                    .evaluation_complete(&claim.lease, &measured(&spec.grid))
                    .await
            }
        }
    }

    /// Works until nothing is left.
    pub async fn finish_all(&self, worker: WorkerRef) -> Result<Vec<JobId>> {
        let mut done = Vec::new();
        while let Some(claim) = self.store().lease_claim(worker, LEASE).await? {
            self.finish(&claim).await?;
            done.push(claim.lease.job);
        }
        Ok(done)
    }

    pub async fn jobs(&self, sweep: Uuid) -> Result<Vec<JobRow>> {
        let query = JobsQuery {
            sweep,
            state: None,
            after: None,
            limit: 10_000,
        };
        Ok(self.store().job_list(query).await?.jobs)
    }

    /// Lets every lease run out at once.
    pub async fn let_leases_run_out(&self) -> Result<()> {
        self.execute("UPDATE temper.lease SET expires_at = now() - interval '1 second'")
            .await
    }

    /// Lets every backoff pass at once.
    pub async fn let_backoff_pass(&self) -> Result<()> {
        self.execute("UPDATE temper.job SET available_at = now()")
            .await
    }

    pub async fn execute(&self, sql: &'static str) -> Result<()> {
        sqlx::query(sql).execute(self.database.pool()).await?;
        Ok(())
    }

    pub async fn count(&self, sql: &'static str) -> Result<i64> {
        Ok(sqlx::query_scalar(sql)
            .fetch_one(self.database.pool())
            .await?)
    }
}

/// Makes a token of this name, whose secret is its name.
pub async fn token(store: &Store, name: &str, role: Role) -> Result<Uuid> {
    let token = NewToken::new(name, role, Digest::of(name.as_bytes()));
    Ok(store.token_create(&TESTER, token).await?.id)
}

/// A sweep about to be stored, with what most tests do not care for filled in.
pub struct Submission<'a> {
    pub spec: &'a SweepSpec,
    pub owner: &'a str,
    pub priority: i32,
    pub request_id: Option<Uuid>,
    pub placement: Placement,
    pub parallel_jobs: Option<u32>,
    pub trace: Option<TraceParent>,
}

impl<'a> Submission<'a> {
    pub fn of(spec: &'a SweepSpec) -> Self {
        Self {
            spec,
            owner: "ann",
            priority: 0,
            request_id: None,
            placement: Placement::default(),
            parallel_jobs: None,
            trace: None,
        }
    }

    pub async fn send(&self, store: &Store) -> Result<SweepCreated, StoreError> {
        let labels = BTreeMap::from([("paper".to_owned(), "iclr".to_owned())]);
        let sweep = NewSweep {
            request_id: self.request_id,
            request_digest: temper_core::key::digest_of(self.spec),
            owner: self.owner,
            display_name: "a sweep",
            labels: &labels,
            priority: self.priority,
            placement: &self.placement,
            parallel_jobs: self.parallel_jobs,
            spec: self.spec,
            expansion: &expansion(self.spec),
            inputs: &inputs(),
            trace: self.trace,
        };
        store.sweep_create(&TESTER, sweep).await
    }
}

/// A sweep of one cell a seed: three epochs under the fixed schedule at 4/255, measured on the
/// grid 0, 2/255, 4/255.
pub fn spec(seeds: impl IntoIterator<Item = u64>) -> SweepSpec {
    SweepSpec {
        models: vec!["mobilenetv2".to_owned()],
        datasets: vec!["fashion-mnist".to_owned()],
        schedules: vec![Schedule::Fixed],
        target_epsilons: vec![epsilon(4)],
        seeds: seeds.into_iter().collect(),
        hyperparameters: vec![Hyperparameters::default()],
        training: TrainingSettings {
            epochs: EPOCHS,
            attack: Attack::Pgd(Pgd::with_steps(3)),
            micro_batch_size: 64,
            ..TrainingSettings::default()
        },
        data: DataRequest {
            image_size: 64,
            train_samples: 300,
            validation_samples: Some(100),
            split_seed: 0,
        },
        validation: ValidationSettings::default(),
        evaluations: vec![measurement(None)],
        exclude: Vec::new(),
        overrides: Vec::new(),
    }
}

pub fn measurement(grid_end: Option<Epsilon>) -> EvaluationSettings {
    EvaluationSettings {
        grid_end,
        grid_step: epsilon(2),
        samples: 200,
        ..EvaluationSettings::default()
    }
}

/// So many parts of 255.
#[expect(clippy::unwrap_used, reason = "tests name strengths that there are")]
pub fn epsilon(numerator: u32) -> Epsilon {
    Epsilon::new(numerator, 255).unwrap()
}

pub fn expansion(spec: &SweepSpec) -> Expansion {
    let model = |name: &String| PinnedModel {
        name: name.clone(),
        architecture: name.clone(),
        repository: format!("timm/{name}"),
        commit: None,
        file: "model.safetensors".to_owned(),
        sha256: Some(Digest::of(name.as_bytes())),
        prefix: String::new(),
        normalisation: Normalisation {
            mean: [0.5; 3],
            std: [0.5; 3],
        },
        scripted: None,
    };
    let file = |path: &str| File {
        path: path.to_owned(),
        sha256: Some(Digest::of(path.as_bytes())),
    };
    let dataset = |name: &String| PinnedDataset {
        name: name.clone(),
        classes: 10,
        counts: Counts::default(),
        draw: Draw::default(),
        source: Source::Parquet {
            repository: format!("hub/{name}"),
            revision: None,
            train: vec![file("train.parquet")],
            validation: Vec::new(),
            test: vec![file("test.parquet")],
            image_column: "image".to_owned(),
            label_column: "label".to_owned(),
        },
    };
    let models: Vec<_> = spec.models.iter().map(model).collect();
    let datasets: Vec<_> = spec.datasets.iter().map(dataset).collect();
    expand::expand(spec, &models, &datasets)
}

/// What a sweep's names stood for.
pub fn inputs() -> Vec<Input> {
    vec![Input {
        kind: InputKind::Dataset,
        name: "fashion-mnist".to_owned(),
        place: "hub/fashion-mnist".to_owned(),
        commit: None,
        digest: Digest::of(b"images"),
    }]
}

pub fn epoch(epoch: u32) -> EpochMetrics {
    EpochMetrics {
        epoch,
        epsilon: 4.0 / 255.0,
        learning_rate: 1e-4,
        train_loss: 2.0 / f64::from(epoch + 1),
        validation_accuracy: Some(0.5),
        validation_robust_accuracy: None,
        images_per_second: 123.456_789_012_345_67,
        loading_share: 0.012_345_678_901_234_567,
    }
}

pub fn artifact(claim: &Claim) -> Artifact {
    let path = format!("{}/{}/model", claim.key, claim.lease.fence);
    Artifact {
        sha256: Digest::of(path.as_bytes()),
        path,
        size: 1 << 24,
    }
}

/// What a training of so many epochs hands in that has no best model and knows no more.
pub fn trained(claim: &Claim, epochs: u32) -> Trained {
    Trained {
        artifact: artifact(claim),
        best: None,
        epochs,
        micro_batch_size: None,
        peak_memory_bytes: None,
    }
}

/// A worker's word of a failure that knows nothing of memory.
pub fn failure(class: FailureClass, message: &str) -> FailedAttempt<'_> {
    FailedAttempt {
        class,
        message,
        peak_memory_bytes: None,
    }
}

/// What an evaluation hands in that knows nothing but its points.
pub fn measured(grid: &[Epsilon]) -> Measured {
    Measured {
        points: points(grid),
        ..Measured::default()
    }
}

/// 160 of 200 right without a perturbation, and 40 fewer at each further strength.
pub fn points(grid: &[Epsilon]) -> Vec<Point> {
    let correct = (0..5).rev().map(|step| step * 40);
    grid.iter()
        .zip(correct)
        .map(|(epsilon, correct)| Point {
            epsilon: *epsilon,
            correct,
            samples: 200,
        })
        .collect()
}

/// The error of a refused call, which must be of this kind.
#[track_caller]
#[expect(
    clippy::unwrap_used,
    reason = "an answer where a refusal is due fails the test"
)]
pub fn refusal<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: ErrorKind) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}
