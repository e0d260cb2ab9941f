use anyhow::Result;
use temper_core::{
    ErrorKind,
    curve::expected_robustness,
    spec::{CurveMode, EvaluationSettings, Selection},
};
use temper_store::{CurveFilter, JobId, SnapshotToken};
use uuid::Uuid;

use crate::lab::{LEASE, Lab, TESTER, epsilon, measurement, points, refusal, spec};

#[tokio::test]
async fn curves_come_in_the_order_of_cells_and_only_where_there_is_a_result() -> Result<()> {
    let lab = Lab::new().await?;
    let mut wanted = spec([7, 3]);
    wanted.evaluations.push(measurement(Some(epsilon(8))));
    let sweep = lab.submit(&wanted).await?;
    let worker = lab.worker("w").await?;
    // Both trainings and one of the four evaluations.
    for _ in 0..3 {
        let claim = lab.claim(worker).await?;
        lab.finish(&claim).await?;
    }
    let curves = lab
        .store()
        .sweep_curves(sweep.id, &CurveFilter::default())
        .await?;
    let cells: Vec<_> = curves
        .iter()
        .map(|curve| (curve.cell, curve.seed, curve.evaluation))
        .collect();
    assert_eq!(cells, [(0, 7, 0), (0, 7, 1), (1, 3, 0), (1, 3, 1)]);
    let first = &curves[0];
    assert_eq!(
        (first.model.as_str(), first.dataset.as_str()),
        ("mobilenetv2", "fashion-mnist")
    );
    assert_eq!(
        (first.schedule.as_str(), first.target),
        ("fixed", epsilon(4))
    );
    assert_eq!(first.hyperparameters, 0);
    let done: Vec<_> = curves
        .iter()
        .filter(|curve| curve.points.is_some())
        .collect();
    assert_eq!(done.len(), 1);
    let end = if done[0].evaluation == 0 { 2 } else { 4 };
    let expected = points(&(0..=end).map(|step| epsilon(step * 2)).collect::<Vec<_>>());
    assert_eq!(done[0].points.as_ref(), Some(&expected));

    let curve = lab.store().curve_get(done[0].job).await?;
    assert_eq!(
        (curve.facts.mode, curve.facts.attacks),
        (CurveMode::Monotone, EvaluationSettings::default().attacks)
    );
    assert_eq!(curve.points, expected);
    let summary: (f64, f64, f64) = sqlx::query_as(
        "SELECT clean_accuracy, robust_accuracy, expected_robustness FROM temper.job_summary
        WHERE kind = 'evaluate'",
    )
    .fetch_one(lab.database.pool())
    .await?;
    let (clean, robust) = (
        expected[0].accuracy(),
        expected[expected.len() - 1].accuracy(),
    );
    assert_eq!(summary, (clean, robust, expected_robustness(&expected)?));
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_told_from_what_is_not_there_yet() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0])).await?;
    let jobs = lab.jobs(sweep.id).await?;
    let nowhere = JobId(404);
    refusal(lab.store().curve_get(nowhere).await, ErrorKind::NotFound);
    refusal(
        lab.store().artifact_get(nowhere, Selection::Last).await,
        ErrorKind::NotFound,
    );
    refusal(lab.store().job_get(nowhere).await, ErrorKind::NotFound);
    refusal(
        lab.store()
            .sweep_curves(Uuid::nil(), &CurveFilter::default())
            .await,
        ErrorKind::NotFound,
    );
    refusal(
        lab.store()
            .job_changes(Uuid::nil(), SnapshotToken::default(), 1)
            .await,
        ErrorKind::NotFound,
    );
    refusal(
        lab.store().sweep_get(Uuid::nil()).await,
        ErrorKind::NotFound,
    );
    refusal(
        lab.store().sweep_request(Uuid::nil()).await,
        ErrorKind::NotFound,
    );
    refusal(
        lab.store().sweep_cancel(&TESTER, Uuid::nil()).await,
        ErrorKind::NotFound,
    );
    let yet = refusal(
        lab.store().artifact_get(jobs[0].id, Selection::Best).await,
        ErrorKind::FailedPrecondition,
    );
    assert!(yet.contains("train, queued"), "{yet}");
    refusal(
        lab.store().curve_get(jobs[1].id).await,
        ErrorKind::FailedPrecondition,
    );
    let worker = lab.worker("w").await?;
    lab.store().lease_claim(worker, LEASE).await?;
    Ok(())
}
