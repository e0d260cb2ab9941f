//! Single jobs, cancelled by a person.

use anyhow::Result;
use temper_core::{
    ErrorKind,
    job::{FailureClass, JobFilter, JobState},
};
use temper_store::{AttemptOutcome, JobId, LeaseStatus};

use crate::lab::{LEASE, Lab, TESTER, failure, refusal, spec};

#[tokio::test]
async fn cancelled_job_stops_on_its_worker_though_a_live_sweep_wants_it() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec(0..2)).await?.id;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    lab.store().job_cancel(&TESTER, claim.lease.job).await?;

    let asked = [(claim.lease.job, claim.lease.fence)];
    let statuses = lab.store().lease_heartbeat(worker, &asked, LEASE).await?;
    assert_eq!(statuses, [LeaseStatus::Cancel]);
    refusal(lab.finish(&claim).await, ErrorKind::LeaseLost);
    let jobs = lab.jobs(sweep).await?;
    // The cell whose training came first in the queue, and the other.
    let (gone, left): (Vec<_>, Vec<_>) = jobs
        .iter()
        .partition(|job| job.id == claim.lease.job || job.train_job == Some(claim.lease.job));
    assert!(gone.iter().all(|job| job.state == JobState::Cancelled));
    assert!(left.iter().all(|job| job.state == JobState::Queued));
    let messages: Vec<_> = gone.iter().map(|job| job.message.as_str()).collect();
    let dependent = format!("training job {} was cancelled", claim.lease.job);
    assert_eq!(messages, ["a person cancelled it", dependent.as_str()]);
    assert_eq!(left.len(), 2);
    let detail = lab.store().job_get(claim.lease.job).await?;
    let ended = &detail.attempts[0];
    assert_eq!(ended.outcome, Some(AttemptOutcome::Cancelled));
    assert!(ended.device_seconds.is_some());
    assert_eq!(
        lab.finish_all(worker).await?.len(),
        2,
        "the other cell goes on"
    );
    Ok(())
}

#[tokio::test]
async fn cancelling_again_changes_nothing_and_what_has_ended_otherwise_is_refused() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec(0..3)).await?.id;
    let worker = lab.worker("w").await?;
    let succeeded = lab.claim(worker).await?;
    lab.finish(&succeeded).await?;
    let failed = lab.claim(worker).await?;
    lab.store()
        .attempt_fail(&failed.lease, failure(FailureClass::Diverged, "NaN"))
        .await?;
    let before = lab.jobs(sweep).await?;
    for claim in [&succeeded, &failed] {
        let refused = lab.store().job_cancel(&TESTER, claim.lease.job).await;
        refusal(refused, ErrorKind::FailedPrecondition);
    }
    assert_eq!(lab.jobs(sweep).await?, before);
    let queued = before.iter().find(|job| job.state == JobState::Queued);
    let queued = queued.map_or(JobId(0), |job| job.id);
    lab.store().job_cancel(&TESTER, queued).await?;
    let whole = "SELECT md5(string_agg(job::text, ',' ORDER BY id)) FROM temper.job";
    let rows = async || {
        sqlx::query_scalar::<_, String>(whole)
            .fetch_one(lab.database.pool())
            .await
    };
    let once = rows().await?;
    lab.store().job_cancel(&TESTER, queued).await?;
    assert_eq!(rows().await?, once);
    refusal(
        lab.store().job_cancel(&TESTER, JobId(999)).await,
        ErrorKind::NotFound,
    );
    Ok(())
}

#[tokio::test]
async fn only_a_sweep_that_asks_afterwards_brings_a_cancelled_job_back() -> Result<()> {
    let lab = Lab::new().await?;
    let first = lab.submit(&spec([0])).await?.id;
    let worker = lab.worker("w").await?;
    let (train, evaluation) = {
        let jobs = lab.jobs(first).await?;
        (jobs[0].id, jobs[1].id)
    };
    // The evaluation is cancelled by itself, and its training fails and is retried.
    lab.store().job_cancel(&TESTER, evaluation).await?;
    let claim = lab.claim(worker).await?;
    lab.store()
        .attempt_fail(&claim.lease, failure(FailureClass::BadInput, "torn"))
        .await?;
    let retried = lab
        .store()
        .jobs_retry(&TESTER, first, &JobFilter::default())
        .await?;
    assert_eq!((retried.jobs, retried.revived), (vec![train], vec![]));
    assert_eq!(lab.finish_all(worker).await?, [train]);

    // Another sweep that wants other cells does nothing to it; one that wants this cell does.
    let other = lab.submit(&spec([1])).await?.id;
    lab.store().sweep_cancel(&TESTER, other).await?;
    assert_eq!(lab.jobs(first).await?[1].state, JobState::Cancelled);
    lab.submit(&spec([0])).await?;
    assert_eq!(lab.jobs(first).await?[1].state, JobState::Queued);
    let stale = "SELECT count(*) FROM temper.job WHERE withdrawn";
    assert_eq!(lab.count(stale).await?, 0);
    assert_eq!(lab.finish_all(worker).await?, [evaluation]);
    Ok(())
}

#[tokio::test]
async fn evaluation_that_went_with_its_training_can_still_be_withdrawn() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0])).await?.id;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    lab.store()
        .attempt_fail(&claim.lease, failure(FailureClass::BadInput, "torn"))
        .await?;
    let evaluation = lab.jobs(sweep).await?[1].clone();
    assert_eq!(evaluation.state, JobState::Cancelled);
    lab.store().job_cancel(&TESTER, evaluation.id).await?;
    let retried = lab
        .store()
        .jobs_retry(&TESTER, sweep, &JobFilter::default())
        .await?;
    assert_eq!(retried.revived, []);
    Ok(())
}
