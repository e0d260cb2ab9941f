//! A cluster of real processes that is hurt while it works, and what must be true of it afterwards:
//! every job has one result, the right one, and nothing of a worker that had lost its lease is in it.
//! `docs/chaos.md` says what is done to what.

pub mod check;
pub mod cluster;
pub mod inflict;
pub mod look;
pub mod plan;
pub mod proxy;
pub mod truth;

use std::{
    fmt,
    process::Stdio,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use temper_proto::v1::{self, sweep_service_client::SweepServiceClient};
use temper_service::objects::Objects;
use temper_store::{Store, testing::tables::Tables};
use tokio::{process::Child, sync::Semaphore, task::JoinSet, time::timeout};

use crate::{processes::Trainer, sweeps};
use check::{Findings, Reference};
use cluster::{Cluster, PATIENCE, Size};
use inflict::{Chaos, Hurt};
use plan::{Doses, Field, Injury, Step};

/// A run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Decides what is hurt, and when.
    pub seed: u64,
    /// Cells of the sweep, each a training and an evaluation.
    pub cells: u64,
    /// Epochs of a training.
    pub epochs: u32,
    /// Images of each measurement.
    pub samples: u32,
    /// Processes.
    pub size: Size,
    /// What is done to them.
    pub doses: Doses,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Jobs in all.
    pub jobs: usize,
    /// How often each thing was done; late Completes that were refused.
    pub done: Vec<(&'static str, u32)>,
    /// What is wrong at the end.
    pub findings: Findings,
    /// The time from a worker's kill or stop to the next lease of its job, that 99 of 100 are below.
    pub recovery_p99: Duration,
    /// Attempts that were lost, those not by a plan included.
    pub lost_attempts: usize,
}

impl Settings {
    /// 300 short jobs on 8 workers, by the fake trainer.
    #[must_use]
    pub fn full(seed: u64) -> Self {
        Self {
            seed,
            cells: 150,
            epochs: 4,
            samples: 20,
            size: Size {
                workers: 8,
                coordinators: 2,
                lease: Duration::from_secs(3),
                trainer: Trainer::Fake(Duration::from_millis(600)),
            },
            doses: Doses {
                worker_kills: 22,
                stops: 8,
                delays: 8,
                worker_cuts: 8,
                coordinator_kills: 6,
                database_cuts: 4,
                restarts: 4,
                terminations: 4,
            },
        }
    }

    /// A few of each, in less than a minute.
    #[must_use]
    pub fn short(seed: u64) -> Self {
        Self {
            cells: 16,
            size: Size {
                workers: 3,
                trainer: Trainer::Fake(Duration::from_secs(1)),
                ..Self::full(seed).size
            },
            doses: Doses {
                worker_kills: 2,
                stops: 1,
                delays: 2,
                worker_cuts: 1,
                coordinator_kills: 1,
                database_cuts: 1,
                restarts: 1,
                terminations: 1,
            },
            ..Self::full(seed)
        }
    }

    /// Real trainings, a few of each.
    #[must_use]
    pub fn real(seed: u64) -> Self {
        Self {
            // There must be work left while a lease runs out, on a fast machine too.
            cells: 48,
            epochs: 16,
            size: Size {
                workers: 2,
                trainer: Trainer::Real,
                ..Self::full(seed).size
            },
            doses: Doses {
                worker_kills: 3,
                delays: 1,
                ..Self::short(seed).doses
            },
            ..Self::full(seed)
        }
    }

    /// The same work, with nothing done to anybody.
    #[must_use]
    pub fn calm(self) -> Self {
        Self {
            doses: Doses::default(),
            ..self
        }
    }

    /// What is submitted.
    #[must_use]
    pub fn request(&self) -> v1::CreateSweepRequest {
        let mut request = sweeps::tiny(0..self.cells);
        let spec = sweeps::spec(&mut request);
        spec.training.get_or_insert_default().epochs = Some(self.epochs);
        for evaluation in &mut spec.evaluations {
            evaluation.samples = self.samples;
        }
        request
    }

    /// How many jobs that makes.
    #[must_use]
    pub fn jobs(&self) -> usize {
        2 * usize::try_from(self.cells).unwrap_or(usize::MAX)
    }

    fn field(&self) -> Field {
        Field {
            jobs: i64::try_from(self.jobs()).unwrap_or(i64::MAX),
            workers: self.size.workers,
            coordinators: self.size.coordinators,
        }
    }
}

/// What a run's results have to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Against<'a> {
    /// What the fake trainer yields.
    Truth,
    /// Those of another run.
    Run(&'a Reference),
    /// Whatever they are.
    Nothing,
}

/// Runs a sweep to its end while the cluster is hurt, and looks at what is left.
///
/// # Errors
/// When the run does not come to its end.
pub async fn run(settings: Settings, against: Against<'_>) -> anyhow::Result<(Report, Reference)> {
    let chaos = Arc::new(Chaos::new(Cluster::start(settings.size).await?));
    let logs = format!("logs are in {}", chaos.cluster.folder().display());
    let (report, results) = work(&chaos, settings, against).await.context(logs)?;
    let chaos = Arc::into_inner(chaos).context("somebody still hurts the cluster")?;
    chaos.cluster.stop(report.findings.wrong.is_empty()).await?;
    Ok((report, results))
}

async fn work(
    chaos: &Arc<Chaos>,
    settings: Settings,
    against: Against<'_>,
) -> anyhow::Result<(Report, Reference)> {
    let sweep = submit(&chaos.cluster, settings).await?;
    let mut watcher = watch(&chaos.cluster, &sweep)?;
    let steps = plan::plan(settings.seed, settings.doses, settings.field());
    hurt(chaos, steps, settings.size.workers).await?;
    chaos.wait_ended(settings.field().jobs).await?;
    // A client that was there all the time has seen the end.
    let seen = timeout(PATIENCE, watcher.wait()).await;
    let seen = seen.context("`temper watch` does not end")??;
    ensure!(seen.success(), "`temper watch` ended with {seen}");
    let store = &chaos.cluster.store;
    let (tables, findings) =
        judge(store, &chaos.cluster.objects(), settings.jobs(), against).await?;
    let results = check::results_of(&tables);
    let report = Report {
        jobs: tables.jobs.len(),
        done: done(chaos),
        findings,
        recovery_p99: recovery(&tables, &chaos.hurt.lock().await[..]),
        lost_attempts: lost_attempts(&tables),
    };
    Ok((report, results))
}

/// What is left at the end of a run of so many jobs, and what of it is wrong.
///
/// # Errors
/// When it cannot be read.
pub async fn judge(
    store: &Store,
    objects: &str,
    jobs: usize,
    against: Against<'_>,
) -> anyhow::Result<(Tables, Findings)> {
    let tables = Tables::read(store).await?;
    let reference = match against {
        Against::Run(reference) => reference,
        Against::Truth => &check::truth_of(&tables),
        Against::Nothing => &check::results_of(&tables),
    };
    let mut findings = check::tables(&tables, jobs, reference);
    let objects = Objects::open(objects)?;
    check::objects(&mut findings, &tables, store, &objects).await?;
    Ok((tables, findings))
}

/// What a run of the real trainer that nothing happens to yields.
///
/// # Errors
/// As [`run`].
pub async fn calm(settings: Settings) -> anyhow::Result<Reference> {
    let (report, results) = run(settings.calm(), Against::Nothing).await?;
    report.verdict(&[])?;
    Ok(results)
}

/// Follows the plan. Workers are hurt side by side, half of them at most; what concerns all of them comes
/// one after another.
async fn hurt(chaos: &Arc<Chaos>, steps: Vec<Step>, workers: usize) -> anyhow::Result<()> {
    let hands = Arc::new(Semaphore::new((workers / 2).max(1)));
    let mut under_way = JoinSet::new();
    for Step { after, injury } in steps {
        chaos.wait_ended(after).await?;
        let alone = !matches!(
            injury,
            Injury::KillWorker(_) | Injury::StopWorker(_) | Injury::DelayComplete { .. }
        );
        tracing::info!(after, ?injury, "next");
        if alone {
            let done = chaos.inflict(injury).await;
            done.with_context(|| format!("{injury:?}"))?;
            continue;
        }
        let hand = Arc::clone(&hands).acquire_owned().await?;
        let chaos = Arc::clone(chaos);
        // Awaited below.
        under_way.spawn(async move {
            let done = chaos.inflict(injury).await;
            drop(hand);
            done.with_context(|| format!("{injury:?}"))
        });
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    Ok(())
}

/// Submits the sweep of a run, and gives its name.
///
/// # Errors
/// When it is refused.
pub async fn submit(cluster: &Cluster, settings: Settings) -> anyhow::Result<String> {
    let mut client = SweepServiceClient::new(cluster.channel().await?);
    let created = client.create_sweep(settings.request()).await?.into_inner();
    let jobs = usize::try_from(created.jobs_created)?;
    ensure!(jobs == settings.jobs(), "{jobs} jobs were created");
    Ok(created.name)
}

/// A client that follows the sweep, whoever it has to ask.
///
/// # Errors
/// When the command is not built.
pub fn watch(cluster: &Cluster, sweep: &str) -> anyhow::Result<Child> {
    let mut command = cluster.client()?;
    command
        .args(["watch", sweep])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    Ok(command.spawn()?)
}

fn done(chaos: &Chaos) -> Vec<(&'static str, u32)> {
    let tally = &chaos.tally;
    [
        ("late_refused", &tally.late_refused),
        ("worker_kills", &tally.worker_kills),
        ("coordinator_kills", &tally.coordinator_kills),
        ("pg_restarts", &tally.pg_restarts),
        ("stops", &tally.stops),
        ("cuts", &tally.cuts),
        ("terminations", &tally.terminated),
    ]
    .map(|(name, count)| (name, count.load(Relaxed)))
    .to_vec()
}

/// From the time when a worker was hurt to the next lease of its job. A job that was through by then
/// has none.
fn recovery(tables: &Tables, hurt: &[Hurt]) -> Duration {
    let next = |hurt: &Hurt| {
        let later = |job, fence| job == hurt.job && fence > hurt.fence;
        let mut attempts = tables.attempts.iter();
        let next = attempts.find(|attempt| later(attempt.job_id, attempt.fence))?;
        (next.started_at - hurt.at?).to_std().ok()
    };
    let mut times: Vec<Duration> = hurt.iter().filter_map(next).collect();
    times.sort_unstable();
    let place = (times.len() * 99).div_ceil(100);
    times
        .get(place.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// Attempts that were lost.
#[must_use]
pub fn lost_attempts(tables: &Tables) -> usize {
    let attempts = tables.attempts.iter();
    attempts
        .filter(|attempt| attempt.outcome.as_deref() == Some("lost"))
        .count()
}

impl Report {
    /// Fails unless every job has its one result, and as much was done as `least` says.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn verdict(&self, least: &[(&'static str, u32)]) -> anyhow::Result<()> {
        self.findings.verdict()?;
        for (name, count) in least {
            let done = self.done.iter().find(|(done, _)| done == name);
            let done = done.map_or(0, |(_, count)| *count);
            ensure!(done >= *count, "{name}={done}, {count} are wanted");
        }
        Ok(())
    }
}

/// The line's figures.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings {
            lost, duplicates, ..
        } = self.findings;
        write!(f, "jobs={} lost={lost} duplicates={duplicates}", self.jobs)?;
        for (name, count) in self.done.iter().take(5) {
            write!(f, " {name}={count}")?;
        }
        write!(f, " recovery_p99_s={:.1}", self.recovery_p99.as_secs_f64())
    }
}
