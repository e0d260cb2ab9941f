//! Which jobs a worker is given, why it is not given others, and sweeps that all of their jobs fail.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use temper_core::{
    ErrorKind,
    job::{FailureClass, JobFilter},
    placement::{Constraint, DeviceKind, Placement},
    spec::{Precision, RESULT_VERSION},
};
use temper_store::{
    AuditQuery, BREAKER, JobId, Measured, NewWorker, SweepChanges, SweepState, WorkerRef,
};
use uuid::Uuid;

use crate::lab::{LEASE, Lab, Submission, TESTER, epoch, failure, points, refusal, spec, trained};

const GIB: u64 = 1 << 30;

/// A worker on a processor that fits everything, before it is changed.
fn worker(lab: &Lab) -> NewWorker {
    NewWorker {
        worker: WorkerRef {
            incarnation: Uuid::new_v4(),
            token: lab.token,
        },
        name: "w".to_owned(),
        device: "cpu".to_owned(),
        memory_bytes: Some(16 * GIB),
        result_versions: vec![RESULT_VERSION],
        precisions: Precision::ALL.to_vec(),
        labels: BTreeMap::from([("rack".to_owned(), "3".to_owned())]),
        time_left: Some(Duration::from_hours(2)),
        least_time: Duration::from_hours(1),
    }
}

/// What makes a worker unfit.
type Change = fn(&mut NewWorker);

async fn register(lab: &Lab, change: impl FnOnce(&mut NewWorker)) -> Result<WorkerRef> {
    let mut new = worker(lab);
    change(&mut new);
    lab.store().worker_register(&new).await?;
    Ok(new.worker)
}

/// A sweep of so many cells that asks for processors in rack 3 with 8 GiB.
async fn choosy(lab: &Lab, seeds: std::ops::Range<u64>) -> Result<Uuid> {
    let spec = spec(seeds);
    let submission = Submission {
        placement: Placement {
            device_kind: Some(DeviceKind::Cpu),
            labels: BTreeMap::from([("rack".to_owned(), "3".to_owned())]),
            memory_bytes: Some(8 * GIB),
        },
        ..Submission::of(&spec)
    };
    Ok(submission.send(lab.store()).await?.id)
}

#[tokio::test]
async fn worker_gets_no_job_that_it_does_not_fit_and_is_told_by_which_constraint() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = choosy(&lab, 0..1).await?;
    let job = lab.jobs(sweep).await?[0].id;
    let cases: [(Constraint, Change); 6] = [
        (Constraint::DeviceKind, |w| w.device = "cuda:0".to_owned()),
        (Constraint::Labels, |w| w.labels.clear()),
        (Constraint::ResultVersion, |w| {
            w.result_versions = vec![RESULT_VERSION + 1];
        }),
        (Constraint::Precision, |w| {
            w.precisions = vec![Precision::Bf16];
        }),
        (Constraint::Memory, |w| w.memory_bytes = Some(8 * GIB - 1)),
        (Constraint::WallTime, |w| {
            w.time_left = Some(Duration::from_mins(59));
        }),
    ];
    for (constraint, change) in cases {
        let unfit = register(&lab, |new| {
            change(new);
            new.name = constraint.to_string();
        })
        .await?;
        let claim = lab.store().lease_claim(unfit, LEASE).await?;
        assert_eq!(claim, None, "{constraint}");
    }
    let explained = lab.store().job_explain(job).await?;
    assert_eq!(explained.workers.len(), cases.len());
    for fit in &explained.workers {
        let expected = Constraint::from_name(&fit.name).context("a constraint")?;
        assert_eq!(fit.constraints, [expected]);
        assert_eq!(fit.wanted_memory_bytes, Some(8 * GIB));
    }

    // What is not known keeps nobody.
    let unknown = register(&lab, |new| {
        new.memory_bytes = None;
        new.time_left = None;
    });
    let claim = lab.claim(unknown.await?).await?;
    assert_eq!(claim.lease.job, job);
    let explained = lab.store().job_explain(job).await?;
    let holder = explained.workers.iter().find(|fit| fit.holds == Some(job));
    let holder = holder.context("nobody holds it")?;
    assert_eq!(holder.constraints, [Constraint::Busy]);
    refusal(
        lab.store().job_explain(JobId(999)).await,
        ErrorKind::NotFound,
    );
    Ok(())
}

#[tokio::test]
async fn what_a_job_took_replaces_what_its_sweep_said() -> Result<()> {
    let lab = Lab::new().await?;
    choosy(&lab, 0..3).await?;
    let large = register(&lab, |_| {}).await?;
    let small = register(&lab, |new| new.memory_bytes = Some(4 * GIB)).await?;
    assert_eq!(lab.store().lease_claim(small, LEASE).await?, None);
    for peak in [3 * GIB, 5 * GIB] {
        let claim = lab.claim(large).await?;
        let epochs: Vec<_> = (0..3).map(epoch).collect();
        lab.store().epochs_report(&claim.lease, &epochs).await?;
        let mut done = trained(&claim, 3);
        done.peak_memory_bytes = Some(peak);
        lab.store().train_complete(&claim.lease, &done).await?;
    }
    // The least peak counts: a worker keeps what its earlier jobs freed.
    let third = lab.claim(small).await?;
    lab.store().lease_release(&third.lease).await?;
    // What the worker says when it asks outweighs what its device has in all.
    lab.store().worker_ask(small, Some(2 * GIB)).await?;
    assert_eq!(lab.store().lease_claim(small, LEASE).await?, None);
    lab.store().worker_ask(small, Some(3 * GIB)).await?;
    let again = lab.claim(small).await?;
    assert_eq!(again.lease.job, third.lease.job);
    Ok(())
}

#[tokio::test]
async fn evaluation_is_placed_by_what_evaluations_took() -> Result<()> {
    let lab = Lab::new().await?;
    choosy(&lab, 0..2).await?;
    let large = register(&lab, |_| {}).await?;
    for _ in 0..2 {
        let train = lab.claim(large).await?;
        let epochs: Vec<_> = (0..3).map(epoch).collect();
        lab.store().epochs_report(&train.lease, &epochs).await?;
        let mut done = trained(&train, 3);
        done.peak_memory_bytes = Some(6 * GIB);
        lab.store().train_complete(&train.lease, &done).await?;
    }
    let small = register(&lab, |new| new.memory_bytes = Some(2 * GIB)).await?;
    assert_eq!(lab.store().lease_claim(small, LEASE).await?, None);
    let evaluation = lab.claim(large).await?;
    let temper_core::spec::JobSpec::Evaluate(wanted) = &evaluation.spec else {
        panic!("a training is left")
    };
    let measured = Measured {
        points: points(&wanted.grid),
        peak_memory_bytes: Some(GIB),
        ..Measured::default()
    };
    lab.store()
        .evaluation_complete(&evaluation.lease, &measured)
        .await?;
    lab.claim(small).await?;
    Ok(())
}

#[tokio::test]
async fn sweep_has_no_more_jobs_under_way_than_its_limit() -> Result<()> {
    let lab = Lab::new().await?;
    let limited = spec(0..40);
    let submission = Submission {
        parallel_jobs: Some(3),
        ..Submission::of(&limited)
    };
    let sweep = submission.send(lab.store()).await?.id;
    let mut workers = Vec::new();
    for _ in 0..10 {
        workers.push(register(&lab, |_| {}).await?);
    }
    // All at once: each counts what the others have just leased.
    let claims = workers.iter().map(|worker| {
        let (store, worker) = (lab.store().clone(), *worker);
        tokio::spawn(async move { store.lease_claim(worker, LEASE).await })
    });
    let mut held = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        held.extend(claim.await??);
    }
    assert_eq!(held.len(), 3);
    let waiting = lab.jobs(sweep).await?.into_iter();
    let waiting = waiting.map(|job| job.id);
    let mut waiting = waiting.filter(|job| held.iter().all(|claim| claim.lease.job != *job));
    let explained = lab
        .store()
        .job_explain(waiting.next_back().context("none")?)
        .await?;
    assert_eq!(explained.limit, Some((3, 3)));

    lab.store().lease_release(&held[0].lease).await?;
    lab.claim(workers[0]).await?;
    assert_eq!(lab.store().lease_claim(workers[1], LEASE).await?, None);
    let changes = |jobs| SweepChanges {
        parallel_jobs: Some(jobs),
        ..SweepChanges::default()
    };
    let store = lab.store();
    store
        .sweep_update(&TESTER, sweep, None, &changes(Some(4)))
        .await?;
    lab.claim(workers[1]).await?;
    assert_eq!(store.lease_claim(workers[2], LEASE).await?, None);
    assert_eq!(store.sweep_get(sweep).await?.parallel_jobs, Some(4));
    store
        .sweep_update(&TESTER, sweep, None, &changes(None))
        .await?;
    lab.claim(workers[2]).await?;
    Ok(())
}

#[tokio::test]
async fn another_placement_moves_the_jobs_that_are_queued() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = choosy(&lab, 0..1).await?;
    let elsewhere = register(&lab, |new| new.labels.clear()).await?;
    assert_eq!(lab.store().lease_claim(elsewhere, LEASE).await?, None);
    let changes = SweepChanges {
        placement: Some(Placement::default()),
        ..SweepChanges::default()
    };
    lab.store()
        .sweep_update(&TESTER, sweep, None, &changes)
        .await?;
    lab.claim(elsewhere).await?;
    let row = lab.store().sweep_get(sweep).await?;
    assert_eq!(row.placement, Placement::default());
    Ok(())
}

#[tokio::test]
async fn sweep_whose_first_jobs_all_fail_the_same_way_is_paused_with_the_reason() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec(0..20)).await?.id;
    let worker = register(&lab, |_| {}).await?;
    let fail = async |class| {
        let claim = lab.claim(worker).await?;
        let failed = failure(class, "weights are torn");
        anyhow::Ok(lab.store().attempt_fail(&claim.lease, failed).await?)
    };
    for _ in 0..BREAKER {
        assert_eq!(
            lab.store().sweep_get(sweep).await?.state,
            SweepState::Running
        );
        fail(FailureClass::BadInput).await?;
    }
    let paused = lab.store().sweep_get(sweep).await?;
    assert_eq!(paused.state, SweepState::Paused);
    for said in ["5 jobs of kind train", "bad-input", "weights are torn"] {
        assert!(
            paused.pause_reason.contains(said),
            "{}",
            paused.pause_reason
        );
    }
    assert_eq!(lab.store().lease_claim(worker, LEASE).await?, None);
    let query = AuditQuery {
        sweep: Some(sweep),
        actor: Some("circuit breaker"),
        before: None,
        limit: 10,
    };
    assert_eq!(lab.store().audit_list(query).await?.entries.len(), 1);

    // Resumed, it has as many tries again; one success, and it goes on whatever fails.
    let store = lab.store();
    store
        .jobs_retry(&TESTER, sweep, &JobFilter::default())
        .await?;
    store.sweep_resume(&TESTER, sweep, None).await?;
    fail(FailureClass::BadInput).await?;
    let claim = lab.claim(worker).await?;
    lab.finish(&claim).await?;
    for _ in 0..BREAKER {
        fail(FailureClass::Diverged).await?;
    }
    assert_eq!(store.sweep_get(sweep).await?.state, SweepState::Running);
    Ok(())
}

#[tokio::test]
async fn failures_of_several_kinds_or_that_pass_break_no_sweep() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec(0..20)).await?.id;
    let worker = register(&lab, |_| {}).await?;
    for number in 0..2 * BREAKER {
        let claim = lab.claim(worker).await?;
        let class = match number % 2 {
            0 => FailureClass::BadInput,
            _ => FailureClass::Diverged,
        };
        lab.store()
            .attempt_fail(&claim.lease, failure(class, ""))
            .await?;
    }
    for _ in 0..BREAKER {
        let claim = lab.claim(worker).await?;
        let passing = failure(FailureClass::Preempted, "");
        lab.store().attempt_fail(&claim.lease, passing).await?;
    }
    assert_eq!(
        lab.store().sweep_get(sweep).await?.state,
        SweepState::Running
    );
    Ok(())
}

#[tokio::test]
async fn fitness_counts_what_keeps_the_workers_that_are_there() -> Result<()> {
    let lab = Lab::new().await?;
    let placement = Placement {
        device_kind: Some(DeviceKind::Cuda),
        memory_bytes: Some(20 * GIB),
        ..Placement::default()
    };
    let fitness = async || {
        lab.store()
            .placement_fitness(&placement, Precision::Bf16)
            .await
    };
    assert_eq!(fitness().await?.workers, 0);
    register(&lab, |_| {}).await?;
    register(&lab, |new| {
        new.device = "cuda:1".to_owned();
        new.precisions = vec![Precision::Fp32];
    })
    .await?;
    let found = fitness().await?;
    assert_eq!((found.workers, found.fitting), (2, 0));
    let expected = [
        (Constraint::DeviceKind, 1),
        (Constraint::Precision, 1),
        (Constraint::Memory, 2),
    ];
    assert_eq!(found.constraints, BTreeMap::from(expected));
    register(&lab, |new| {
        new.device = "cuda:0".to_owned();
        new.memory_bytes = Some(24 * GIB);
    })
    .await?;
    assert_eq!(fitness().await?.fitting, 1);
    Ok(())
}
