//! Failed jobs, tried again by sweep and filter.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use temper_core::{
    ErrorKind,
    job::{FailureClass, JobFilter, JobState},
    rules::CellMatch,
    schedule::Schedule,
    spec::SweepSpec,
};
use temper_store::{Claim, JobId, Retried, StoreError, testing::Database};
use uuid::Uuid;

use crate::lab::{EPOCHS, Lab, Submission, TESTER, epsilon, failure, measurement, refusal, spec};

/// Two models by two schedules by three seeds: twelve cells.
fn grid() -> SweepSpec {
    SweepSpec {
        models: vec!["mobilenetv2".to_owned(), "resnet50".to_owned()],
        schedules: vec![Schedule::Fixed, Schedule::Linear],
        ..spec(0..3)
    }
}

/// Every row of the tables that a retry could touch, as text, by job.
async fn rows(database: &Database) -> Result<BTreeMap<i64, String>> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT job.id, (to_jsonb(job) - 'changed_in')::text || coalesce(
            (SELECT jsonb_agg(attempt ORDER BY number)::text FROM temper.attempt
            WHERE attempt.job_id = job.id), ''
        ) || coalesce((SELECT to_jsonb(lease)::text FROM temper.lease
            WHERE lease.job_id = job.id), '')
        FROM temper.job",
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows.into_iter().collect())
}

/// The jobs whose rows differ.
fn changed(before: &BTreeMap<i64, String>, after: &BTreeMap<i64, String>) -> Vec<JobId> {
    assert!(before.keys().eq(after.keys()));
    let differs = |(id, row): (&i64, &String)| (after[id] != *row).then_some(JobId(*id));
    before.iter().filter_map(differs).collect()
}

fn model_of(claim: &Claim) -> &str {
    match &claim.spec {
        temper_core::spec::JobSpec::Train(spec) => &spec.model.name,
        temper_core::spec::JobSpec::Evaluate(spec) => &spec.train.model.name,
    }
}

/// The twelve trainings: two of each model fail as bad input, one of each diverges, one of each
/// succeeds, and one of each is left leased; the last ones stay queued.
async fn with_a_bit_of_everything(lab: &Lab) -> Result<Uuid> {
    let sweep = lab.submit(&grid()).await?.id;
    let worker = lab.worker("w").await?;
    let mut turns: BTreeMap<String, u32> = BTreeMap::new();
    let mut claims = Vec::new();
    for _ in 0..12 {
        claims.push(lab.claim(worker).await?);
    }
    for claim in claims {
        let turn = turns.entry(model_of(&claim).to_owned()).or_default();
        *turn += 1;
        let store = lab.store();
        match turn {
            1..=3 => {
                let class = [FailureClass::BadInput, FailureClass::Diverged];
                fail(lab, &claim, class[usize::from(*turn == 3)]).await?;
            }
            4 => lab.finish(&claim).await?,
            5 => {}
            _ => store.lease_release(&claim.lease).await?,
        }
    }
    Ok(sweep)
}

async fn fail(lab: &Lab, claim: &Claim, class: FailureClass) -> Result<JobState> {
    let failed = failure(class, "no");
    Ok(lab.store().attempt_fail(&claim.lease, failed).await?)
}

async fn retry(lab: &Lab, sweep: Uuid, filter: &JobFilter) -> Result<Retried, StoreError> {
    lab.store().jobs_retry(&TESTER, sweep, filter).await
}

fn of(cells: CellMatch) -> JobFilter {
    JobFilter {
        cells,
        ..JobFilter::default()
    }
}

fn model(name: &str) -> JobFilter {
    of(CellMatch {
        models: vec![name.to_owned()],
        ..CellMatch::default()
    })
}

#[tokio::test]
async fn retry_queues_the_failed_jobs_that_the_filter_means_and_touches_no_other_row() -> Result<()>
{
    let lab = Lab::new().await?;
    let sweep = with_a_bit_of_everything(&lab).await?;
    let before = rows(&lab.database).await?;
    let filter = JobFilter {
        failure_classes: vec![FailureClass::BadInput],
        ..model("resnet50")
    };
    let preview = lab.store().jobs_retry_preview(sweep, &filter).await?;
    let previewed = rows(&lab.database).await?;
    assert_eq!(
        changed(&before, &previewed),
        [],
        "a preview changes nothing"
    );

    let retried = retry(&lab, sweep, &filter).await?;
    assert_eq!(retried, preview, "and says what will be done");
    assert_eq!((retried.jobs.len(), retried.revived.len()), (2, 2));
    let after = rows(&lab.database).await?;
    let mut meant = [retried.jobs.clone(), retried.revived.clone()].concat();
    meant.sort_unstable();
    assert_eq!(changed(&before, &after), meant);

    let jobs = lab.jobs(sweep).await?;
    for id in &retried.jobs {
        let job = jobs.iter().find(|job| job.id == *id).context("a job")?;
        assert!(job.title.starts_with("resnet50 on"), "{}", job.title);
        assert_eq!((job.state, job.message.as_str()), (JobState::Queued, ""));
    }
    for id in &retried.revived {
        let job = jobs.iter().find(|job| job.id == *id).context("a job")?;
        assert_eq!((job.state, job.message.as_str()), (JobState::Queued, ""));
        assert!(
            job.train_job
                .is_some_and(|train| retried.jobs.contains(&train))
        );
    }
    let again = retry(&lab, sweep, &filter).await?;
    assert_eq!(
        again,
        Retried::default(),
        "nothing of it is failed any more"
    );
    assert_eq!(changed(&after, &rows(&lab.database).await?), []);
    Ok(())
}

#[tokio::test]
async fn empty_filter_means_every_failed_job_and_only_those() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = with_a_bit_of_everything(&lab).await?;
    let before = lab.jobs(sweep).await?;
    let failed = before.iter().filter(|job| job.state == JobState::Failed);
    let mut failed: Vec<_> = failed.map(|job| job.id).collect();
    failed.sort_unstable();
    let retried = retry(&lab, sweep, &JobFilter::default()).await?;
    assert_eq!((retried.jobs.len(), &retried.jobs), (6, &failed));
    for (old, new) in before.iter().zip(lab.jobs(sweep).await?) {
        match old.state {
            JobState::Failed | JobState::Cancelled => assert_eq!(new.state, JobState::Queued),
            _ => assert_eq!(*old, new),
        }
    }
    Ok(())
}

#[tokio::test]
async fn each_axis_narrows_down_and_a_shared_training_is_meant_by_any_of_its_cells() -> Result<()> {
    let lab = Lab::new().await?;
    let mut wanted = SweepSpec {
        schedules: vec![Schedule::Standard, Schedule::Fixed],
        target_epsilons: vec![epsilon(2), epsilon(4)],
        ..spec(0..2)
    };
    wanted.evaluations = vec![measurement(Some(epsilon(4)))];
    let sweep = lab.submit(&wanted).await?.id;
    let worker = lab.worker("w").await?;
    // Standard ones are one training for both targets: six in all.
    for _ in 0..6 {
        let claim = lab.claim(worker).await?;
        fail(&lab, &claim, FailureClass::Diverged).await?;
    }
    let count = async |filter: JobFilter| {
        let preview = lab.store().jobs_retry_preview(sweep, &filter).await?;
        anyhow::Ok(preview.jobs.len())
    };
    let standard = CellMatch {
        schedules: vec![Schedule::Standard],
        ..CellMatch::default()
    };
    assert_eq!(count(of(standard.clone())).await?, 2);
    let of_target = CellMatch {
        target_epsilons: vec![epsilon(2)],
        ..standard
    };
    assert_eq!(
        count(of(of_target.clone())).await?,
        2,
        "either target means it"
    );
    let of_seed = of(CellMatch {
        seeds: vec![1],
        schedules: Vec::new(),
        hyperparameters: vec![0],
        ..of_target
    });
    assert_eq!(
        count(of_seed.clone()).await?,
        2,
        "a standard one, a fixed one"
    );
    let one = lab.store().jobs_retry_preview(sweep, &of_seed).await?.jobs[1];
    let by_job = JobFilter {
        jobs: vec![one.0],
        ..JobFilter::default()
    };
    assert_eq!(count(by_job.clone()).await?, 1);
    let other_class = JobFilter {
        failure_classes: vec![FailureClass::Lost, FailureClass::Code],
        ..by_job
    };
    assert_eq!(count(other_class).await?, 0);
    Ok(())
}

#[tokio::test]
async fn retried_job_has_all_its_tries_again_and_its_failures_stay_on_record() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0])).await?.id;
    let worker = lab.worker("w").await?;
    let two_tries = async || {
        let mut states = Vec::new();
        for _ in 0..2 {
            let claim = lab.claim(worker).await?;
            states.push(fail(&lab, &claim, FailureClass::Code).await?);
            lab.let_backoff_pass().await?;
        }
        anyhow::Ok(states)
    };
    let both = [JobState::Queued, JobState::Failed];
    assert_eq!(two_tries().await?, both);
    let retried = retry(&lab, sweep, &JobFilter::default()).await?;
    assert_eq!(two_tries().await?, both);
    retry(&lab, sweep, &JobFilter::default()).await?;
    assert_eq!(lab.finish_all(worker).await?.len(), 2, "its evaluation too");
    let detail = lab.store().job_get(retried.jobs[0]).await?;
    assert_eq!(detail.attempts.len(), 5);
    assert_eq!(
        (detail.job.state, detail.job.epochs_done),
        (JobState::Succeeded, EPOCHS)
    );
    Ok(())
}

#[tokio::test]
async fn failed_evaluation_is_retried_without_its_training() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0])).await?.id;
    let worker = lab.worker("w").await?;
    let train = lab.claim(worker).await?;
    lab.finish(&train).await?;
    let evaluation = lab.claim(worker).await?;
    fail(&lab, &evaluation, FailureClass::BadInput).await?;
    let retried = retry(&lab, sweep, &JobFilter::default()).await?;
    assert_eq!(
        (retried.jobs, retried.revived),
        (vec![evaluation.lease.job], vec![])
    );
    assert_eq!(lab.finish_all(worker).await?, [evaluation.lease.job]);
    Ok(())
}

#[tokio::test]
async fn job_of_two_sweeps_is_retried_for_both_with_what_live_ones_want() -> Result<()> {
    let lab = Lab::new().await?;
    let first = lab.submit(&spec([0])).await?.id;
    let mut other = spec([0]);
    other.evaluations = vec![measurement(Some(epsilon(8)))];
    let second = lab.submit(&other).await?.id;
    other.evaluations = vec![measurement(Some(epsilon(16)))];
    let third = Submission::of(&other).send(lab.store()).await?.id;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    fail(&lab, &claim, FailureClass::Diverged).await?;
    lab.store().sweep_cancel(&TESTER, third).await?;

    let retried = retry(&lab, first, &JobFilter::default()).await?;
    assert_eq!(retried.jobs, [claim.lease.job]);
    let evaluation = async |sweep| anyhow::Ok(lab.jobs(sweep).await?[1].clone());
    let wanted = [evaluation(first).await?.id, evaluation(second).await?.id];
    assert_eq!(retried.revived, wanted);
    assert_eq!(evaluation(third).await?.state, JobState::Cancelled);
    assert_eq!(lab.finish_all(worker).await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn value_that_no_cell_has_is_named_and_nothing_is_retried() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = with_a_bit_of_everything(&lab).await?;
    let stranger = lab.submit(&spec([9])).await?.id;
    let stranger = lab.jobs(stranger).await?[0].id;
    let before = rows(&lab.database).await?;
    let filter = JobFilter {
        jobs: vec![stranger.0],
        ..of(CellMatch {
            models: vec!["resnet50".to_owned(), "resnet05".to_owned()],
            seeds: vec![9],
            ..CellMatch::default()
        })
    };
    let Err(StoreError::Filter(violations)) = retry(&lab, sweep, &filter).await else {
        panic!("it was taken");
    };
    let fields = violations.as_slice().iter().map(|v| v.field.as_str());
    assert_eq!(
        fields.collect::<Vec<_>>(),
        ["cells.models[1]", "cells.seeds[0]", "jobs[0]"]
    );
    assert_eq!(changed(&before, &rows(&lab.database).await?), []);
    Ok(())
}

#[tokio::test]
async fn sweep_that_is_cancelled_or_unknown_retries_nothing() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = with_a_bit_of_everything(&lab).await?;
    lab.store().sweep_cancel(&TESTER, sweep).await?;
    let refused = retry(&lab, sweep, &JobFilter::default()).await;
    assert!(refusal(refused, ErrorKind::FailedPrecondition).contains("is cancelled"));
    let nobody = retry(&lab, Uuid::nil(), &JobFilter::default()).await;
    refusal(nobody, ErrorKind::NotFound);
    Ok(())
}

#[tokio::test]
async fn waiting_worker_hears_of_a_retry() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0])).await?.id;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    fail(&lab, &claim, FailureClass::BadInput).await?;
    let mut ready = lab.store().job_ready().await?;
    retry(&lab, sweep, &JobFilter::default()).await?;
    assert!(ready.wait(std::time::Duration::from_secs(10)).await);
    Ok(())
}
