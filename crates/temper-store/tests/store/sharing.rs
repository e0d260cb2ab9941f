use std::sync::Arc;

use anyhow::Result;
use temper_core::job::{FailureClass, JobState};
use temper_store::{AttemptOutcome, CurveFilter, LeaseStatus, SweepFilter, SweepState};
use tokio::task::JoinSet;

use crate::lab::{LEASE, Lab, Submission, TESTER, epsilon, failure, measurement, spec};

#[tokio::test]
async fn same_cells_in_a_second_sweep_make_no_jobs_and_have_results_at_once() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..3)).await?;
    let worker = lab.worker("w").await?;
    lab.finish_all(worker).await?;
    let second = lab.submit(&spec([2, 1, 0])).await?;
    assert_eq!((second.jobs_created, second.existed), (0, false));
    let row = lab.store().sweep_get(second.id).await?;
    assert_eq!((row.state, row.cells_succeeded), (SweepState::Succeeded, 3));
    assert!(
        lab.store()
            .sweep_curves(second.id, &CurveFilter::default())
            .await?
            .iter()
            .all(|curve| curve.points.is_some())
    );
    assert_eq!(lab.store().lease_claim(worker, LEASE).await?, None);
    Ok(())
}

#[tokio::test]
async fn wider_grid_makes_only_evaluations_whether_trained_or_not() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..2)).await?;
    let worker = lab.worker("w").await?;
    // One of the two cells is trained by now.
    let trained = lab.claim(worker).await?;
    lab.finish(&trained).await?;
    let mut wider = spec(0..2);
    wider.evaluations = vec![measurement(Some(epsilon(8)))];
    let second = lab.submit(&wider).await?;
    assert_eq!(second.jobs_created, 2);
    assert_eq!(
        lab.finish_all(worker).await?.len(),
        5,
        "one training, four evaluations"
    );
    let row = lab.store().sweep_get(second.id).await?;
    assert_eq!((row.state, row.cells_succeeded), (SweepState::Succeeded, 2));
    assert_eq!(lab.count("SELECT count(*) FROM temper.artifact").await?, 2);
    Ok(())
}

#[tokio::test]
async fn new_evaluation_of_a_failed_training_is_cancelled_at_once() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    lab.store()
        .attempt_fail(&claim.lease, failure(FailureClass::Diverged, "NaN"))
        .await?;
    let mut wider = spec([0]);
    wider.evaluations.push(measurement(Some(epsilon(8))));
    let second = lab.submit(&wider).await?;
    assert_eq!(second.jobs_created, 1);
    let jobs = lab.jobs(second.id).await?;
    let states: Vec<_> = jobs.iter().map(|job| job.state).collect();
    assert_eq!(
        states,
        [JobState::Failed, JobState::Cancelled, JobState::Cancelled]
    );
    let message = format!("training job {} failed", claim.lease.job);
    assert!(jobs[1..].iter().all(|job| job.message == message));
    assert_eq!(
        lab.store().sweep_get(second.id).await?.state,
        SweepState::Failed
    );
    Ok(())
}

#[tokio::test]
async fn cancelling_one_of_two_sweeps_leaves_the_other_whole() -> Result<()> {
    let lab = Lab::new().await?;
    let (first, second) = (spec(0..4), spec(2..6));
    let first = Submission {
        priority: 9,
        owner: "bob",
        ..Submission::of(&first)
    }
    .send(lab.store())
    .await?;
    let second = Submission::of(&second).send(lab.store()).await?;
    assert_eq!(second.jobs_created, 4);
    // All four trainings of the first sweep run: two are the second's too.
    let worker = lab.worker("w").await?;
    let mut leases = Vec::new();
    for _ in 0..6 {
        leases.push(lab.claim(worker).await?.lease);
    }
    lab.store().sweep_cancel(&TESTER, first.id).await?;
    let before = lab.jobs(first.id).await?;
    lab.store().sweep_cancel(&TESTER, first.id).await?;
    assert_eq!(
        lab.jobs(first.id).await?,
        before,
        "cancelling twice changes nothing"
    );

    let row = lab.store().sweep_get(first.id).await?;
    assert_eq!(row.state, SweepState::Cancelled);
    assert_eq!(
        (row.jobs.cancelled, row.jobs.leased, row.jobs.queued),
        (4, 2, 2)
    );
    let row = lab.store().sweep_get(second.id).await?;
    assert_eq!(row.state, SweepState::Running);
    assert_eq!(
        (row.jobs.cancelled, row.jobs.leased, row.jobs.queued),
        (0, 4, 4)
    );
    let asked: Vec<_> = leases
        .iter()
        .map(|lease| (lease.job, lease.fence))
        .collect();
    let statuses = lab.store().lease_heartbeat(worker, &asked, LEASE).await?;
    for (lease, status) in leases.iter().zip(statuses) {
        let detail = lab.store().job_get(lease.job).await?;
        let (expected, outcome) = match detail.job.state {
            JobState::Cancelled => (LeaseStatus::Cancel, Some(AttemptOutcome::Cancelled)),
            _ => (LeaseStatus::Continue, None),
        };
        assert_eq!((status, detail.attempts[0].outcome), (expected, outcome));
    }
    let left = "SELECT count(*) FROM temper.job WHERE wanted AND priority = 0 AND owner = 'ann'";
    assert_eq!(
        lab.count(left).await?,
        8,
        "what is left has the other sweep's priority and owner"
    );
    for lease in leases {
        let _ = lab.store().lease_release(&lease).await;
    }
    lab.finish_all(worker).await?;
    assert_eq!(
        lab.store().sweep_get(second.id).await?.state,
        SweepState::Succeeded
    );
    Ok(())
}

#[tokio::test]
async fn cancelled_jobs_are_queued_again_when_a_sweep_wants_them() -> Result<()> {
    let lab = Lab::new().await?;
    let first = lab.submit(&spec(0..2)).await?;
    let worker = lab.worker("w").await?;
    let running = lab.claim(worker).await?;
    lab.store().sweep_cancel(&TESTER, first.id).await?;
    assert_eq!(lab.store().lease_claim(worker, LEASE).await?, None);
    let wanted = spec(0..2);
    let second = Submission {
        priority: 3,
        ..Submission::of(&wanted)
    }
    .send(lab.store())
    .await?;
    assert_eq!(second.jobs_created, 0);
    let row = lab.store().sweep_get(second.id).await?;
    assert_eq!((row.state, row.jobs.queued), (SweepState::Running, 4));
    let asked = [(running.lease.job, running.lease.fence)];
    let statuses = lab.store().lease_heartbeat(worker, &asked, LEASE).await?;
    assert_eq!(
        statuses,
        [LeaseStatus::Lost],
        "its lease does not come back"
    );
    assert_eq!(lab.finish_all(worker).await?.len(), 4);
    assert_eq!(
        lab.store().sweep_get(second.id).await?.state,
        SweepState::Succeeded
    );
    assert_eq!(
        lab.store().sweep_get(first.id).await?.state,
        SweepState::Cancelled
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_sweeps_created_cancelled_and_worked_on_at_once_do_not_deadlock() -> Result<()>
{
    let lab = Arc::new(Lab::new().await?);
    let mut submitters = JoinSet::new();
    for turn in 0..8_u32 {
        let lab = Arc::clone(&lab);
        submitters.spawn(async move {
            for round in 0..4 {
                let mut seeds: Vec<u64> = (u64::from(turn)..u64::from(turn) + 20).collect();
                if (turn + round) % 2 == 0 {
                    seeds.reverse();
                }
                let mut wanted = spec(seeds);
                wanted.evaluations = vec![measurement(Some(epsilon(4 + 2 * (turn % 3))))];
                let created = lab.submit(&wanted).await?;
                // The last round's sweeps stay.
                if round < 3 {
                    lab.store().sweep_cancel(&TESTER, created.id).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    let mut workers = JoinSet::new();
    for name in ["a", "b", "c"] {
        let lab = Arc::clone(&lab);
        workers.spawn(async move {
            let worker = lab.worker(name).await?;
            for _ in 0..40 {
                let Some(claim) = lab.store().lease_claim(worker, LEASE).await? else {
                    continue;
                };
                let asked = [(claim.lease.job, claim.lease.fence)];
                lab.store().lease_heartbeat(worker, &asked, LEASE).await?;
                // Cancelled under its hands, perhaps.
                let lost = temper_core::ErrorKind::LeaseLost;
                if let Err(error) = lab.finish(&claim).await
                    && error.kind() != lost
                {
                    return Err(error.into());
                }
            }
            anyhow::Ok(())
        });
    }
    for done in submitters
        .join_all()
        .await
        .into_iter()
        .chain(workers.join_all().await)
    {
        done?;
    }
    // Nobody lost track: what live sweeps want can be worked off.
    let worker = lab.worker("last").await?;
    lab.finish_all(worker).await?;
    let sweeps = lab
        .store()
        .sweep_list(&SweepFilter::default(), 100, None)
        .await?
        .sweeps;
    let live = sweeps.iter().filter(|sweep| sweep.cancelled_at.is_none());
    assert_eq!(live.clone().count(), 8);
    for sweep in live {
        assert_eq!(
            (sweep.state, sweep.cells_succeeded),
            (SweepState::Succeeded, 20)
        );
    }
    Ok(())
}
