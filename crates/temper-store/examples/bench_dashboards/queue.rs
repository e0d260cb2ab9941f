//! The queue, alone and beside readers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use temper_core::access::Role;
use temper_store::{
    StoreError, WorkerRef,
    testing::{Database, bench},
};
use tokio::{task::JoinSet, time::sleep_until};

use crate::{
    lab::{self, LEASE, Lab},
    panels::{Asked, send},
};

const WORKERS: usize = 4;
const READERS: usize = 4;
/// Rounds of each kind.
const ROUNDS: usize = 5;
/// Jobs of a round.
const JOBS: u32 = 2_000;
/// The shortest pause between two refreshes that a dashboard has.
const REFRESH: Duration = Duration::from_secs(10);

/// What is left of the queue's throughput.
pub struct Queue {
    /// Beside readers that refresh.
    pub kept: f64,
    /// Beside readers that never pause.
    pub kept_without_pause: f64,
}

/// Who reads meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nobody,
    Refreshing,
    WithoutPause,
}

/// Measures rounds of each kind by turns.
///
/// # Errors
/// When the database fails.
pub async fn measure(database: &Database, asked: &Asked) -> Result<Queue> {
    let token = lab::token(database.store(), "bench", Role::Worker).await?;
    let kinds = [Beside::Nobody, Beside::Refreshing, Beside::WithoutPause];
    // Each cell is two jobs; one round more than is measured is warm-up.
    let cells = u64::from(JOBS) * (ROUNDS as u64 * kinds.len() as u64 + 1) / 2;
    let spec = lab::spec(1_000..1_000 + cells);
    let submission = lab::Submission {
        priority: 1,
        ..lab::Submission::of(&spec)
    };
    submission.send(database.store()).await?;
    bench::vacuum(database.store()).await?;
    let bench = Bench {
        database,
        asked: Arc::new(
            asked
                .statements
                .iter()
                .map(|(_, sql)| sql.clone())
                .collect(),
        ),
        token,
    };
    bench.round(Beside::Nobody).await?;
    let (mut refreshing, mut without_pause) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let alone = bench.round(Beside::Nobody).await?;
        refreshing.push(bench.round(Beside::Refreshing).await? / alone);
        without_pause.push(bench.round(Beside::WithoutPause).await? / alone);
    }
    Ok(Queue {
        kept: median(refreshing),
        kept_without_pause: median(without_pause),
    })
}

struct Bench<'a> {
    database: &'a Database,
    asked: Arc<Vec<String>>,
    token: uuid::Uuid,
}

impl Bench<'_> {
    /// Jobs a second.
    async fn round(&self, beside: Beside) -> Result<f64> {
        bench::checkpoint(self.database.store()).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        let read = Arc::new(AtomicU32::new(0));
        if beside != Beside::Nobody {
            let pool = self.database.reader(u32::try_from(READERS)?).await?;
            for number in 0..READERS {
                let reader = Reader {
                    pool: pool.clone(),
                    asked: Arc::clone(&self.asked),
                    first: number * self.asked.len() / READERS,
                    pause: (beside == Beside::Refreshing).then_some(REFRESH),
                    stop: Arc::clone(&stop),
                    read: Arc::clone(&read),
                };
                readers.spawn(reader.run());
            }
        }
        let rate = self.work().await?;
        stop.store(true, Ordering::Relaxed);
        // Those that pause need not be waited for.
        if beside == Beside::Refreshing {
            readers.shutdown().await;
        }
        while let Some(ended) = readers.join_next().await {
            ended??;
        }
        println!(
            "queue: beside={beside:?} jobs_per_s={rate:.0} statements_read={}",
            read.load(Ordering::Relaxed)
        );
        Ok(rate)
    }

    async fn work(&self) -> Result<f64> {
        let mut workers = JoinSet::new();
        let left = Arc::new(AtomicU32::new(JOBS));
        let started = Instant::now();
        for number in 0..WORKERS {
            let lab = Lab {
                database: self.database.clone(),
                token: self.token,
            };
            let worker = lab.worker(&format!("worker-{number}")).await?;
            workers.spawn(toil(lab, worker, Arc::clone(&left)));
        }
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        ensure!(left.load(Ordering::Relaxed) == 0, "jobs are left");
        Ok(f64::from(JOBS) / started.elapsed().as_secs_f64())
    }
}

/// Does jobs until so many are done.
async fn toil(lab: Lab, worker: WorkerRef, left: Arc<AtomicU32>) -> Result<()> {
    let take = |left: u32| left.checked_sub(1);
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        .is_ok()
    {
        let claim = loop {
            if let Some(claim) = lab.store().lease_claim(worker, LEASE).await? {
                break claim;
            }
        };
        let done: Result<(), StoreError> = lab.finish(&claim).await;
        done.context("finishing a job")?;
    }
    Ok(())
}

struct Reader {
    pool: sqlx::PgPool,
    asked: Arc<Vec<String>>,
    first: usize,
    pause: Option<Duration>,
    stop: Arc<AtomicBool>,
    read: Arc<AtomicU32>,
}

impl Reader {
    /// Goes through all the statements until it is told to stop.
    async fn run(self) -> Result<()> {
        loop {
            let started = tokio::time::Instant::now();
            for sql in self
                .asked
                .iter()
                .cycle()
                .skip(self.first)
                .take(self.asked.len())
            {
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                send(&self.pool, sql).await?;
                self.read.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(pause) = self.pause {
                sleep_until(started + pause).await;
            }
        }
    }
}

/// The middle one; of an even number the upper.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
