//! Which model an evaluation gets, and what trainings and evaluations say of themselves.

use anyhow::{Context, Result};
use temper_core::{
    Digest, ErrorKind,
    job::FailureClass,
    report::{Audit, MaskingFlag},
    spec::{CurveMode, JobSpec, Selection, SweepSpec},
};
use temper_store::{Artifact, BestModel, Claim, CurveFilter, FailedAttempt, Measured, Trained};

use crate::{
    lab::{EPOCHS, Lab, artifact, epoch, measured, measurement, refusal, spec, trained},
    reports::checkpoint,
};

/// A sweep that measures the last model and the best one, by bisection.
fn both() -> SweepSpec {
    let mut wanted = spec([0]);
    wanted.evaluations[0].mode = CurveMode::bisect_default();
    let mut best = measurement(None);
    best.model = Selection::Best;
    wanted.evaluations.push(best);
    wanted
}

fn best_of(claim: &Claim) -> Artifact {
    let path = format!("{}/{}/best", claim.key, claim.lease.fence);
    Artifact {
        sha256: Digest::of(path.as_bytes()),
        path,
        size: 1 << 20,
    }
}

async fn report_all(lab: &Lab, claim: &Claim) -> Result<()> {
    let epochs: Vec<_> = (0..EPOCHS).map(epoch).collect();
    Ok(lab.store().epochs_report(&claim.lease, &epochs).await?)
}

fn model_of(claim: &Claim) -> Option<Selection> {
    match &claim.spec {
        JobSpec::Train(_) => None,
        JobSpec::Evaluate(spec) => Some(spec.model),
    }
}

#[tokio::test]
async fn evaluation_gets_the_model_that_it_asks_for() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&both()).await?;
    let worker = lab.worker("w").await?;
    let train = lab.claim(worker).await?;
    report_all(&lab, &train).await?;
    let best = BestModel {
        artifact: best_of(&train),
        epoch: EPOCHS,
    };
    let mut made = Trained {
        best: Some(best),
        micro_batch_size: Some(16),
        peak_memory_bytes: Some(1 << 33),
        ..trained(&train, EPOCHS)
    };
    let complete = lab.store().train_complete(&train.lease, &made).await;
    assert!(refusal(complete, ErrorKind::InvalidInput).contains("no epoch 3"));
    made.best.as_mut().context("best")?.epoch = 1;
    lab.store().train_complete(&train.lease, &made).await?;

    for _ in 0..2 {
        let claim = lab.claim(worker).await?;
        let wanted = match model_of(&claim).context("no evaluation")? {
            Selection::Last => artifact(&train),
            Selection::Best => best_of(&train),
        };
        assert_eq!(claim.artifact, Some(wanted));
    }
    let job = train.lease.job;
    let get = async |selection| lab.store().artifact_get(job, selection).await;
    assert_eq!(get(Selection::Last).await?, artifact(&train));
    assert_eq!(get(Selection::Best).await?, best_of(&train));
    let summary: (i32, i32, i64) = sqlx::query_as(
        "SELECT best_epoch, micro_batch_size, peak_memory_bytes FROM temper.job_summary",
    )
    .fetch_one(lab.database.pool())
    .await?;
    assert_eq!(summary, (1, 16, 1 << 33));
    let detail = lab.store().job_get(job).await?;
    assert_eq!(detail.attempts[0].peak_memory_bytes, Some(1 << 33));
    Ok(())
}

#[tokio::test]
async fn best_model_is_the_last_one_where_none_is_stored() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&both()).await?;
    let worker = lab.worker("w").await?;
    let train = lab.claim(worker).await?;
    lab.finish(&train).await?;
    for _ in 0..2 {
        let claim = lab.claim(worker).await?;
        assert_eq!(claim.artifact, Some(artifact(&train)));
    }
    let best = lab
        .store()
        .artifact_get(train.lease.job, Selection::Best)
        .await?;
    assert_eq!(best, artifact(&train));
    Ok(())
}

#[tokio::test]
async fn curve_tells_how_it_was_measured_and_what_speaks_against_it() -> Result<()> {
    let lab = Lab::new().await?;
    let mut wanted = both();
    wanted.evaluations[0].seed = 11;
    let sweep = lab.submit(&wanted).await?;
    let worker = lab.worker("w").await?;
    let train = lab.claim(worker).await?;
    lab.finish(&train).await?;
    let audit = Audit {
        samples: 10,
        gap: 0.01,
    };
    for _ in 0..2 {
        let claim = lab.claim(worker).await?;
        let JobSpec::Evaluate(spec) = &claim.spec else {
            anyhow::bail!("no evaluation")
        };
        let mut found = Measured {
            audit: Some(audit),
            flags: vec![MaskingFlag::RisingCurve, MaskingFlag::ZeroGradients],
            passes: Some(12_345),
            peak_memory_bytes: Some(77),
            ..measured(&spec.grid)
        };
        if spec.mode == CurveMode::Monotone {
            let complete = lab.store().evaluation_complete(&claim.lease, &found).await;
            assert!(refusal(complete, ErrorKind::InvalidInput).contains("nothing to audit"));
            found = measured(&spec.grid);
        }
        lab.store()
            .evaluation_complete(&claim.lease, &found)
            .await?;
    }
    let curves = lab
        .store()
        .sweep_curves(sweep.id, &CurveFilter::default())
        .await?;
    let facts = &curves[0].facts;
    assert_eq!((facts.audit, facts.seed), (Some(audit), 11));
    assert_eq!(
        facts.flags,
        [MaskingFlag::ZeroGradients, MaskingFlag::RisingCurve]
    );
    assert_eq!(
        (facts.mode, facts.model, facts.passes),
        (CurveMode::bisect_default(), Selection::Last, Some(12_345))
    );
    assert_eq!(facts.attacks, wanted.evaluations[0].attacks);
    assert_eq!(&lab.store().curve_get(curves[0].job).await?.facts, facts);
    let other = &curves[1].facts;
    assert_eq!(
        (other.audit, other.passes, other.model),
        (None, None, Selection::Best)
    );
    assert_eq!(other.flags, []);
    Ok(())
}

#[tokio::test]
async fn audit_that_cannot_be_is_refused() -> Result<()> {
    let lab = Lab::new().await?;
    let mut wanted = both();
    wanted.evaluations.truncate(1);
    lab.submit(&wanted).await?;
    let worker = lab.worker("w").await?;
    let train = lab.claim(worker).await?;
    lab.finish(&train).await?;
    let claim = lab.claim(worker).await?;
    let JobSpec::Evaluate(spec) = &claim.spec else {
        anyhow::bail!("no evaluation")
    };
    for (samples, gap) in [(0, 0.0), (201, 0.0), (10, 1.5), (10, f64::NAN)] {
        let found = Measured {
            audit: Some(Audit { samples, gap }),
            ..measured(&spec.grid)
        };
        let complete = lab.store().evaluation_complete(&claim.lease, &found).await;
        refusal(complete, ErrorKind::InvalidInput);
    }
    Ok(())
}

#[tokio::test]
async fn failed_attempt_keeps_what_memory_it_used() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    let failed = FailedAttempt {
        class: FailureClass::OutOfMemory,
        message: "no room",
        peak_memory_bytes: Some(1 << 34),
    };
    lab.store().attempt_fail(&claim.lease, failed).await?;
    let detail = lab.store().job_get(claim.lease.job).await?;
    assert_eq!(detail.attempts[0].peak_memory_bytes, Some(1 << 34));
    Ok(())
}

#[tokio::test]
async fn evaluation_resumes_from_its_checkpoint() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let train = lab.claim(worker).await?;
    lab.finish(&train).await?;
    let first = lab.claim(worker).await?;
    assert_eq!(first.checkpoints, []);
    let mut state = checkpoint(&first, 0);
    state.step = 7;
    lab.store()
        .checkpoint_register(&first.lease, &state)
        .await?;
    lab.store().lease_release(&first.lease).await?;
    let second = lab.claim(worker).await?;
    assert_eq!(second.checkpoints, [state]);
    assert_eq!(second.artifact, Some(artifact(&train)));
    Ok(())
}
