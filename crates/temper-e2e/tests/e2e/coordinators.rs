//! Two coordinators over one database, either of which may die.

use std::{collections::BTreeSet, time::Duration};

use anyhow::ensure;
use chrono::{DateTime, Utc};
use temper_e2e::{
    chaos::{
        self, Settings, check,
        cluster::{Cluster, Size},
        inflict::Chaos,
    },
    processes::Trainer,
};
use temper_store::testing::tables::{self, AttemptRecord, Tables};

const LEASE: Duration = Duration::from_secs(5);
const WORKERS: usize = 3;

/// Kills a coordinator, and says when by the database's clock.
async fn kill(cluster: &Cluster, place: usize) -> anyhow::Result<DateTime<Utc>> {
    cluster.kill_coordinator(place).await?;
    Ok(tables::now(&cluster.store).await?)
}

/// How long the job of an attempt that came to nothing waited for its next lease: from `killed` on where
/// the attempt was under way by then, else from its end.
fn waits(attempts: &[AttemptRecord], killed: DateTime<Utc>) -> Vec<Duration> {
    let pairs = attempts
        .windows(2)
        .filter(|pair| pair[0].job_id == pair[1].job_id);
    pairs
        .map(|pair| {
            let ended = pair[0].ended_at.unwrap_or(killed);
            let since = if pair[0].started_at < killed && killed < ended {
                killed
            } else {
                ended
            };
            (pair[1].started_at - since).to_std().unwrap_or_default()
        })
        .collect()
}

#[tokio::test]
async fn killed_coordinator_is_stood_in_for_and_no_job_waits_longer_than_a_lease()
-> anyhow::Result<()> {
    let settings = Settings {
        // There must be work left when a coordinator is back.
        cells: 40,
        size: Size {
            workers: WORKERS,
            coordinators: 2,
            lease: LEASE,
            trainer: Trainer::Fake(Duration::from_millis(150)),
        },
        ..Settings::short(0)
    };
    let chaos = Chaos::new(Cluster::start(settings.size).await?);
    let cluster = &chaos.cluster;
    let sweep = chaos::submit(cluster, settings).await?;
    let mut watcher = chaos::watch(cluster, &sweep)?;

    // One after the other, so that whoever was connected to either has had to leave it.
    chaos.wait_ended(8).await?;
    let first = kill(cluster, 0).await?;
    chaos.wait_ended(16).await?;
    cluster.restart_coordinator(0).await?;
    let second = kill(cluster, 1).await?;
    chaos.wait_ended(i64::try_from(settings.jobs())?).await?;
    ensure!(watcher.wait().await?.success(), "`temper watch` gave up");

    let tables = Tables::read(&cluster.store).await?;
    let found = check::tables(&tables, settings.jobs(), &check::truth_of(&tables));
    ensure!(found.wrong.is_empty(), "{found:?}");
    for killed in [first, second] {
        let longest = waits(&tables.attempts, killed).into_iter().max();
        ensure!(
            longest.unwrap_or_default() <= LEASE,
            "{:?}",
            tables.attempts
        );
        let after = tables.attempts.iter().filter(|a| a.started_at > killed);
        let at_work: BTreeSet<_> = after.map(|attempt| &attempt.worker).collect();
        ensure!(at_work.len() == WORKERS, "only {at_work:?} went on");
    }
    chaos.cluster.stop(true).await
}
