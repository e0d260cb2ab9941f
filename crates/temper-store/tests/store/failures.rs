use anyhow::Result;
use temper_core::{
    ErrorKind,
    job::{FailureClass, JobState},
};
use temper_store::{AttemptOutcome, SweepState};

use crate::lab::{LEASE, Lab, failure, refusal, spec};

#[tokio::test]
async fn failed_training_cancels_what_depends_on_it_and_the_sweep_goes_on() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0, 1])).await?;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    let message = "weights.safetensors is truncated";
    let state = lab
        .store()
        .attempt_fail(&claim.lease, failure(FailureClass::BadInput, message))
        .await?;
    assert_eq!(state, JobState::Failed);
    lab.finish_all(worker).await?;

    let jobs = lab.jobs(sweep.id).await?;
    let failed = jobs.iter().find(|job| job.id == claim.lease.job).unwrap();
    assert_eq!(failed.message, format!("bad-input: {message}"));
    let dependent = jobs
        .iter()
        .find(|job| job.train_job == Some(failed.id))
        .unwrap();
    assert_eq!(dependent.state, JobState::Cancelled);
    assert_eq!(
        dependent.message,
        format!("training job {} failed", failed.id)
    );
    let row = lab.store().sweep_get(sweep.id).await?;
    assert_eq!(row.state, SweepState::Failed);
    assert_eq!(
        (row.jobs.succeeded, row.jobs.failed, row.jobs.cancelled),
        (2, 1, 1)
    );
    assert_eq!((row.cells, row.cells_succeeded), (2, 1));

    let late = lab
        .store()
        .attempt_fail(&claim.lease, failure(FailureClass::Code, "again"))
        .await;
    assert!(refusal(late, ErrorKind::LeaseLost).contains("attempt has failed"));
    Ok(())
}

#[tokio::test]
async fn failure_is_retried_by_its_class_with_backoff() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let mut states = Vec::new();
    for _ in 0..5 {
        let claim = lab.claim(worker).await?;
        let class = FailureClass::Infrastructure;
        states.push(
            lab.store()
                .attempt_fail(&claim.lease, failure(class, "disk"))
                .await?,
        );
        let early = lab.store().lease_claim(worker, LEASE).await?;
        assert_eq!(early, None, "it waits before it is tried again");
        lab.let_backoff_pass().await?;
    }
    assert_eq!(states[..4], [JobState::Queued; 4]);
    assert_eq!(states[4], JobState::Failed);
    Ok(())
}

#[tokio::test]
async fn attempts_of_one_class_do_not_count_against_another() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let classes = [
        FailureClass::Preempted,
        FailureClass::Code,
        FailureClass::Preempted,
        FailureClass::Code,
    ];
    let mut states = Vec::new();
    for class in classes {
        let claim = lab.claim(worker).await?;
        states.push(
            lab.store()
                .attempt_fail(&claim.lease, failure(class, "no"))
                .await?,
        );
        lab.let_backoff_pass().await?;
    }
    let queued = JobState::Queued;
    assert_eq!(states, [queued, queued, queued, JobState::Failed]);
    let detail = lab.store().job_get(lab.jobs(sweep.id).await?[0].id).await?;
    assert_eq!(detail.attempts.len(), 4);
    for (attempt, class) in detail.attempts.iter().zip(classes) {
        assert_eq!(attempt.outcome, Some(AttemptOutcome::Failed));
        assert_eq!(attempt.failure_class, Some(class));
        assert!(attempt.device_seconds.is_some_and(|seconds| seconds >= 0.0));
        assert_eq!(
            (attempt.worker.as_str(), attempt.message.as_str()),
            ("w", "no")
        );
    }
    Ok(())
}

#[tokio::test]
async fn job_that_loses_three_workers_fails() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    for _ in 0..3 {
        lab.claim(worker).await?;
        lab.let_leases_run_out().await?;
        lab.store().lease_expire().await?;
        let early = lab.store().lease_claim(worker, LEASE).await?;
        assert_eq!(early, None, "it waits before it is tried again");
        lab.let_backoff_pass().await?;
    }
    assert_eq!(lab.store().lease_claim(worker, LEASE).await?, None);
    let jobs = lab.jobs(sweep.id).await?;
    assert_eq!(
        (jobs[0].state, jobs[1].state),
        (JobState::Failed, JobState::Cancelled)
    );
    assert!(jobs[0].message.starts_with("lost: "), "{}", jobs[0].message);
    Ok(())
}
