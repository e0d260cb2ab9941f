//! One process a device, under one parent.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, ensure};
use temper_e2e::{
    processes::{has_ended, wait_ended},
    signal,
    site::{Hand, Site},
    sweeps,
};
use temper_store::testing::tables::{self, AttemptRecord, Tables};

/// Short enough to be waited out.
const LEASE: Duration = Duration::from_secs(6);
/// Longer than any of these tests.
const LONG_LEASE: Duration = Duration::from_mins(5);
const GRACE: Duration = Duration::from_secs(30);
const CUT: i32 = 75;
/// What a worker says at its end that was cut.
const WAS_CUT: &str = "cut: what was under way is lost";
/// Trainings: more than there is time for in any of these tests.
const TRAININGS: u64 = 40;

/// The process of a child that was started once.
fn process_of(fleet: &Hand, name: &str) -> anyhow::Result<u32> {
    let child = children(fleet).into_iter().find(|child| child.0 == name);
    Ok(child.with_context(|| format!("no {name}"))?.1)
}

/// The children that were started: their names and processes, in order.
fn children(fleet: &Hand) -> Vec<(String, u32)> {
    let log = fleet.log();
    let lines = log.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let fields = &line["fields"];
        (fields["message"] == "started a worker").then_some(())?;
        let process = u32::try_from(fields["process"].as_u64()?).ok()?;
        Some((fields["worker"].as_str()?.to_owned(), process))
    });
    lines.collect()
}

/// Who says in the log that it has leased a job: what the span around the line is called, and the worker
/// that it names.
fn leased(log: &str) -> BTreeSet<String> {
    let lines = log.lines();
    let lines = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let lines = lines.filter(|line| line["fields"]["message"] == "leased");
    let spans = lines.filter_map(|line| {
        let span = &line["spans"][0];
        Some(span["name"].as_str()?.to_owned() + span["worker"].as_str()?)
    });
    spans.collect()
}

fn are_gone(fleet: &Hand) -> bool {
    children(fleet)
        .iter()
        .all(|(_, process)| has_ended(*process))
}

/// A fleet on the processor twice, both of it at work, and both know it: the tables have a lease before
/// its worker has heard of it.
async fn at_work(site: &Site) -> anyhow::Result<Hand> {
    site.submit(sweeps::long(0..TRAININGS)).await?;
    let mut fleet = site.worker()?;
    fleet.args(["--devices", "cpu,cpu", "--grace", "1m"]);
    let mut fleet = site.start_worker("fleet", fleet)?;
    fleet.wait_logged(2, "\"started a worker\"").await?;
    fleet.wait_log(|log| leased(log).len() == 2).await?;
    site.wait_tables(|tables| at(tables, "fleet-0").is_some() && at(tables, "fleet-1").is_some())
        .await?;
    Ok(fleet)
}

/// What a worker is at.
fn at<'a>(tables: &'a Tables, worker: &str) -> Option<&'a AttemptRecord> {
    let attempts = tables.attempts.iter();
    let mut running = attempts.filter(|attempt| attempt.outcome.is_none());
    running.find(|attempt| attempt.worker == worker)
}

fn outcomes(tables: &Tables, outcome: &str) -> usize {
    let attempts = tables.attempts.iter();
    attempts
        .filter(|attempt| attempt.outcome.as_deref() == Some(outcome))
        .count()
}

#[tokio::test]
async fn killed_child_is_replaced_the_other_goes_on_and_a_stop_drains_both() -> anyhow::Result<()> {
    let site = Site::start(LEASE).await?;
    let mut fleet = at_work(&site).await?;
    let started = Tables::read(&site.store).await?;
    let other = at(&started, "fleet-1").context("fleet-1 is at nothing")?;
    signal("KILL", process_of(&fleet, "fleet-0")?)?;

    // Its job is lost once, and the seat filled again.
    let replaced =
        |tables: &Tables| outcomes(tables, "lost") == 1 && at(tables, "fleet-0").is_some();
    site.wait_tables(replaced).await?;
    fleet.wait_logged(3, "\"started a worker\"").await?;
    let seated = children(&fleet);
    ensure!(seated.len() == 3 && seated[2].0 == "fleet-0", "{seated:?}");
    let went_on = site
        .wait_tables(|tables| {
            let same = |attempt: &&AttemptRecord| {
                (attempt.job_id, attempt.fence) == (other.job_id, other.fence)
            };
            let attempt = tables.attempts.iter().find(same);
            attempt.is_some_and(|attempt| attempt.outcome.is_some())
        })
        .await?;
    let lost: Vec<_> = went_on
        .attempts
        .iter()
        .filter(|attempt| attempt.outcome.as_deref() == Some("lost"))
        .collect();
    ensure!(lost.len() == 1 && lost[0].worker == "fleet-0", "{lost:?}");

    fleet.signal("TERM")?;
    let status = fleet.ended(GRACE).await?;
    ensure!(status.success(), "{status}: {}", fleet.log());
    ensure!(are_gone(&fleet), "{:?}", children(&fleet));
    ensure!(tables::leases(&site.store).await?.is_empty());
    let tables = Tables::read(&site.store).await?;
    let ended: BTreeSet<_> = tables
        .attempts
        .iter()
        .map(|a| a.outcome.as_deref())
        .collect();
    ensure!(
        !ended.contains(&None) && outcomes(&tables, "lost") == 1,
        "{ended:?}"
    );
    site.stop().await
}

#[tokio::test]
async fn second_signal_kills_children_whose_drain_is_stuck() -> anyhow::Result<()> {
    let site = Site::start(LONG_LEASE).await?;
    let mut fleet = at_work(&site).await?;
    site.hang_coordinator()?;
    fleet.signal("USR1")?;
    // The children say so too: each was told by its standard input.
    fleet.wait_logged(2, "\"told to stop\"").await?;
    fleet.signal("TERM")?;
    let status = fleet.ended(GRACE).await?;
    ensure!(status.code() == Some(CUT), "{status}: {}", fleet.log());
    ensure!(are_gone(&fleet), "{:?}", children(&fleet));
    site.stop().await
}

#[tokio::test]
async fn children_of_a_killed_parent_give_their_jobs_back_and_end() -> anyhow::Result<()> {
    let site = Site::start(LONG_LEASE).await?;
    let mut fleet = at_work(&site).await?;
    let orphans: Vec<_> = children(&fleet).iter().map(|child| child.1).collect();
    fleet.signal("KILL")?;
    fleet.ended(GRACE).await?;
    wait_ended(&orphans, GRACE).await?;
    let (tables, log) = (Tables::read(&site.store).await?, fleet.log());
    // Five seconds may be too few for one of them on a slow machine. It says so, and keeps its lease.
    let cuts = log.matches(WAS_CUT).count();
    let held = tables.attempts.iter().filter(|a| a.outcome.is_none());
    ensure!(held.count() <= cuts, "{:?}: {log}", tables.attempts);
    ensure!(outcomes(&tables, "released") > 0, "{:?}", tables.attempts);
    site.stop().await
}

#[tokio::test]
async fn children_of_a_killed_parent_are_cut_when_their_drain_is_stuck() -> anyhow::Result<()> {
    let site = Site::start(LONG_LEASE).await?;
    let mut fleet = at_work(&site).await?;
    let orphans: Vec<_> = children(&fleet).iter().map(|child| child.1).collect();
    site.hang_coordinator()?;
    fleet.signal("KILL")?;
    fleet.ended(GRACE).await?;
    // Sooner than their grace, which is a minute.
    wait_ended(&orphans, GRACE).await?;
    let cuts = fleet.log().matches(WAS_CUT).count();
    ensure!(cuts == 2, "{}", fleet.log());
    site.stop().await
}

#[tokio::test]
async fn child_that_is_told_to_stop_by_itself_gives_its_job_back_and_is_replaced()
-> anyhow::Result<()> {
    let site = Site::start(LONG_LEASE).await?;
    let mut fleet = at_work(&site).await?;
    signal("TERM", process_of(&fleet, "fleet-0")?)?;
    fleet.wait_logged(3, "\"started a worker\"").await?;
    let tables = site
        .wait_tables(|tables| at(tables, "fleet-0").is_some())
        .await?;
    ensure!(outcomes(&tables, "released") == 1 && outcomes(&tables, "lost") == 0);
    fleet.signal("TERM")?;
    let status = fleet.ended(GRACE).await?;
    ensure!(status.success(), "{status}: {}", fleet.log());
    site.stop().await
}

#[tokio::test]
async fn children_say_in_their_log_which_they_are() -> anyhow::Result<()> {
    let site = Site::start(LONG_LEASE).await?;
    let mut fleet = at_work(&site).await?;
    let said = fleet.log();
    let names = leased(&said);
    let expected = [0, 1].map(|child| format!("workerfleet-{child}"));
    ensure!(names == BTreeSet::from(expected), "{names:?}: {said}");
    fleet.signal("TERM")?;
    ensure!(fleet.ended(GRACE).await?.success());
    site.stop().await
}

#[tokio::test]
async fn device_is_refused_while_another_worker_lives_on_it() -> anyhow::Result<()> {
    let site = Site::start(LONG_LEASE).await?;
    let on_it = |name: &str| {
        let mut worker = site.worker()?;
        worker.args(["--lock-key", "made-up"]);
        worker.arg("--runtime").arg(site.folder().join("runtime"));
        site.start_worker(name, worker)
    };
    let mut first = on_it("first")?;
    first.wait_logged(1, "\"registered\"").await?;
    let mut second = on_it("second")?;
    let status = second.ended(GRACE).await?;
    ensure!(status.code() == Some(1), "{status}");
    let owner = format!("process {} (temper-worker)", first.id()?);
    ensure!(second.log().contains(&owner), "{}", second.log());

    // Nothing of it can clean up.
    first.signal("KILL")?;
    first.ended(GRACE).await?;
    let mut third = on_it("third")?;
    third.wait_logged(1, "\"registered\"").await?;
    drop(third);
    site.stop().await
}

#[tokio::test]
async fn fleet_that_gets_nothing_ends_well() -> anyhow::Result<()> {
    let site = Site::start(LONG_LEASE).await?;
    let mut fleet = site.worker()?;
    fleet.args(["--devices", "cpu,cpu", "--exit-when-idle", "3s"]);
    let mut fleet = site.start_worker("fleet", fleet)?;
    let status = fleet.ended(GRACE * 2).await?;
    ensure!(status.success(), "{status}: {}", fleet.log());
    ensure!(children(&fleet).len() == 2, "{}", fleet.log());
    site.stop().await
}
