//! Results: accepted once, with the job's state, in one transaction.

use temper_core::{
    Epsilon,
    curve::{Point, expected_robustness},
    job::{JobEvent, JobKind},
    spec::JobSpec,
};

use sqlx::types::Json;

use crate::{
    Artifact, AttemptOutcome, LeaseRef, Store, StoreError,
    attempt::attempt_end,
    lease::{Held, Hold, lease_check},
    store::Tx,
    sweep::jobs,
    value::{PointColumns, column, stored},
};

impl Store {
    /// Takes in a trained model of `epochs` epochs: the artifact, the summary and the job's state
    /// in one transaction. Repeated under its own fence it changes nothing.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job, `EpochGap` unless every epoch was
    /// reported, `Mismatch` for a job that is no training.
    pub async fn train_complete(
        &self,
        lease: &LeaseRef,
        artifact: &Artifact,
        epochs: u32,
    ) -> Result<(), StoreError> {
        let size: i64 = column(artifact.size, "the size")?;
        let mut tx = self.begin().await?;
        let Hold::Live(held) = lease_check(&mut tx, lease).await? else {
            return Ok(());
        };
        require_kind(&held, JobKind::Train)?;
        require_epochs(&mut tx, &held, epochs).await?;
        sqlx::query!(
            "INSERT INTO temper.artifact (job_id, path, sha256, size) VALUES ($1, $2, $3, $4)",
            lease.job.0,
            artifact.path,
            &artifact.sha256.as_bytes()[..],
            size,
        )
        .execute(&mut *tx)
        .await?;
        job_succeed(&mut tx, &held).await?;
        sqlx::query!(
            "INSERT INTO temper.job_summary (job_id, kind, epochs, train_loss,
                validation_accuracy, validation_robust_accuracy, device_seconds)
            SELECT metric.job_id, 'train', metric.epoch + 1, metric.train_loss,
                metric.validation_accuracy, metric.validation_robust_accuracy,
                (SELECT coalesce(sum(attempt.device_seconds), 0) FROM temper.attempt
                WHERE attempt.job_id = metric.job_id)
            FROM temper.epoch_metric AS metric
            WHERE metric.job_id = $1 ORDER BY metric.epoch DESC LIMIT 1",
            lease.job.0,
        )
        .execute(&mut *tx)
        .await?;
        jobs::dependents_unblock(&mut tx, lease.job).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes in a measurement: the points, the summary and the job's state in one transaction.
    /// Repeated under its own fence it changes nothing.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job, `Mismatch` when the points are not on
    /// the job's grid or it is no evaluation, `Curve` for impossible counts.
    pub async fn evaluation_complete(
        &self,
        lease: &LeaseRef,
        points: &[Point],
    ) -> Result<(), StoreError> {
        let columns = PointColumns::of(points)?;
        let mut tx = self.begin().await?;
        let Hold::Live(held) = lease_check(&mut tx, lease).await? else {
            return Ok(());
        };
        require_kind(&held, JobKind::Evaluate)?;
        require_grid(&mut tx, &held, points).await?;
        let expected = expected_robustness(points).map_err(|source| StoreError::Curve {
            job: lease.job,
            source,
        })?;
        sqlx::query!(
            "INSERT INTO temper.evaluation
                (job_id, ordinal, epsilon_num, epsilon_den, correct, samples)
            SELECT $1, ordinal - 1, epsilon_num, epsilon_den, correct, samples
            FROM unnest($2::int[], $3::int[], $4::int[], $5::int[])
            WITH ORDINALITY AS point (epsilon_num, epsilon_den, correct, samples, ordinal)",
            lease.job.0,
            &columns.numerators,
            &columns.denominators,
            &columns.correct,
            &columns.samples,
        )
        .execute(&mut *tx)
        .await?;
        job_succeed(&mut tx, &held).await?;
        evaluation_summarise(&mut tx, &held, points, expected).await?;
        jobs::dependents_unblock(&mut tx, lease.job).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn evaluation_summarise(
    tx: &mut Tx,
    held: &Held,
    points: &[Point],
    expected: f64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO temper.job_summary (job_id, kind, clean_accuracy, robust_accuracy,
            expected_robustness, device_seconds)
        SELECT $1, 'evaluate', $2, $3, $4, coalesce(sum(device_seconds), 0)
        FROM temper.attempt WHERE job_id = $1",
        held.job.0,
        points.first().map(Point::accuracy),
        points.last().map(Point::accuracy),
        expected,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn job_succeed(tx: &mut Tx, held: &Held) -> Result<(), StoreError> {
    let state = held.state.after(JobEvent::Completed)?;
    attempt_end(tx, held, AttemptOutcome::Succeeded, None, "").await?;
    sqlx::query!(
        "UPDATE temper.job SET state = $2, message = '', finished_at = now()
        WHERE id = $1 AND state = 'leased' AND fence = $3",
        held.job.0,
        state.as_str(),
        held.fence,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn require_kind(held: &Held, kind: JobKind) -> Result<(), StoreError> {
    if held.kind == kind {
        return Ok(());
    }
    let reason = format!("it is of kind {}, the result of kind {kind}", held.kind);
    Err(StoreError::Mismatch {
        job: held.job,
        reason,
    })
}

async fn require_epochs(tx: &mut Tx, held: &Held, handed_in: u32) -> Result<(), StoreError> {
    // From the first one on an epoch without a gap has as many before it as its number says.
    let reported = sqlx::query_scalar!(
        r#"SELECT count(*) AS "reported!" FROM (
            SELECT epoch, row_number() OVER (ORDER BY epoch) - 1 AS place
            FROM temper.epoch_metric WHERE job_id = $1
        ) AS numbered WHERE epoch = place"#,
        held.job.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    let reported: u32 = stored(reported, "count")?;
    if handed_in == held.epochs && reported == held.epochs {
        return Ok(());
    }
    Err(StoreError::EpochGap {
        job: held.job,
        epochs: held.epochs,
        handed_in,
        reported,
    })
}

async fn require_grid(tx: &mut Tx, held: &Held, points: &[Point]) -> Result<(), StoreError> {
    let spec = sqlx::query_scalar!(
        r#"SELECT spec AS "spec: Json<JobSpec>" FROM temper.job WHERE id = $1"#,
        held.job.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    let JobSpec::Evaluate(spec) = spec.0 else {
        return Err(StoreError::corrupt("job spec", "its kind is not the job's"));
    };
    let measured: Vec<Epsilon> = points.iter().map(|point| point.epsilon).collect();
    if measured == spec.grid {
        return Ok(());
    }
    let list = |grid: &[Epsilon]| {
        grid.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let reason = format!(
        "its grid is {}; measured was {}",
        list(&spec.grid),
        list(&measured)
    );
    Err(StoreError::Mismatch {
        job: held.job,
        reason,
    })
}
