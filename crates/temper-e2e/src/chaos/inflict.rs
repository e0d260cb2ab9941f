//! Hurts a cluster as planned.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use temper_store::testing::tables::{self, Held, Progress};
use tokio::{
    sync::{Mutex, RwLock},
    time::{Instant, sleep},
};

use super::{
    cluster::{Cluster, Life, PATIENCE, PAUSE},
    plan::Injury,
};

/// Jobs that the others have to get done before a coordinator that was killed comes back.
const WITHOUT_IT: i64 = 3;
/// What a worker says that gives a job up of its own accord: one that it works on, or one that it heard of
/// too late.
const GIVEN_UP: [&str; 2] = [
    "discarded: the lease is over",
    "the lease was over before the job began",
];
/// What a coordinator says to a result that comes too late.
const REFUSED: &str = "late result refused";

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
        let Some(held) = self.busy(&life).await? else {
            return Ok(());
        };
        self.cluster.replace_worker(&mut life).await?;
        self.note(&held, Some(held.seen_at)).await;
        self.tally.worker_kills.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn stop_worker(&self, place: usize) -> anyhow::Result<()> {
        let life = self.cluster.worker(place).life.lock().await;
        while let Some(held) = self.busy(&life).await? {
            life.signal("STOP")?;
            let lost = self.lost(&held).await;
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
            match self.held_by(&life).await? {
                Some(held) if held.lost == 0 => break held,
                // A job that was lost before is spared.
                _ => worker.gate.open(),
            }
        };
        if stopped {
            life.signal("STOP")?;
        }
        let lost = self.lost(&held).await;
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
        let succeeded = self.progress().await?.succeeded;
        self.wait_ended(succeeded + WITHOUT_IT).await?;
        self.cluster.restart_coordinator(place).await
    }

    /// Waits until so many jobs have succeeded, or there is nothing left to do.
    ///
    /// # Errors
    /// When jobs fail, or none succeeds for long.
    pub async fn wait_ended(&self, succeeded: i64) -> anyhow::Result<()> {
        let (mut end, mut last) = (Instant::now() + PATIENCE, 0);
        loop {
            let now = self.progress().await?;
            if now.succeeded > last {
                (end, last) = (Instant::now() + PATIENCE, now.succeeded);
            }
            ensure!(now.given_up == 0, "jobs have failed: {now:?}");
            if now.succeeded >= succeeded || now.open == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < end, "the work does not go on: {now:?}");
            sleep(PAUSE).await;
        }
    }

    async fn progress(&self) -> anyhow::Result<Progress> {
        self.asked(|| tables::progress(&self.cluster.store)).await
    }

    /// Waits until the worker holds a job that may be lost once more. One that was lost before is spared:
    /// jobs fail at their third loss, and restarts of PostgreSQL may cost one.
    /// None once there is no work left: what was planned and not done is missing in the tally.
    async fn busy(&self, life: &Life) -> anyhow::Result<Option<Held>> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.held_by(life).await? {
                Some(held) if held.lost == 0 => return Ok(Some(held)),
                _ => sleep(PAUSE).await,
            }
            if self.progress().await?.open == 0 {
                return Ok(None);
            }
            ensure!(Instant::now() < end, "{} has nothing to do", life.name());
        }
    }

    async fn held_by(&self, life: &Life) -> anyhow::Result<Option<Held>> {
        let leases = self.asked(|| tables::leases(&self.cluster.store)).await?;
        let name = life.name();
        Ok(leases.into_iter().find(|held| held.worker == name))
    }

    /// Waits for the end of an attempt. When it is lost, waits until another worker has the job.
    async fn lost(&self, held: &Held) -> anyhow::Result<bool> {
        let end = Instant::now() + PATIENCE;
        let attempt = (held.job, held.fence);
        loop {
            let outcome = || tables::attempt_outcome(&self.cluster.store, attempt);
            let (outcome, fence) = self.asked(outcome).await?;
            match outcome.as_deref() {
                // Given back: the worker had never heard of it.
                Some("succeeded" | "released") => return Ok(false),
                Some("lost") if fence > held.fence => return Ok(true),
                other if Instant::now() > end => {
                    anyhow::bail!("job {} stays as it is: {other:?}", held.job)
                }
                _ => sleep(PAUSE).await,
            }
        }
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

    /// Asks the database, again while it is away.
    async fn asked<T, F>(&self, question: impl Fn() -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, temper_store::StoreError>>,
    {
        let end = Instant::now() + PATIENCE;
        loop {
            match question().await {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() > end => return Err(error.into()),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

/// Waits for something to be so.
async fn until(is_so: impl Fn() -> bool) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE / 4;
    while !is_so() {
        ensure!(Instant::now() < end, "it does not happen");
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Whether a log has this message about this lease: in its own fields, or in those of a span.
fn says(log: &str, message: &str, held: &Held) -> bool {
    let lines = log.lines().filter(|line| line.contains(message));
    let mut lines = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.any(|line| {
        let spans = line["spans"].as_array().into_iter().flatten();
        std::iter::once(&line["fields"]).chain(spans).any(|fields| {
            let job = fields["job"].as_str().unwrap_or_default();
            let job = job.trim_start_matches("jobs/");
            job == held.job.to_string() && fields["fence"] == held.fence
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_tell_of_leases_in_fields_and_spans() {
        let held = Held {
            job: 5,
            fence: 9,
            worker: String::new(),
            lost: 0,
            seen_at: DateTime::UNIX_EPOCH,
        };
        let refused =
            r#"{"fields":{"message":"late result refused","job":"5","fence":9,"reason":"r"}}"#;
        let discarded = r#"{"fields":{"message":"discarded: the lease is over","why":"Some(Lost)"},
            "spans":[{"name":"job","job":"jobs/5","fence":9}]}"#
            .replace('\n', "");
        assert!(says(refused, REFUSED, &held));
        assert!(says(&discarded, GIVEN_UP[0], &held));
        assert!(!says(&discarded, REFUSED, &held));
        let other = Held { fence: 8, ..held };
        assert!(!says(&discarded, GIVEN_UP[0], &other));
    }
}
