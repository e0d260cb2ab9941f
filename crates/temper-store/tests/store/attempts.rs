//! Attempts, as people look at them.

use anyhow::Result;
use temper_core::{ErrorKind, job::FailureClass};
use temper_store::{AttemptOutcome, AttemptsQuery, JobId};

use crate::lab::{Lab, failure, refusal, spec};

/// Lets so many seconds pass for what runs.
async fn pass(lab: &Lab, seconds: i32) -> Result<()> {
    sqlx::query(
        "UPDATE temper.attempt SET started_at = started_at - make_interval(secs => $1)
        WHERE ended_at IS NULL",
    )
    .bind(f64::from(seconds))
    .execute(lab.database.pool())
    .await?;
    Ok(())
}

#[tokio::test]
async fn lost_failed_released_and_accepted_attempts_all_count_as_device_time() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;

    let lost = lab.claim(worker).await?;
    let job = lost.lease.job;
    pass(&lab, 100).await?;
    let running = lab.store().job_get(job).await?;
    assert_eq!(
        (running.device_seconds(), running.wasted_share()),
        (0.0, 0.0)
    );
    lab.let_leases_run_out().await?;
    lab.store().lease_expire().await?;
    lab.let_backoff_pass().await?;

    let failed = lab.claim(worker).await?;
    pass(&lab, 200).await?;
    lab.store()
        .attempt_fail(&failed.lease, failure(FailureClass::Infrastructure, "disk"))
        .await?;
    lab.let_backoff_pass().await?;

    let released = lab.claim(worker).await?;
    pass(&lab, 300).await?;
    lab.store().lease_release(&released.lease).await?;

    let accepted = lab.claim(worker).await?;
    pass(&lab, 400).await?;
    lab.finish(&accepted).await?;

    let detail = lab.store().job_get(job).await?;
    let outcomes = detail.attempts.iter().map(|attempt| attempt.outcome);
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [
            Some(AttemptOutcome::Lost),
            Some(AttemptOutcome::Failed),
            Some(AttemptOutcome::Released),
            Some(AttemptOutcome::Succeeded),
        ]
    );
    for (attempt, expected) in detail.attempts.iter().zip([100.0, 200.0, 300.0, 400.0]) {
        let seconds = attempt.device_seconds.unwrap_or_default();
        assert!(
            (expected..expected + 20.0).contains(&seconds),
            "{attempt:?}"
        );
    }
    let total = detail.device_seconds();
    assert!((1000.0..1040.0).contains(&total), "{total}");
    let share = detail.wasted_share();
    assert!((0.58..0.62).contains(&share), "{share}");
    let summary: f64 = sqlx::query_scalar("SELECT device_seconds FROM temper.job_summary")
        .fetch_one(lab.database.pool())
        .await?;
    assert!((summary - total).abs() < 1e-6, "{summary} of {total}");
    Ok(())
}

#[tokio::test]
async fn pages_of_attempts_follow_one_another() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let mut job = JobId(0);
    for _ in 0..5 {
        let claim = lab.claim(worker).await?;
        job = claim.lease.job;
        lab.store().lease_release(&claim.lease).await?;
    }
    let (mut numbers, mut after) = (Vec::new(), None);
    loop {
        let query = AttemptsQuery {
            job,
            after,
            limit: 2,
        };
        let page = lab.store().attempt_list(query).await?;
        assert!(page.attempts.len() <= 2);
        numbers.extend(page.attempts.iter().map(|attempt| attempt.number));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let nobody = AttemptsQuery {
        job: JobId(99),
        after: None,
        limit: 2,
    };
    refusal(lab.store().attempt_list(nobody).await, ErrorKind::NotFound);
    Ok(())
}

#[tokio::test]
async fn backoff_of_a_failed_job_is_its_classes_pause_with_the_jobs_own_jitter() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..8)).await?;
    let worker = lab.worker("w").await?;
    for _ in 0..8 {
        let claim = lab.claim(worker).await?;
        lab.store()
            .attempt_fail(&claim.lease, failure(FailureClass::Infrastructure, "disk"))
            .await?;
    }
    let pauses: Vec<f64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM available_at - ended_at)::float8
        FROM temper.job JOIN temper.attempt ON attempt.job_id = job.id ORDER BY 1",
    )
    .fetch_all(lab.database.pool())
    .await?;
    assert!(
        pauses.iter().all(|pause| (3.75..=6.25).contains(pause)),
        "{pauses:?}"
    );
    assert!(pauses[7] - pauses[0] > 0.1, "in step: {pauses:?}");
    Ok(())
}
