//! What the views say, held against what was handed in.

use anyhow::Result;
use temper_core::{
    curve::{Point, expected_robustness},
    job::FailureClass,
    schedule::Schedule,
    spec::JobSpec,
};
use temper_store::{Claim, Measured, StoreError};
use uuid::Uuid;

use crate::lab::{Lab, TESTER, epoch, failure, measured, spec};

/// The points that a job is given: under two-hinge better, and by seed.
fn points(claim: &Claim) -> Vec<Point> {
    let JobSpec::Evaluate(spec) = &claim.spec else {
        return Vec::new();
    };
    let best = 100 + u32::from(claim.key.as_bytes()[0] % 50);
    let steps = [0, 31, 77];
    let point = |(epsilon, step): (&temper_core::Epsilon, u32)| Point {
        epsilon: *epsilon,
        correct: best - step,
        samples: 200,
    };
    spec.grid.iter().zip(steps).map(point).collect()
}

async fn evaluate(lab: &Lab, claim: &Claim) -> Result<Vec<Point>, StoreError> {
    let points = points(claim);
    let measured = Measured {
        points: points.clone(),
        ..measured(&[])
    };
    lab.store()
        .evaluation_complete(&claim.lease, &measured)
        .await?;
    Ok(points)
}

/// Does everything, and gives the curves by job.
async fn finish_all(lab: &Lab) -> Result<Vec<(i64, Vec<Point>)>> {
    let worker = lab.worker("w").await?;
    let mut curves = Vec::new();
    while let Some(claim) = lab.store().lease_claim(worker, crate::lab::LEASE).await? {
        if matches!(claim.spec, JobSpec::Train(_)) {
            lab.finish(&claim).await?;
        } else {
            curves.push((claim.lease.job.0, evaluate(lab, &claim).await?));
        }
    }
    Ok(curves)
}

#[tokio::test]
async fn curves_go_through_complete_and_come_out_equal() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..3)).await?;
    let curves = finish_all(&lab).await?;
    assert_eq!(curves.len(), 3);
    for (job, points) in curves {
        let seen: Vec<(i32, i32, f64, f64)> = sqlx::query_as(
            "SELECT correct, samples, accuracy, epsilon FROM reporting.curve
            WHERE job_id = $1 ORDER BY point",
        )
        .bind(job)
        .fetch_all(lab.database.pool())
        .await?;
        let given: Vec<_> = points
            .iter()
            .map(|point| {
                let (correct, samples) = (point.correct.cast_signed(), point.samples.cast_signed());
                (correct, samples, point.accuracy(), point.epsilon.value())
            })
            .collect();
        assert_eq!(seen, given);
        let summary: (f64, f64, f64, String) = sqlx::query_as(
            "SELECT clean_accuracy, robust_accuracy, expected_robustness, grid_end
            FROM reporting.robustness WHERE job_id = $1",
        )
        .bind(job)
        .fetch_one(lab.database.pool())
        .await?;
        let (clean, robust) = (points[0].accuracy(), points[2].accuracy());
        let expected = expected_robustness(&points)?;
        assert_eq!(summary, (clean, robust, expected, "4/255".to_owned()));
    }
    Ok(())
}

#[tokio::test]
async fn schedules_are_compared_by_pairs_and_what_is_missing_is_counted() -> Result<()> {
    let lab = Lab::new().await?;
    let mut wanted = spec(0..3);
    wanted.schedules = vec![
        Schedule::Fixed,
        Schedule::two_hinge_default(),
        Schedule::Linear,
    ];
    let sweep = lab.submit(&wanted).await?.id;
    let rows = "SELECT count(*) FROM reporting.comparison";
    assert_eq!(
        lab.count(rows).await?,
        3 * 6,
        "every ordered pair of each seed"
    );
    let measured = "SELECT count(expected_difference) FROM reporting.comparison";
    assert_eq!(lab.count(measured).await?, 0);
    finish_all(&lab).await?;
    let pairs: Vec<(i64, f64, f64)> = sqlx::query_as(
        "SELECT seed, expected_difference, (
            SELECT other.expected_robustness - base.expected_robustness
            FROM reporting.robustness AS base, reporting.robustness AS other
            WHERE base.sweep_id = $1 AND other.sweep_id = $1 AND base.seed = pair.seed
                AND other.seed = pair.seed AND base.schedule = 'fixed' AND other.schedule = 'two-hinge'
        )
        FROM reporting.comparison AS pair
        WHERE sweep_id = $1 AND base_schedule = 'fixed' AND schedule = 'two-hinge' ORDER BY seed",
    )
    .bind(sweep)
    .fetch_all(lab.database.pool())
    .await?;
    assert_eq!(pairs.len(), 3);
    assert!(
        pairs
            .iter()
            .all(|(_, pair, by_hand)| (pair - by_hand).abs() < 1e-12),
        "{pairs:?}"
    );
    Ok(())
}

#[tokio::test]
async fn progress_is_that_of_the_sweep_and_what_is_left_is_reckoned_by_kind() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec(0..4)).await?.id;
    let left = "SELECT left_seconds, eta_seconds FROM reporting.sweep_progress";
    let left =
        || sqlx::query_as::<_, (Option<f64>, Option<f64>)>(left).fetch_one(lab.database.pool());
    let worker = lab.worker("w").await?;
    for _ in 0..2 {
        let claim = lab.claim(worker).await?;
        lab.finish(&claim).await?;
    }
    assert_eq!(
        left().await?,
        (None, None),
        "no evaluation has told what one takes"
    );
    while lab
        .count("SELECT count(*) FROM temper.job_summary WHERE kind = 'evaluate'")
        .await?
        == 0
    {
        let claim = lab.claim(worker).await?;
        lab.finish(&claim).await?;
    }
    lab.execute("UPDATE temper.job_summary SET device_seconds = CASE kind WHEN 'train' THEN 100 ELSE 10 END")
        .await?;
    // Every training is done and one evaluation: three are left, of 10 s each.
    assert_eq!(left().await?, (Some(30.0), None), "nobody works on it");
    lab.claim(worker).await?;
    assert_eq!(left().await?, (Some(30.0), Some(30.0)));
    let row = lab.store().sweep_get(sweep).await?;
    let counts: (i64, i64, i64, i64, i64, String) = sqlx::query_as(
        "SELECT queued, leased, succeeded, cells, cells_succeeded, state FROM reporting.sweep_progress",
    )
    .fetch_one(lab.database.pool())
    .await?;
    let told = (
        row.jobs.queued,
        row.jobs.leased,
        row.jobs.succeeded,
        row.cells,
        row.cells_succeeded,
    );
    let told = (
        told.0.into(),
        told.1.into(),
        told.2.into(),
        told.3.into(),
        told.4.into(),
        row.state.to_string(),
    );
    assert_eq!(counts, told);
    Ok(())
}

#[tokio::test]
async fn wasted_time_and_failures_are_those_of_attempts_without_a_result() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0])).await?.id;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    lab.store()
        .attempt_fail(&claim.lease, failure(FailureClass::Code, "a defect"))
        .await?;
    lab.let_backoff_pass().await?;
    lab.finish_all(worker).await?;
    lab.execute("UPDATE temper.attempt SET device_seconds = 10 * number")
        .await?;
    let cost: Vec<(String, i64, f64, f64)> = sqlx::query_as(
        "SELECT kind, attempts, device_seconds, wasted_seconds FROM reporting.cost ORDER BY kind",
    )
    .fetch_all(lab.database.pool())
    .await?;
    let row = |kind: &str, attempts, seconds, wasted| (kind.to_owned(), attempts, seconds, wasted);
    assert_eq!(
        cost,
        [row("evaluate", 1, 10.0, 0.0), row("train", 2, 30.0, 10.0)]
    );
    let failures: Vec<(Uuid, i64, String, String, String)> = sqlx::query_as(
        "SELECT sweep_id, job_id, failure_class, message, state FROM reporting.failure",
    )
    .fetch_all(lab.database.pool())
    .await?;
    let told = (
        "code".to_owned(),
        "a defect".to_owned(),
        "succeeded".to_owned(),
    );
    assert_eq!(
        failures,
        [(sweep, claim.lease.job.0, told.0, told.1, told.2)]
    );
    Ok(())
}

#[tokio::test]
async fn onset_is_the_first_epoch_above_five_percent() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let claim = lab.claim(lab.worker("w").await?).await?;
    let mut epochs: Vec<_> = (0..3).map(epoch).collect();
    for (epoch, accuracy) in epochs.iter_mut().zip([0.05, 0.051, 0.9]) {
        epoch.validation_accuracy = Some(accuracy);
    }
    lab.store().epochs_report(&claim.lease, &epochs).await?;
    let onsets = "SELECT onset FROM reporting.epoch ORDER BY epoch";
    let onsets: Vec<bool> = sqlx::query_scalar(onsets)
        .fetch_all(lab.database.pool())
        .await?;
    assert_eq!(onsets, [false, true, false]);
    Ok(())
}

#[tokio::test]
async fn queue_counts_what_is_ready_and_held_and_not_what_waits_or_is_paused() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..3)).await?;
    let paused = lab.submit(&spec(10..12)).await?.id;
    lab.store().sweep_pause(&TESTER, paused, None, "").await?;
    lab.claim(lab.worker("w").await?).await?;
    let standing: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT device_kind, state, jobs FROM reporting.queue ORDER BY state")
            .fetch_all(lab.database.pool())
            .await?;
    let row = |state: &str, jobs| ("any".to_owned(), state.to_owned(), jobs);
    assert_eq!(standing, [row("leased", 1), row("ready", 2)]);
    let held: (String, i32, bool) =
        sqlx::query_as("SELECT worker, attempt, heartbeat_age_seconds >= 0 FROM reporting.lease")
            .fetch_one(lab.database.pool())
            .await?;
    assert_eq!(held, ("w".to_owned(), 1, true));
    Ok(())
}
