use std::time::Duration;

use anyhow::{Result, bail};
use temper_core::job::JobState;
use temper_store::{JobChanges, JobId, SnapshotToken, StoreError};
use tokio::time::sleep;
use uuid::Uuid;

use crate::lab::{Lab, epoch, spec};

fn ids(changes: &JobChanges) -> Vec<JobId> {
    changes.jobs.iter().map(|job| job.id).collect()
}

async fn look(lab: &Lab, sweep: Uuid, from: SnapshotToken) -> Result<JobChanges, StoreError> {
    let changes = lab.store().job_changes(sweep, from, 100).await?;
    assert!(changes.next.is_whole());
    Ok(changes)
}

/// Watches until nothing is told twice any more, which other databases' transactions delay.
async fn quiet(lab: &Lab, sweep: Uuid, since: SnapshotToken) -> Result<SnapshotToken> {
    let mut since = since;
    for _ in 0..500 {
        let changes = look(lab, sweep, since).await?;
        since = changes.next;
        if changes.jobs.is_empty() {
            return Ok(since);
        }
        sleep(Duration::from_millis(20)).await;
    }
    bail!("it is never quiet")
}

#[tokio::test]
async fn watcher_is_told_everything_first_and_then_what_changed() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec(0..3)).await?.id;
    let all = look(&lab, sweep, SnapshotToken::default()).await?;
    assert_eq!(all.jobs, lab.jobs(sweep).await?);
    let next = quiet(&lab, sweep, all.next).await?;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    let leased = look(&lab, sweep, next).await?;
    assert_eq!(ids(&leased), [claim.lease.job]);
    assert_eq!(leased.jobs[0].state, JobState::Leased);
    let next = quiet(&lab, sweep, leased.next).await?;
    lab.store().epochs_report(&claim.lease, &[epoch(0)]).await?;
    let progress = look(&lab, sweep, next).await?;
    assert_eq!(ids(&progress), [claim.lease.job]);
    assert_eq!(progress.jobs[0].last_epoch, Some(epoch(0)));
    lab.store()
        .epochs_report(&claim.lease, &[epoch(1), epoch(2)])
        .await?;
    lab.finish(&claim).await?;
    let done = look(&lab, sweep, progress.next).await?;
    assert_eq!(
        done.jobs.len(),
        2,
        "the training, and the evaluation that it unblocks"
    );
    Ok(())
}

#[tokio::test]
async fn look_in_pages_tells_each_job_once_and_the_next_what_changed_meanwhile() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec(0..3)).await?.id;
    let jobs = lab.jobs(sweep).await?;
    let all = look(&lab, sweep, SnapshotToken::default()).await?;
    let start = quiet(&lab, sweep, all.next).await?;
    let touch = "UPDATE temper.job SET message = message || 'touched' WHERE id = ANY($1)";
    let touch = |jobs: &[JobId]| {
        let ids: Vec<i64> = jobs.iter().map(|job| job.0).collect();
        sqlx::query(touch).bind(ids).execute(lab.database.pool())
    };
    let all: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    touch(&all).await?;

    let (mut told, mut from) = (Vec::new(), start);
    loop {
        let page = lab.store().job_changes(sweep, from, 4).await?;
        if told.is_empty() {
            // Behind the reader: not of this look.
            touch(&all[..1]).await?;
        }
        told.extend(ids(&page));
        from = page.next;
        if from.is_whole() {
            break;
        }
    }
    assert_eq!(told, all);
    assert!(ids(&look(&lab, sweep, from).await?).contains(&all[0]));
    Ok(())
}

#[tokio::test]
async fn watcher_misses_no_change_that_commits_late() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec(0..3)).await?.id;
    let jobs = lab.jobs(sweep).await?;
    let start = look(&lab, sweep, SnapshotToken::default()).await?.next;
    let start = quiet(&lab, sweep, start).await?;
    let touch = "UPDATE temper.job SET message = 'touched' WHERE id = $1";
    let (slow, quick) = (jobs[0].id, jobs[2].id);
    let mut transaction = lab.database.pool().begin().await?;
    sqlx::query(touch)
        .bind(slow.0)
        .execute(&mut *transaction)
        .await?;
    // Another transaction starts later, ends sooner and is told.
    sqlx::query(touch)
        .bind(quick.0)
        .execute(lab.database.pool())
        .await?;
    let sooner = look(&lab, sweep, start).await?;
    assert_eq!(ids(&sooner), [quick]);
    transaction.commit().await?;
    let later = look(&lab, sweep, sooner.next).await?;
    assert!(ids(&later).contains(&slow), "{later:?}");
    quiet(&lab, sweep, later.next).await?;
    Ok(())
}
