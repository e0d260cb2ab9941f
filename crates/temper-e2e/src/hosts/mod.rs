//! A laboratory of several hosts, each in a network namespace of its own, whose lines fail: `docs/hosts.md`
//! says what is done to them. What must be true afterwards is what [`crate::chaos`] asks for.

pub mod network;
mod site;

use std::{fmt, time::Duration};

use anyhow::{Context as _, bail, ensure};
use temper_store::testing::tables::{Held, Tables};
use tokio::time::{Instant, sleep};

use crate::{
    chaos::{
        self, Against, Settings,
        check::Findings,
        cluster::{PATIENCE, PAUSE, Size},
        look::{GIVEN_UP, Look, REFUSED, says, until},
    },
    processes::Trainer,
};
use site::{Site, worker_name};

/// What a worker logs when it has begun an evaluation.
const MEASURES: &str = "evaluating";
/// Cuts until one falls into a moment in which a result is under way.
const CUTS: u32 = 8;

/// A run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The work, and who does it; nothing of its doses is given.
    pub settings: Settings,
    /// The coordinator that is lost takes its host with it: its peers are not told by a reset.
    pub vanishes: bool,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Jobs in all.
    pub jobs: usize,
    /// What is wrong at the end.
    pub findings: Findings,
    /// Results of the worker that was cut off that a coordinator refused.
    pub late_refused: u32,
    /// How often the worker was cut off.
    pub cuts: u32,
    /// Attempts that were lost.
    pub lost_attempts: usize,
    /// Jobs that the worker behind the slow link saw through.
    pub by_slow: usize,
    /// By what that link was slow.
    pub slow: &'static str,
}

impl Plan {
    /// Real trainings on three workers.
    #[must_use]
    pub fn full() -> Self {
        let size = Size {
            workers: 3,
            coordinators: 2,
            lease: Duration::from_secs(4),
            trainer: Trainer::Real,
        };
        let settings = Settings {
            size,
            // A measurement, of which one is cut off, lasts some seconds, and there are many.
            epochs: 4,
            samples: 400,
            ..Settings::real(0).calm()
        };
        Self {
            settings,
            vanishes: true,
        }
    }

    /// Less work, by the trainer that only waits.
    #[must_use]
    pub fn short() -> Self {
        let mut plan = Self::full();
        plan.settings.cells = 18;
        plan.settings.epochs = 2;
        plan.settings.size.lease = Duration::from_secs(3);
        plan.settings.size.trainer = Trainer::Fake(Duration::from_millis(500));
        plan.vanishes = false;
        plan
    }
}

/// Runs the sweep to its end, with the results `against` which it is held.
///
/// # Errors
/// When the run does not come to its end, or leaves namespaces behind.
pub async fn run(plan: Plan, against: Against<'_>) -> anyhow::Result<Report> {
    let (mut site, slow) = Site::start(plan.settings.size).await?;
    let prefix = site.network.prefix().to_owned();
    let logs = format!("logs are in {}", site.folder().display());
    let report = work(&mut site, plan, against, slow)
        .await
        .context(logs.clone());
    let is_right = report.as_ref().is_ok_and(|report| report.verdict().is_ok());
    if report.is_ok() && !is_right {
        tracing::error!("{logs}");
    }
    site.stop(is_right).await?;
    let left = network::namespaces(&prefix)?;
    ensure!(left.is_empty(), "namespaces are left: {left:?}");
    report
}

async fn work(
    site: &mut Site,
    Plan { settings, vanishes }: Plan,
    against: Against<'_>,
    slow: &'static str,
) -> anyhow::Result<Report> {
    let sweep = site.submit(&settings.request()).await?;
    let jobs = i64::try_from(settings.jobs())?;
    Look(&site.store).wait_ended(jobs / 6).await?;
    let before = site.curves(&sweep).await?;
    let (late_refused, cuts) = partition(site, &sweep).await?;
    site.lose_coordinator(vanishes).await?;
    let after = site.curves(&sweep).await?;
    ensure!(before <= after, "{before} curves were there, {after} are");
    Look(&site.store).wait_ended(jobs).await?;
    let all = site.curves(&sweep).await?;
    ensure!(all == settings.cells, "{all} curves of {}", settings.cells);
    let (tables, findings) =
        chaos::judge(&site.store, &site.objects(), settings.jobs(), against).await?;
    Ok(Report {
        jobs: tables.jobs.len(),
        findings,
        late_refused,
        cuts,
        lost_attempts: chaos::lost_attempts(&tables),
        by_slow: seen_through(&tables, &worker_name(settings.size.workers - 1)),
        slow,
    })
}

/// Cuts a worker off while it measures, until another one has its job, and connects it again. What it
/// measured meanwhile is then under way, and has to be refused.
async fn partition(site: &Site, sweep: &str) -> anyhow::Result<(u32, u32)> {
    let look = Look(&site.store);
    for cuts in 1..=CUTS {
        let (worker, held) = evaluation(site).await?;
        let host = site.worker(worker);
        let measures = || says(&site.worker_log(worker), MEASURES, &held);
        until(measures)
            .await
            .with_context(|| format!("{held:?} is not begun"))?;
        site.network.cut(host)?;
        let read = site.curves(sweep).await;
        let lost = look.lost(&held).await;
        site.network.connect(host)?;
        read.context("results while a worker is cut off")?;
        // Else its result had left before.
        if !lost? {
            continue;
        }
        let log = || site.worker_log(worker);
        let gives_up = || GIVEN_UP.iter().any(|message| says(&log(), message, &held));
        let is_told = until(gives_up).await;
        is_told.with_context(|| format!("{held:?} was lost, and the worker goes on with it"))?;
        let logs = site.coordinator_logs();
        // Else it had not come to a result before its lease was over.
        if logs.iter().any(|log| says(log, REFUSED, &held)) {
            return Ok((1, cuts));
        }
    }
    bail!("no result of a worker that was cut off came late, {CUTS} times")
}

/// An evaluation, and the worker that holds it, which is not the slow one: it says nothing before its result,
/// so that it comes to one whoever hears it. Whoever it is: while one worker trains, the others may measure all
/// there is.
async fn evaluation(site: &Site) -> anyhow::Result<(usize, Held)> {
    let look = Look(&site.store);
    let end = Instant::now() + PATIENCE;
    loop {
        for worker in 0..site.workers() - 1 {
            let held = look.held_by(&worker_name(worker)).await?;
            let held = held.filter(|held| held.evaluates && held.lost == 0);
            if let Some(held) = held {
                return Ok((worker, held));
            }
        }
        let open = look.progress().await?.open;
        ensure!(open > 0, "there is no work left to be cut off from");
        ensure!(Instant::now() < end, "nobody measures");
        sleep(PAUSE).await;
    }
}

fn seen_through(tables: &Tables, worker: &str) -> usize {
    let attempts = tables.attempts.iter().filter(|a| a.worker == worker);
    let succeeded = attempts.filter(|a| a.outcome.as_deref() == Some("succeeded"));
    succeeded.count()
}

impl Report {
    /// Fails unless every job has its one result, a late one was refused, and the slow link was of use.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn verdict(&self) -> anyhow::Result<()> {
        self.findings.verdict()?;
        ensure!(self.late_refused > 0, "no late result was refused");
        ensure!(self.by_slow > 0, "the slow worker saw no job through");
        Ok(())
    }
}

/// The line's figures.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings {
            lost, duplicates, ..
        } = self.findings;
        write!(
            f,
            "jobs={} lost={lost} duplicates={duplicates} late_refused={} cuts={} lost_attempts={} \
             by_slow={} slow={}",
            self.jobs, self.late_refused, self.cuts, self.lost_attempts, self.by_slow, self.slow
        )
    }
}
