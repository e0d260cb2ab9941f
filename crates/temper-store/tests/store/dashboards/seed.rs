//! A laboratory in the middle of its work.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use sqlx::PgPool;
use temper_core::{
    Epsilon,
    curve::Point,
    job::FailureClass,
    placement::{DeviceKind, Placement},
    report::EpochMetrics,
    schedule::Schedule,
    spec::{JobSpec, RESULT_VERSION, SweepSpec},
};
use temper_store::{
    Claim, Measured, NewWorker, Store, WorkerRef,
    testing::{
        grafana::{Board, Scope},
        tables,
    },
};
use uuid::Uuid;

use crate::lab::{LEASE, Lab, Submission, TESTER, epoch, failure, measured, spec, trained};

/// Jobs that succeed before the lab is looked at.
const DONE: usize = 36;

pub struct Seeded {
    pub lab: Lab,
    pub reader: PgPool,
    pub sweep: Uuid,
}

/// Two models on two of the paper's datasets under two schedules at two strengths, three seeds each; a paused
/// sweep, and one for which there is no worker. The datasets are one here, so that cells share jobs.
fn sweep() -> SweepSpec {
    SweepSpec {
        models: ["resnet50", "vit-base"].map(str::to_owned).to_vec(),
        datasets: ["caltech256", "cub200"].map(str::to_owned).to_vec(),
        schedules: vec![Schedule::Fixed, Schedule::two_hinge_default()],
        target_epsilons: [4, 8].map(crate::lab::epsilon).to_vec(),
        ..spec(0..3)
    }
}

impl Seeded {
    pub async fn new() -> Result<Self> {
        let lab = Lab::new().await?;
        let sweep = lab.submit(&sweep()).await?.id;
        let worker = worker(&lab, "gpu-1", "cuda:0").await?;
        fail_some(&lab, worker).await?;
        half_done(&lab, self::worker(&lab, "gpu-2", "cuda:1").await?).await?;
        for _ in 0..DONE {
            let claim = lab.claim(worker).await?;
            finish(lab.store(), &claim).await?;
        }
        wait_for_nobody(&lab).await?;
        let reader = lab.database.reader(4).await?;
        Ok(Self { lab, reader, sweep })
    }

    /// Everything that can be chosen of the sweep, and the first where one is to be.
    pub async fn scope(&self, board: &Board) -> Result<Scope> {
        let now = tables::now(self.lab.store()).await?;
        let range = (now - Duration::from_hours(1), now + Duration::from_mins(1));
        let mut scope = Scope {
            values: BTreeMap::new(),
            range,
        };
        for variable in &board.variables {
            let sql = scope.expand(&variable.sql)?;
            let column = if variable.name == "sweep" {
                "__value"
            } else {
                &variable.name
            };
            let sql = sqlx::AssertSqlSafe(format!("SELECT {column} FROM ({sql}) AS choice"));
            let mut values: Vec<String> = sqlx::query_scalar(sql)
                .fetch_all(&self.reader)
                .await
                .with_context(|| format!("choosing {}", variable.name))?;
            assert!(!values.is_empty(), "{}: no {}", board.name, variable.name);
            if variable.name == "sweep" {
                values.retain(|value| *value == self.sweep.to_string());
            }
            if !variable.multi {
                values.truncate(1);
            }
            scope.values.insert(variable.name.clone(), values);
        }
        Ok(scope)
    }
}

async fn worker(lab: &Lab, name: &str, device: &str) -> Result<WorkerRef> {
    let worker = NewWorker {
        worker: WorkerRef {
            incarnation: Uuid::new_v4(),
            token: lab.token,
        },
        name: name.to_owned(),
        device: device.to_owned(),
        memory_bytes: Some(1 << 34),
        result_versions: vec![RESULT_VERSION],
        precisions: vec![temper_core::spec::Precision::Fp32],
        labels: BTreeMap::from([("site".to_owned(), "lab".to_owned())]),
        time_left: None,
        least_time: LEASE,
    };
    lab.store().worker_register(&worker).await?;
    Ok(worker.worker)
}

/// One job fails for good, one for now, and one is lost; the latter two are tried again.
async fn fail_some(lab: &Lab, worker: WorkerRef) -> Result<()> {
    for class in [FailureClass::Diverged, FailureClass::OutOfMemory] {
        let claim = lab.claim(worker).await?;
        let failed = failure(class, "no memory, or no sense");
        lab.store().attempt_fail(&claim.lease, failed).await?;
    }
    lab.claim(worker).await?;
    lab.let_leases_run_out().await?;
    assert_eq!(lab.store().lease_expire().await?.len(), 1);
    lab.let_backoff_pass().await
}

/// Takes a training and reports half of it.
async fn half_done(lab: &Lab, worker: WorkerRef) -> Result<()> {
    let claim = lab.claim(worker).await?;
    if let JobSpec::Train(_) = claim.spec {
        lab.store()
            .epochs_report(&claim.lease, &[learnt(&claim, 0)])
            .await?;
    }
    Ok(())
}

/// A paused sweep, and jobs for a kind of device that nobody has.
async fn wait_for_nobody(lab: &Lab) -> Result<()> {
    let paused = lab.submit(&spec([100])).await?.id;
    lab.store()
        .sweep_pause(&TESTER, paused, None, "to look at it")
        .await?;
    let placement = Placement {
        device_kind: Some(DeviceKind::Cpu),
        ..Placement::default()
    };
    let other = spec([200]);
    let other = Submission {
        placement,
        ..Submission::of(&other)
    };
    other.send(lab.store()).await?;
    Ok(())
}

/// Epochs and curves that differ by seed, and under two-hinge are better.
async fn finish(store: &Store, claim: &Claim) -> Result<()> {
    match &claim.spec {
        JobSpec::Train(spec) => {
            let epochs: Vec<_> = (0..spec.training.epochs)
                .map(|epoch| learnt(claim, epoch))
                .collect();
            store.epochs_report(&claim.lease, &epochs).await?;
            let trained = trained(claim, spec.training.epochs);
            store.train_complete(&claim.lease, &trained).await?;
        }
        JobSpec::Evaluate(spec) => {
            let measured = Measured {
                points: points(claim, &spec.grid),
                ..measured(&spec.grid)
            };
            store.evaluation_complete(&claim.lease, &measured).await?;
        }
    }
    Ok(())
}

/// It adapts with the second epoch.
fn learnt(claim: &Claim, number: u32) -> EpochMetrics {
    let learnt = f64::from(number) * 0.2 + share(claim) / 100.0;
    EpochMetrics {
        validation_accuracy: Some(learnt),
        validation_robust_accuracy: Some(learnt / 2.0),
        ..epoch(number)
    }
}

fn points(claim: &Claim, grid: &[Epsilon]) -> Vec<Point> {
    let best = 120 + u32::from(claim.key.as_bytes()[0] / 8);
    let steps = 0..u32::try_from(grid.len()).unwrap_or(u32::MAX);
    let point = |(epsilon, step): (&Epsilon, u32)| Point {
        epsilon: *epsilon,
        correct: best.saturating_sub(step * 20),
        samples: 200,
    };
    grid.iter().zip(steps).map(point).collect()
}

/// Of the job, from 0 to 1.
fn share(claim: &Claim) -> f64 {
    f64::from(claim.key.as_bytes()[0]) / 255.0
}
