//! Writes of many workers that are made in one transaction.

use anyhow::{Context, Result};
use temper_core::{ErrorKind, access::Role, spec::JobSpec};
use temper_store::{Claim, StoreError};
use tokio::task::{JoinHandle, JoinSet};

use crate::lab::{EPOCHS, Lab, epoch, measured, refusal, spec, token, trained};

/// Leases of that many jobs, a worker each.
async fn claims(lab: &Lab, jobs: usize) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for worker in 0..jobs {
        let worker = lab.worker(&format!("worker {worker}")).await?;
        claims.push(lab.claim(worker).await?);
    }
    Ok(claims)
}

async fn report_all(lab: &Lab, claims: &[Claim], epochs: u32) -> Result<()> {
    let mut reports = JoinSet::new();
    for claim in claims.iter().cloned() {
        let store = lab.store().clone();
        reports.spawn(async move {
            let epochs: Vec<_> = (0..epochs).map(epoch).collect();
            store.epochs_report(&claim.lease, &epochs).await
        });
    }
    Ok(reports
        .join_all()
        .await
        .into_iter()
        .collect::<Result<(), _>>()?)
}

/// Hands a job in, from a task of its own.
fn complete(lab: &Lab, claim: &Claim) -> JoinHandle<Result<(), StoreError>> {
    let (store, claim) = (lab.store().clone(), claim.clone());
    tokio::spawn(async move {
        match &claim.spec {
            JobSpec::Train(_) => {
                store
                    .train_complete(&claim.lease, &trained(&claim, EPOCHS))
                    .await
            }
            JobSpec::Evaluate(spec) => {
                store
                    .evaluation_complete(&claim.lease, &measured(&spec.grid))
                    .await
            }
        }
    })
}

async fn complete_all(lab: &Lab, claims: &[Claim]) -> Result<Vec<Result<(), StoreError>>> {
    let calls: Vec<_> = claims.iter().map(|claim| complete(lab, claim)).collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await?);
    }
    Ok(answers)
}

#[tokio::test]
async fn writes_of_one_moment_are_made_in_one_transaction() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..12)).await?;
    for kind in ["train", "evaluate"] {
        let claims = claims(&lab, 12).await?;
        if kind == "train" {
            report_all(&lab, &claims, EPOCHS).await?;
            let told = "SELECT count(DISTINCT changed_in) FROM temper.job WHERE epochs_done = 3";
            assert_eq!(lab.count(told).await?, 1);
        }
        for answer in complete_all(&lab, &claims).await? {
            answer?;
        }
    }
    let accepted = |kind: &str| {
        format!(
            "SELECT count(DISTINCT changed_in) * 100 + count(*) FROM temper.job
            JOIN temper.job_summary AS summary ON summary.job_id = job.id
            WHERE job.kind = '{kind}' AND state = 'succeeded'"
        )
    };
    for kind in ["train", "evaluate"] {
        let accepted: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(accepted(kind)))
            .fetch_one(lab.database.pool())
            .await?;
        assert_eq!(accepted, 112, "one transaction, 12 results");
    }
    Ok(())
}

#[tokio::test]
async fn refused_write_leaves_those_of_the_same_moment_accepted() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..4)).await?;
    let mut claims = claims(&lab, 4).await?;
    report_all(&lab, &claims[1..], EPOCHS).await?;
    claims[1].lease.fence += 1;
    let repeated = claims[3].clone();
    claims.push(repeated);
    let mut answers = complete_all(&lab, &claims).await?.into_iter();
    let mut next = || answers.next().context("an answer is missing");
    refusal(next()?, ErrorKind::FailedPrecondition);
    assert!(refusal(next()?, ErrorKind::LeaseLost).contains("was never given"));
    for answer in [next()?, next()?, next()?] {
        answer?;
    }
    let freed = "SELECT count(*) FROM temper.job WHERE kind = 'evaluate' AND blocked_by = 0";
    assert_eq!(lab.count(freed).await?, 2);
    assert_eq!(lab.count("SELECT count(*) FROM temper.lease").await?, 2);
    Ok(())
}

#[tokio::test]
async fn of_two_who_write_to_one_job_in_one_moment_only_its_holder_is_heard() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let late = claims(&lab, 1).await?.remove(0);
    lab.let_leases_run_out().await?;
    lab.store().lease_expire().await?;
    lab.let_backoff_pass().await?;
    let holder = claims(&lab, 1).await?.remove(0);
    report_all(&lab, std::slice::from_ref(&holder), EPOCHS).await?;
    let mut impostor = holder.clone();
    impostor.lease.incarnation = late.lease.incarnation;
    let mut stranger = holder.clone();
    stranger.lease.token = token(lab.store(), "other workers", Role::Worker).await?;
    let calls = [late, impostor, stranger, holder];
    let mut answers = complete_all(&lab, &calls).await?;
    answers.pop().context("no answer")??;
    for answer in answers {
        refusal(answer, ErrorKind::LeaseLost);
    }
    let models: Vec<String> = sqlx::query_scalar("SELECT path FROM temper.artifact")
        .fetch_all(lab.database.pool())
        .await?;
    assert_eq!(models, [trained(&calls[3], EPOCHS).artifact.path]);
    Ok(())
}

#[tokio::test]
async fn write_that_has_to_wait_holds_up_no_other() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..3)).await?;
    let claims = claims(&lab, 3).await?;
    report_all(&lab, &claims, EPOCHS).await?;
    // Somebody works on the first training, and on what waits for the second.
    let mut other = lab.database.pool().begin().await?;
    let taken = "SELECT job.id FROM temper.job
        LEFT JOIN temper.job_dependency AS dependency ON dependency.job_id = job.id
        WHERE job.id = $1 OR dependency.depends_on = $2 FOR NO KEY UPDATE OF job";
    sqlx::query(taken)
        .bind(claims[0].lease.job.0)
        .bind(claims[1].lease.job.0)
        .execute(&mut *other)
        .await?;
    let waiting = [complete(&lab, &claims[0]), complete(&lab, &claims[1])];
    complete(&lab, &claims[2]).await??;
    assert!(waiting.iter().all(|call| !call.is_finished()));
    other.rollback().await?;
    for call in waiting {
        call.await??;
    }
    let freed = "SELECT count(*) FROM temper.job WHERE kind = 'evaluate' AND blocked_by = 0";
    assert_eq!(lab.count(freed).await?, 3);
    Ok(())
}
