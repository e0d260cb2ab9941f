//! Workers that take jobs and hand in results, and compute nothing.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use temper_core::{Digest, spec::RESULT_VERSION};
use temper_proto::v1::{
    self, complete_request::Result as Outcome, job_spec::Kind,
    worker_service_client::WorkerServiceClient,
};
use temper_service::client::Channel;
use tokio::task::JoinSet;

use crate::{
    place::Place,
    scale::{EPOCHS, SAMPLES},
};

/// Longest that a Lease waits; there are always jobs.
const WAIT: prost_types::Duration = prost_types::Duration {
    seconds: 10,
    nanos: 0,
};

/// Memory that workers say is free.
const MEMORY: i64 = 16 << 30;

/// Workers, each with a connection of its own.
pub struct Crew(Vec<Hand>);

/// What a worker does again and again.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    /// Takes a job and hands it in.
    Work,
    /// Says that it lives, with the job that it holds.
    Beat,
    /// Asks for a job that it may do, of which there is none, and does not wait.
    Ask,
}

/// Workers that there is no job for, and that wait for one until they are dropped.
pub struct Crowd(JoinSet<anyhow::Result<()>>);

/// What workers did.
#[derive(Debug, Default)]
pub struct Done {
    /// Trainings that were completed.
    pub trainings: u32,
    /// Evaluations that were.
    pub evaluations: u32,
    /// From the first call to the last answer.
    pub elapsed: Duration,
    /// How long each Lease took, as its worker saw it.
    pub claims: Vec<Duration>,
    /// Calls that did none of these.
    pub calls: u32,
}

/// A worker.
struct Hand {
    client: WorkerServiceClient<Channel>,
    incarnation: String,
    /// What it keeps.
    held: Option<v1::LeaseRef>,
}

impl Crew {
    /// Registers so many workers, whose devices compute in this format: all jobs want single precision.
    ///
    /// # Errors
    /// When the coordinator refuses one.
    pub async fn register(
        place: &Place,
        workers: u32,
        precision: v1::Precision,
    ) -> anyhow::Result<Self> {
        let mut hands = Vec::new();
        for number in 0..workers {
            let client = WorkerServiceClient::new(place.worker().await?);
            hands.push(Hand::register(client, number, precision).await?);
        }
        Ok(Self(hands))
    }

    /// Does something so many times, every worker one after the other.
    ///
    /// # Errors
    /// When a call is refused, or there are fewer jobs. The crew is then lost.
    pub async fn work(&mut self, deed: Deed, times: u32) -> anyhow::Result<Done> {
        let left = Arc::new(AtomicU32::new(times));
        let mut working = JoinSet::new();
        let started = Instant::now();
        for mut hand in mem::take(&mut self.0) {
            let left = Arc::clone(&left);
            // Awaited below.
            working.spawn(async move {
                let done = hand.work(deed, &left).await?;
                anyhow::Ok((hand, done))
            });
        }
        let mut all = Done::default();
        while let Some(ended) = working.join_next().await {
            let (hand, done) = ended??;
            self.0.push(hand);
            all.trainings += done.trainings;
            all.evaluations += done.evaluations;
            all.claims.extend(done.claims);
            all.calls += done.calls;
        }
        all.elapsed = started.elapsed();
        Ok(all)
    }

    /// Has every worker take a job and keep it.
    ///
    /// # Errors
    /// When a call is refused, or there are fewer jobs.
    pub async fn hold(&mut self) -> anyhow::Result<()> {
        for hand in &mut self.0 {
            hand.held = hand.lease().await?.lease;
        }
        Ok(())
    }

    /// Has them give back what they hold.
    ///
    /// # Errors
    /// When a call is refused.
    pub async fn release(&mut self) -> anyhow::Result<()> {
        for hand in &mut self.0 {
            let lease = hand.held.take();
            hand.client.release(v1::ReleaseRequest { lease }).await?;
        }
        Ok(())
    }
}

impl Crowd {
    /// So many workers on as many connections, of which every one is waiting when this returns.
    ///
    /// # Errors
    /// When the coordinator refuses one.
    pub async fn gather(place: &Place, workers: u32, connections: u32) -> anyhow::Result<Self> {
        let crew = Crew::register(place, connections, v1::Precision::Bf16).await?;
        let mut waiting = JoinSet::new();
        for number in 0..workers {
            let first = &crew.0[(number % connections) as usize];
            let mut hand =
                Hand::register(first.client.clone(), number, v1::Precision::Bf16).await?;
            // Ends with the set.
            waiting.spawn(async move {
                while hand.ask(WAIT).await?.is_none() {}
                bail!("it was given a job")
            });
        }
        Ok(Self(waiting))
    }

    /// Whether all of them wait still.
    pub fn is_whole(&mut self) -> bool {
        self.0.try_join_next().is_none()
    }
}

impl Done {
    /// Calls of those that did no job, a second.
    pub fn calls_per_s(&self) -> f64 {
        f64::from(self.calls) / self.elapsed.as_secs_f64()
    }

    /// Jobs of both kinds.
    pub fn jobs(&self) -> u32 {
        self.trainings + self.evaluations
    }
}

impl Hand {
    async fn register(
        mut client: WorkerServiceClient<Channel>,
        number: u32,
        precision: v1::Precision,
    ) -> anyhow::Result<Self> {
        let incarnation = uuid::Uuid::new_v4().to_string();
        let request = v1::RegisterRequest {
            incarnation: incarnation.clone(),
            worker: format!("worker-{number:02}"),
            device: "cpu".to_owned(),
            result_versions: vec![RESULT_VERSION],
            precisions: vec![precision.into()],
            ..v1::RegisterRequest::default()
        };
        client.register(request).await?;
        Ok(Self {
            client,
            incarnation,
            held: None,
        })
    }

    async fn work(&mut self, deed: Deed, left: &AtomicU32) -> anyhow::Result<Done> {
        let mut done = Done::default();
        while left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_ok()
        {
            match deed {
                Deed::Work => self.job(&mut done).await?,
                Deed::Beat => self.beat().await?,
                Deed::Ask => {
                    let given = self.ask(prost_types::Duration::default()).await?;
                    ensure!(given.is_none(), "it was given a job");
                }
            }
            done.calls += u32::from(!matches!(deed, Deed::Work));
        }
        Ok(done)
    }

    async fn job(&mut self, done: &mut Done) -> anyhow::Result<()> {
        let asked = Instant::now();
        let job = self.lease().await?;
        done.claims.push(asked.elapsed());
        match job.spec.as_ref().and_then(|spec| spec.kind.as_ref()) {
            Some(Kind::Train(_)) => {
                self.train(&job).await?;
                done.trainings += 1;
            }
            Some(Kind::Evaluate(spec)) => {
                self.evaluate(&job, &spec.grid).await?;
                done.evaluations += 1;
            }
            None => bail!("a job without a spec"),
        }
        Ok(())
    }

    async fn beat(&mut self) -> anyhow::Result<()> {
        let request = v1::HeartbeatRequest {
            incarnation: self.incarnation.clone(),
            leases: self.held.iter().cloned().collect(),
        };
        let answer = self.client.heartbeat(request).await?.into_inner();
        let statuses: Vec<_> = answer.statuses().collect();
        ensure!(
            statuses == [v1::LeaseStatus::Continue],
            "a heartbeat was answered {statuses:?}"
        );
        Ok(())
    }

    async fn lease(&mut self) -> anyhow::Result<v1::Assignment> {
        self.ask(WAIT).await?.context("the queue is empty")
    }

    async fn ask(&mut self, wait: prost_types::Duration) -> anyhow::Result<Option<v1::Assignment>> {
        let request = v1::LeaseRequest {
            incarnation: self.incarnation.clone(),
            wait: Some(wait),
            idle: true,
            free_memory_bytes: MEMORY,
        };
        Ok(self.client.lease(request).await?.into_inner().assignment)
    }

    async fn train(&mut self, job: &v1::Assignment) -> anyhow::Result<()> {
        let epochs = (0..EPOCHS).map(|epoch| v1::EpochMetrics {
            epoch,
            epsilon: 4.0 / 255.0,
            learning_rate: 1e-4,
            train_loss: 1.25,
            validation_accuracy: Some(0.75),
            validation_robust_accuracy: Some(0.5),
            images_per_second: 500.0,
            loading_share: 0.01,
        });
        let request = v1::ReportEpochsRequest {
            lease: job.lease.clone(),
            epochs: epochs.collect(),
        };
        self.client.report_epochs(request).await?;
        let fence = job.lease.as_ref().map_or(0, |lease| lease.fence);
        // The coordinator takes a worker's word for the bytes; whoever reads them checks the digest.
        let artifact = v1::Artifact {
            path: format!("{}/{fence}/model.safetensors", job.key),
            sha256: Digest::of(b"model").to_string(),
            size: 10_000_000,
        };
        let result = v1::TrainResult {
            artifact: Some(artifact),
            epochs: EPOCHS,
            ..v1::TrainResult::default()
        };
        self.complete(job, Outcome::Train(result)).await
    }

    async fn evaluate(&mut self, job: &v1::Assignment, grid: &[String]) -> anyhow::Result<()> {
        let points = (0..).zip(grid).map(|(place, epsilon)| v1::CurvePoint {
            epsilon: epsilon.clone(),
            correct: 90 - 10 * place,
            samples: SAMPLES,
        });
        let result = v1::EvaluateResult {
            points: points.collect(),
            ..v1::EvaluateResult::default()
        };
        self.complete(job, Outcome::Evaluate(result)).await
    }

    async fn complete(&mut self, job: &v1::Assignment, result: Outcome) -> anyhow::Result<()> {
        let request = v1::CompleteRequest {
            lease: job.lease.clone(),
            result: Some(result),
        };
        self.client.complete(request).await?;
        Ok(())
    }
}
