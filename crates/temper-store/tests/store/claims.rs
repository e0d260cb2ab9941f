use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use temper_core::{
    ErrorKind,
    job::{JobKind, JobState},
    spec::{JobSpec, Precision, Selection},
};
use temper_store::{AttemptOutcome, Claim, LeaseStatus, SweepState, WorkerRef};
use tokio::{task::JoinSet, time::timeout};
use uuid::Uuid;

use crate::lab::{LEASE, Lab, Submission, artifact, refusal, spec, trained};

#[tokio::test(flavor = "multi_thread")]
async fn two_claimers_give_each_of_forty_jobs_one_result() -> Result<()> {
    let lab = Arc::new(Lab::new().await?);
    let sweep = lab.submit(&spec(0..20)).await?;
    assert_eq!(sweep.jobs_created, 40);
    let mut claimers = JoinSet::new();
    for name in ["left", "right"] {
        let lab = Arc::clone(&lab);
        claimers.spawn(async move {
            let worker = lab.worker(name).await?;
            lab.finish_all(worker).await
        });
    }
    let mut results = HashMap::new();
    while let Some(done) = claimers.join_next().await {
        for job in done?? {
            *results.entry(job).or_insert(0) += 1;
        }
    }
    assert_eq!(results.len(), 40);
    assert!(results.values().all(|times| *times == 1), "{results:?}");
    let row = lab.store().sweep_get(sweep.id).await?;
    assert_eq!(
        (row.state, row.jobs.succeeded, row.cells_succeeded),
        (SweepState::Succeeded, 40, 20)
    );
    for (table, rows) in [
        ("SELECT count(*) FROM temper.attempt", 40),
        ("SELECT count(*) FROM temper.lease", 0),
        ("SELECT count(*) FROM temper.artifact", 20),
        ("SELECT count(*) FROM temper.epoch_metric", 60),
        ("SELECT count(*) FROM temper.evaluation", 60),
        ("SELECT count(*) FROM temper.job_summary", 40),
    ] {
        assert_eq!(lab.count(table).await?, rows, "{table}");
    }
    Ok(())
}

#[tokio::test]
async fn expired_lease_is_taken_over_and_the_late_worker_is_refused_with_a_reason() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let (slow, quick) = (lab.worker("slow").await?, lab.worker("quick").await?);
    let late = lab.claim(slow).await?;
    assert_eq!(
        lab.store().lease_expire().await?,
        [],
        "a live lease is left alone"
    );
    lab.let_leases_run_out().await?;
    assert_eq!(lab.store().lease_expire().await?, [late.lease.job]);
    let message = refusal(lab.finish(&late).await, ErrorKind::LeaseLost);
    assert!(
        message.contains("ran out") && message.contains("queued"),
        "{message}"
    );

    lab.let_backoff_pass().await?;
    let next = lab.claim(quick).await?;
    assert_eq!((next.lease.job, next.lease.fence), (late.lease.job, 2));
    let asked = [(late.lease.job, late.lease.fence)];
    let statuses = lab.store().lease_heartbeat(slow, &asked, LEASE).await?;
    assert_eq!(statuses, [LeaseStatus::Lost]);
    let complete = lab
        .store()
        .train_complete(&late.lease, &trained(&late, 3))
        .await;
    let message = refusal(complete, ErrorKind::LeaseLost);
    assert!(
        message.contains("worker quick holds the job under fence 2"),
        "{message}"
    );

    lab.finish(&next).await?;
    let detail = lab.store().job_get(next.lease.job).await?;
    let outcomes: Vec<_> = detail
        .attempts
        .iter()
        .map(|attempt| attempt.outcome)
        .collect();
    assert_eq!(
        outcomes,
        [Some(AttemptOutcome::Lost), Some(AttemptOutcome::Succeeded)]
    );
    assert_eq!(
        lab.store()
            .artifact_get(next.lease.job, Selection::Last)
            .await?,
        artifact(&next)
    );
    let complete = lab
        .store()
        .train_complete(&late.lease, &trained(&late, 3))
        .await;
    let message = refusal(complete, ErrorKind::LeaseLost);
    assert!(message.contains("succeeded"), "{message}");
    Ok(())
}

#[tokio::test]
async fn heartbeat_keeps_a_lease_from_being_taken_back() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0, 1])).await?;
    let worker = lab.worker("w").await?;
    let (kept, left) = (
        lab.claim(worker).await?.lease,
        lab.claim(worker).await?.lease,
    );
    lab.let_leases_run_out().await?;
    // The order of the answers is that of the question.
    let asked = [(left.job, 99), (kept.job, kept.fence)];
    let statuses = lab.store().lease_heartbeat(worker, &asked, LEASE).await?;
    assert_eq!(statuses, [LeaseStatus::Lost, LeaseStatus::Continue]);
    assert_eq!(lab.store().lease_expire().await?, [left.job]);
    let other = lab.worker("other").await?;
    let asked = [(kept.job, kept.fence)];
    let statuses = lab.store().lease_heartbeat(other, &asked, LEASE).await?;
    assert_eq!(
        statuses,
        [LeaseStatus::Lost],
        "a lease is its incarnation's own"
    );
    Ok(())
}

#[tokio::test]
async fn unregistered_incarnation_is_refused() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let stranger = WorkerRef {
        incarnation: Uuid::new_v4(),
        token: lab.token,
    };
    let claim = lab.store().lease_claim(stranger, LEASE).await;
    assert!(
        refusal(claim, ErrorKind::FailedPrecondition).contains(&stranger.incarnation.to_string())
    );
    let heartbeat = lab.store().lease_heartbeat(stranger, &[], LEASE).await;
    refusal(heartbeat, ErrorKind::FailedPrecondition);
    Ok(())
}

#[tokio::test]
async fn restarted_worker_does_not_inherit_leases() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let before = lab.worker("w").await?;
    let claim = lab.claim(before).await?;
    let after = lab.worker("w").await?;
    let mut lease = claim.lease;
    lease.incarnation = after.incarnation;
    let release = lab.store().lease_release(&lease).await;
    assert!(refusal(release, ErrorKind::LeaseLost).contains("never given to this worker"));
    assert_eq!(
        lab.store().lease_claim(after, LEASE).await?,
        None,
        "its job is still leased"
    );
    Ok(())
}

#[tokio::test]
async fn released_job_is_queued_again_and_burns_no_attempt() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    for fence in 1..=6 {
        let claim = lab.claim(worker).await?;
        assert_eq!(claim.lease.fence, fence);
        lab.store().lease_release(&claim.lease).await?;
        let again = lab.store().lease_release(&claim.lease).await;
        assert!(refusal(again, ErrorKind::LeaseLost).contains("given back"));
    }
    let claim = lab.claim(worker).await?;
    lab.finish(&claim).await?;
    Ok(())
}

#[tokio::test]
async fn claims_go_by_owner_then_priority_then_age() -> Result<()> {
    let lab = Lab::new().await?;
    let (low, high, other) = (spec([0]), spec([1]), spec([2, 3]));
    let low = Submission::of(&low).send(lab.store()).await?;
    let high = Submission {
        priority: 5,
        ..Submission::of(&high)
    }
    .send(lab.store())
    .await?;
    let other = Submission {
        owner: "bob",
        ..Submission::of(&other)
    }
    .send(lab.store())
    .await?;
    let worker = lab.worker("w").await?;
    let mut order = Vec::new();
    while let Some(claim) = lab.store().lease_claim(worker, LEASE).await? {
        order.push(claim.lease.job);
    }
    let trains = async |sweep: Uuid| -> Result<Vec<_>> {
        let mut jobs = lab.jobs(sweep).await?;
        jobs.retain(|job| job.kind == JobKind::Train);
        let mut ids: Vec<_> = jobs.into_iter().map(|job| job.id).collect();
        ids.sort();
        Ok(ids)
    };
    let (low, high, other) = (
        trains(low.id).await?,
        trains(high.id).await?,
        trains(other.id).await?,
    );
    // Ann and Bob take turns; of Ann's the more urgent one comes first, of Bob's the older one.
    assert_eq!(order, [high[0], other[0], low[0], other[1]]);
    Ok(())
}

#[tokio::test]
async fn worker_gets_only_jobs_whose_numbers_it_can_produce() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    lab.execute("UPDATE temper.footprint SET result_version = result_version + 1")
        .await?;
    assert_eq!(lab.store().lease_claim(worker, LEASE).await?, None);
    lab.execute(
        "UPDATE temper.worker SET result_versions = array_append(result_versions,
            result_versions[1] + 1)",
    )
    .await?;
    lab.claim(worker).await?;
    Ok(())
}

#[tokio::test]
async fn evaluation_waits_for_its_training_and_gets_the_model() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let train = lab.claim(worker).await?;
    assert_eq!(train.artifact, None);
    assert_eq!(lab.store().lease_claim(worker, LEASE).await?, None);
    lab.finish(&train).await?;
    let evaluate = lab.claim(worker).await?;
    assert_eq!(evaluate.artifact, Some(artifact(&train)));
    let jobs = lab.jobs(sweep.id).await?;
    assert_eq!(jobs[1].train_job, Some(train.lease.job));
    assert_eq!(jobs[1].state, JobState::Leased);
    Ok(())
}

#[tokio::test]
async fn waiting_worker_is_woken_by_a_sweep_and_by_a_training_that_ends() -> Result<()> {
    let lab = Lab::new().await?;
    let mut ready = lab.store().job_ready().await?;
    assert!(
        !ready.wait(Duration::from_millis(50)).await,
        "nothing has happened"
    );
    lab.submit(&spec([0])).await?;
    assert!(ready.wait(LEASE).await);
    let worker = lab.worker("w").await?;
    let train = lab.claim(worker).await?;
    assert!(
        !ready.wait(Duration::from_millis(50)).await,
        "a claim wakes nobody"
    );
    lab.finish(&train).await?;
    assert!(ready.wait(LEASE).await);
    // A cut connection is made anew without the caller's doing. What is announced before that is not heard.
    lab.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    )
    .await?;
    let woken = async {
        loop {
            let claim = lab.claim(worker).await.context("the evaluation")?;
            lab.store().lease_release(&claim.lease).await?;
            if ready.wait(Duration::from_secs(1)).await {
                return anyhow::Ok(());
            }
        }
    };
    timeout(Duration::from_mins(1), woken).await?
}

#[tokio::test]
async fn worker_gets_only_jobs_in_number_formats_that_its_device_has() -> Result<()> {
    let lab = Lab::new().await?;
    let mut half = spec([0]);
    half.training.precision = Precision::Bf16;
    let half = Submission {
        priority: 5,
        ..Submission::of(&half)
    };
    half.send(lab.store()).await?;
    lab.submit(&spec([1])).await?;
    let precision = |claim: &Claim| match &claim.spec {
        JobSpec::Train(spec) => Some(spec.training.precision),
        JobSpec::Evaluate(_) => None,
    };
    let plain = lab.worker("plain").await?;
    let able = lab.worker_with("able", &Precision::ALL).await?;
    // The more urgent job is not for the worker without bf16, whose own it does not hide.
    let claim = lab.claim(plain).await?;
    assert_eq!(precision(&claim), Some(Precision::Fp32));
    assert_eq!(lab.store().lease_claim(plain, LEASE).await?, None);
    lab.store().lease_release(&claim.lease).await?;
    // The other worker takes what is most urgent, whatever its format.
    let claim = lab.claim(able).await?;
    assert_eq!(precision(&claim), Some(Precision::Bf16));
    lab.finish(&claim).await?;
    let claim = lab.claim(able).await?;
    assert_eq!(precision(&claim), None, "priority goes before format");
    // Its evaluation computes in single precision: any worker may measure it.
    lab.store().lease_release(&claim.lease).await?;
    assert_eq!(lab.claim(plain).await?.lease.job, claim.lease.job);
    Ok(())
}
