//! Hurts a cluster as planned.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use temper_store::testing::tables::{self, Held};
use tokio::sync::{Mutex, RwLock};

use super::{
    cluster::Cluster,
    look::{GIVEN_UP, Look, REFUSED, says, until},
    plan::Injury,
};

/// Jobs that the others have to get done before a coordinator that was killed comes back.
const WITHOUT_IT: i64 = 3;
/// A cluster and what was done to it.
pub struct Chaos {
    /// The cluster.
    pub cluster: Cluster,
    /// What was done.
    pub tally: Tally,
    /// Leases that were cut short.
    pub hurt: Mutex<Vec<Hurt>>,
    /// Held shared by whoever has a message on a line, and alone by whoever breaks what is behind it.
    lines: RwLock<()>,
}

/// How often each thing was done. Late Completes are those that a coordinator refused.
#[derive(Debug, Default)]
pub struct Tally {
    /// Workers killed.
    pub worker_kills: AtomicU32,
    /// Workers stopped until another had their job, and continued.
    pub stops: AtomicU32,
    /// Completes of workers that arrived late and were refused.
    pub late_refused: AtomicU32,
    /// Coordinators killed.
    pub coordinator_kills: AtomicU32,
    /// PostgreSQL restarted.
    pub pg_restarts: AtomicU32,
    /// Backends terminated.
    pub terminated: AtomicU32,
    /// Workers and coordinators that were cut off.
    pub cuts: AtomicU32,
}

/// A lease whose worker was killed, stopped or cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hurt {
    /// Number of the job.
    pub job: i64,
    /// Fence of the lease.
    pub fence: i64,
    /// When, by the database's clock; none where the worker lived on for a while.
    pub at: Option<DateTime<Utc>>,
}

impl Chaos {
    /// A cluster that is whole.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            tally: Tally::default(),
            hurt: Mutex::default(),
            lines: RwLock::default(),
        }
    }

    /// Does it. Whatever has to be waited for is: a worker to hold a job, a lease to be lost.
    ///
    /// # Errors
    /// When what has to follow does not.
    pub async fn inflict(&self, injury: Injury) -> anyhow::Result<()> {
        match injury {
            Injury::KillWorker(place) => self.kill_worker(place).await,
            Injury::StopWorker(place) => self.stop_worker(place).await,
            Injury::DelayComplete { worker, stopped } => self.delay(worker, stopped).await,
            Injury::CutWorker(place) => {
                let worker = self.cluster.worker(place);
                let _alone = worker.life.lock().await;
                worker.cut();
                self.tally.cuts.fetch_add(1, Relaxed);
                Ok(())
            }
            Injury::KillCoordinator(place) => self.kill_coordinator(place).await,
            Injury::CutDatabase(place) => {
                let _alone = self.lines.write().await;
                self.cluster.cut_database(place);
                self.tally.cuts.fetch_add(1, Relaxed);
                Ok(())
            }
            Injury::RestartPostgres { crashed } => {
                let _alone = self.lines.write().await;
                self.cluster.restart_postgres(crashed).await?;
                self.tally.pg_restarts.fetch_add(1, Relaxed);
                Ok(())
            }
            Injury::TerminateBackends => {
                let _alone = self.lines.write().await;
                let gone = tables::backends_terminate(&self.cluster.store).await?;
                ensure!(gone > 0, "there was no backend to terminate");
                self.tally.terminated.fetch_add(1, Relaxed);
                Ok(())
            }
        }
    }

    async fn kill_worker(&self, place: usize) -> anyhow::Result<()> {
        let mut life = self.cluster.worker(place).life.lock().await;
        let Some(held) = self.look().busy(&life.name()).await? else {
            return Ok(());
        };
        self.cluster.replace_worker(&mut life).await?;
        self.note(&held, Some(held.seen_at)).await;
        self.tally.worker_kills.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn stop_worker(&self, place: usize) -> anyhow::Result<()> {
        let life = self.cluster.worker(place).life.lock().await;
        while let Some(held) = self.look().busy(&life.name()).await? {
            life.signal("STOP")?;
            let lost = self.look().lost(&held).await;
            life.signal("CONT")?;
            // Where its result was on the way already, it has lost nothing: the next job, then.
            if lost? {
                self.note(&held, Some(held.seen_at)).await;
                self.gives_up(place, &held).await?;
                self.tally.stops.fetch_add(1, Relaxed);
                break;
            }
        }
        Ok(())
    }

    /// The next Complete of the worker is held on the line, together with all that it sends after it,
    /// until another worker has the job. Then it arrives, and has to be refused.
    async fn delay(&self, place: usize, stopped: bool) -> anyhow::Result<()> {
        let worker = self.cluster.worker(place);
        let life = worker.life.lock().await;
        let _shared = self.lines.read().await;
        let held = loop {
            tokio::select! {
                () = worker.gate.hold_next_complete() => {}
                over = self.wait_ended(i64::MAX) => {
                    worker.gate.open();
                    return over;
                }
            }
            match self.look().held_by(&life.name()).await? {
                Some(held) if held.lost == 0 => break held,
                // A job that was lost before is spared.
                _ => worker.gate.open(),
            }
        };
        if stopped {
            life.signal("STOP")?;
        }
        let lost = self.look().lost(&held).await;
        worker.gate.open();
        ensure!(lost?, "job {} succeeded without its Complete", held.job);
        let says_so = || {
            let mut logs = self.cluster.coordinator_logs().into_iter();
            logs.any(|log| says(&log, REFUSED, &held))
        };
        let refused = until(says_so).await;
        if stopped {
            life.signal("CONT")?;
            self.tally.stops.fetch_add(1, Relaxed);
        }
        refused.with_context(|| format!("a late result of job {} was not refused", held.job))?;
        self.tally.late_refused.fetch_add(1, Relaxed);
        self.note(&held, stopped.then_some(held.seen_at)).await;
        self.gives_up(place, &held).await
    }

    async fn kill_coordinator(&self, place: usize) -> anyhow::Result<()> {
        let _alone = self.lines.write().await;
        self.cluster.kill_coordinator(place).await?;
        self.tally.coordinator_kills.fetch_add(1, Relaxed);
        let succeeded = self.look().progress().await?.succeeded;
        self.wait_ended(succeeded + WITHOUT_IT).await?;
        self.cluster.restart_coordinator(place).await
    }

    /// Waits until so many jobs have succeeded, or there is nothing left to do.
    ///
    /// # Errors
    /// When jobs fail, or none succeeds for long.
    pub async fn wait_ended(&self, succeeded: i64) -> anyhow::Result<()> {
        self.look().wait_ended(succeeded).await
    }

    fn look(&self) -> Look<'_> {
        Look(&self.cluster.store)
    }

    /// Waits until the worker has said that it gives the job up.
    async fn gives_up(&self, place: usize, held: &Held) -> anyhow::Result<()> {
        let says_so = || {
            let log = self.cluster.worker_log(place);
            GIVEN_UP.iter().any(|message| says(&log, message, held))
        };
        until(says_so)
            .await
            .with_context(|| format!("a worker goes on with job {} that it lost", held.job))
    }

    async fn note(&self, held: &Held, at: Option<DateTime<Utc>>) {
        self.hurt.lock().await.push(Hurt {
            job: held.job,
            fence: held.fence,
            at,
        });
    }
}
