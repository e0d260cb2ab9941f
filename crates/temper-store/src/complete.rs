//! Results: accepted once, with the job's state, in one transaction.

use std::collections::BTreeSet;

use sqlx::types::Json;
use temper_core::{
    Epsilon,
    curve::{Point, expected_robustness},
    job::{JobEvent, JobKind},
    report::{Audit, MaskingFlag},
    spec::{CurveMode, JobSpec, Selection},
};

use crate::{
    Artifact, AttemptOutcome, LeaseRef, Store, StoreError,
    attempt::{End, attempt_end, memory_column},
    lease::{Held, Hold, lease_check},
    store::Tx,
    sweep::jobs,
    value::{PointColumns, column},
};

/// What a training made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trained {
    /// The model of the last epoch.
    pub artifact: Artifact,
    /// The model of the best epoch on the validation split, where there is one.
    pub best: Option<BestModel>,
    /// Epochs trained.
    pub epochs: u32,
    /// Samples a forward pass at the end; none when not known.
    pub micro_batch_size: Option<u32>,
    /// The most memory of the device that was used, in bytes; none when not known.
    pub peak_memory_bytes: Option<u64>,
}

/// The model of the best epoch on the validation split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BestModel {
    /// The model.
    pub artifact: Artifact,
    /// Which epoch that was, from 0.
    pub epoch: u32,
}

/// What an evaluation measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// One point a strength of the grid, ascending.
    pub points: Vec<Point>,
    /// How far bisection was from exact; none in other modes and where nothing was audited.
    pub audit: Option<Audit>,
    /// Signs that the model hides its gradients.
    pub flags: Vec<MaskingFlag>,
    /// Passes of one image through the network; none when not known.
    pub passes: Option<u64>,
    /// The most memory of the device that was used, in bytes; none when not known.
    pub peak_memory_bytes: Option<u64>,
}

impl Store {
    /// Takes in what a training made: its models, the summary and the job's state in one
    /// transaction. Repeated under its own fence it changes nothing.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job, `EpochGap` unless every epoch was
    /// reported, `Mismatch` for a job that is no training and for a best epoch that it has not.
    pub async fn train_complete(
        &self,
        lease: &LeaseRef,
        trained: &Trained,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let Hold::Live(held) = lease_check(&mut tx, lease).await? else {
            return Ok(());
        };
        require_kind(&held, JobKind::Train)?;
        require_epochs(&held, trained.epochs)?;
        artifact_insert(&mut tx, &held, &trained.artifact, None).await?;
        if let Some(best) = &trained.best {
            if best.epoch >= held.epochs {
                let reason = format!("it has no epoch {} that could be its best", best.epoch);
                return Err(StoreError::Mismatch {
                    job: held.job,
                    reason,
                });
            }
            artifact_insert(&mut tx, &held, &best.artifact, Some(best.epoch)).await?;
        }
        job_succeed(&mut tx, &held, trained.peak_memory_bytes).await?;
        training_summarise(&mut tx, &held, trained).await?;
        jobs::dependents_unblock(&mut tx, lease.job).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes in a measurement: the points, the summary and the job's state in one transaction.
    /// Repeated under its own fence it changes nothing.
    ///
    /// # Errors
    /// `LeaseLost` when the writer does not hold the job, `Mismatch` when the points are not on
    /// the job's grid, the audit is none of its mode, or it is no evaluation, `Curve` for
    /// impossible counts.
    pub async fn evaluation_complete(
        &self,
        lease: &LeaseRef,
        measured: &Measured,
    ) -> Result<(), StoreError> {
        let columns = PointColumns::of(&measured.points)?;
        let mut tx = self.begin().await?;
        let Hold::Live(held) = lease_check(&mut tx, lease).await? else {
            return Ok(());
        };
        require_kind(&held, JobKind::Evaluate)?;
        require_measurement(&mut tx, &held, measured).await?;
        let expected =
            expected_robustness(&measured.points).map_err(|source| StoreError::Curve {
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
        job_succeed(&mut tx, &held, measured.peak_memory_bytes).await?;
        evaluation_summarise(&mut tx, &held, measured, expected).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Stores a training's model: the best one where an epoch is given, else the last.
async fn artifact_insert(
    tx: &mut Tx,
    held: &Held,
    artifact: &Artifact,
    best_epoch: Option<u32>,
) -> Result<(), StoreError> {
    let size: i64 = column(artifact.size, "the size")?;
    let epoch: Option<i32> = best_epoch
        .map(|epoch| column(epoch, "the epoch"))
        .transpose()?;
    let selection = match epoch {
        None => Selection::Last,
        Some(_) => Selection::Best,
    };
    sqlx::query!(
        "INSERT INTO temper.artifact (job_id, selection, epoch, path, sha256, size)
        VALUES ($1, $2, $3, $4, $5, $6)",
        held.job.0,
        selection.as_str(),
        epoch,
        artifact.path,
        &artifact.sha256.as_bytes()[..],
        size,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn training_summarise(tx: &mut Tx, held: &Held, trained: &Trained) -> Result<(), StoreError> {
    let best: Option<i32> = trained
        .best
        .as_ref()
        .map(|best| column(best.epoch, "the epoch"))
        .transpose()?;
    let micro_batch: Option<i32> = trained
        .micro_batch_size
        .filter(|size| *size > 0)
        .map(|size| column(size, "the micro-batch"))
        .transpose()?;
    sqlx::query!(
        "INSERT INTO temper.job_summary (job_id, kind, epochs, train_loss, validation_accuracy,
            validation_robust_accuracy, best_epoch, micro_batch_size, peak_memory_bytes,
            device_seconds)
        SELECT metric.job_id, 'train', metric.epoch + 1, metric.train_loss,
            metric.validation_accuracy, metric.validation_robust_accuracy, $2, $3, $4,
            (SELECT coalesce(sum(attempt.device_seconds), 0) FROM temper.attempt
            WHERE attempt.job_id = metric.job_id)
        FROM temper.epoch_metric AS metric
        WHERE metric.job_id = $1 ORDER BY metric.epoch DESC LIMIT 1",
        held.job.0,
        best,
        micro_batch,
        memory_column(trained.peak_memory_bytes)?,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn evaluation_summarise(
    tx: &mut Tx,
    held: &Held,
    measured: &Measured,
    expected: f64,
) -> Result<(), StoreError> {
    let flags: BTreeSet<MaskingFlag> = measured.flags.iter().copied().collect();
    let flags: Vec<String> = flags.iter().map(|flag| flag.as_str().to_owned()).collect();
    let audit_samples: Option<i32> = measured
        .audit
        .map(|audit| column(audit.samples, "the count"))
        .transpose()?;
    let passes: Option<i64> = measured
        .passes
        .filter(|passes| *passes > 0)
        .map(|passes| column(passes, "the count of passes"))
        .transpose()?;
    sqlx::query!(
        "INSERT INTO temper.job_summary (job_id, kind, clean_accuracy, robust_accuracy,
            expected_robustness, audit_samples, audit_gap, masking_flags, passes,
            peak_memory_bytes, device_seconds)
        SELECT $1, 'evaluate', $2, $3, $4, $5, $6, $7, $8, $9, coalesce(sum(device_seconds), 0)
        FROM temper.attempt WHERE job_id = $1",
        held.job.0,
        measured.points.first().map(Point::accuracy),
        measured.points.last().map(Point::accuracy),
        expected,
        audit_samples,
        measured.audit.map(|audit| audit.gap),
        &flags,
        passes,
        memory_column(measured.peak_memory_bytes)?,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn job_succeed(
    tx: &mut Tx,
    held: &Held,
    peak_memory_bytes: Option<u64>,
) -> Result<(), StoreError> {
    let state = held.state.after(JobEvent::Completed)?;
    let end = End {
        peak_memory: memory_column(peak_memory_bytes)?,
        ..End::plain(AttemptOutcome::Succeeded)
    };
    attempt_end(tx, held, &end).await?;
    if let Some(peak) = end.peak_memory {
        footprint_note(tx, held, peak).await?;
    }
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

/// Every epoch must be reported. Each has its own number below how many the job has, so that as many as it
/// has are all of them.
fn require_epochs(held: &Held, handed_in: u32) -> Result<(), StoreError> {
    if handed_in == held.epochs && held.epochs_done == held.epochs {
        return Ok(());
    }
    Err(StoreError::EpochGap {
        job: held.job,
        epochs: held.epochs,
        handed_in,
        reported: held.epochs_done,
    })
}

/// The points must be on the job's grid, and an audit must be one of its mode.
async fn require_measurement(
    tx: &mut Tx,
    held: &Held,
    measured: &Measured,
) -> Result<(), StoreError> {
    let spec = sqlx::query_scalar!(
        r#"SELECT temper.job_spec(job) AS "spec!: Json<JobSpec>" FROM temper.job WHERE id = $1"#,
        held.job.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    let JobSpec::Evaluate(spec) = spec.0 else {
        return Err(StoreError::corrupt("job spec", "its kind is not the job's"));
    };
    let objection = grid_objection(&spec.grid, &measured.points).or_else(|| {
        let audit = measured.audit?;
        audit_objection(spec.mode, audit, &measured.points)
    });
    match objection {
        None => Ok(()),
        Some(reason) => Err(StoreError::Mismatch {
            job: held.job,
            reason,
        }),
    }
}

fn grid_objection(grid: &[Epsilon], points: &[Point]) -> Option<String> {
    let measured: Vec<Epsilon> = points.iter().map(|point| point.epsilon).collect();
    let list = |grid: &[Epsilon]| {
        grid.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    (measured != grid).then(|| {
        format!(
            "its grid is {}; measured was {}",
            list(grid),
            list(&measured)
        )
    })
}

fn audit_objection(mode: CurveMode, audit: Audit, points: &[Point]) -> Option<String> {
    let samples = points.first().map_or(0, |point| point.samples);
    if !matches!(mode, CurveMode::Bisect { .. }) {
        Some(format!("its mode {} has nothing to audit", mode.as_str()))
    } else if audit.samples == 0 || audit.samples > samples {
        Some(format!(
            "{} of {samples} samples cannot have been audited",
            audit.samples
        ))
    } else if !(-1.0..=1.0).contains(&audit.gap) {
        Some(format!("the audit's gap {} is outside [-1, 1]", audit.gap))
    } else {
        None
    }
}

/// Notes what the job took of its device's memory, if that is less than what others like it took.
async fn footprint_note(tx: &mut Tx, held: &Held, peak: i64) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE temper.footprint
        SET cpu_peak_bytes = CASE ran.kind WHEN 'cpu' THEN $3 ELSE cpu_peak_bytes END,
            cuda_peak_bytes = CASE ran.kind WHEN 'cuda' THEN $3 ELSE cuda_peak_bytes END
        FROM (
            SELECT job.footprint_id, split_part(attempt.device, ':', 1) AS kind
            FROM temper.job JOIN temper.attempt ON attempt.job_id = job.id
            WHERE job.id = $1 AND attempt.fence = $2
        ) AS ran
        WHERE footprint.id = ran.footprint_id AND (
            (ran.kind = 'cpu' AND (cpu_peak_bytes IS NULL OR cpu_peak_bytes > $3))
            OR (ran.kind = 'cuda' AND (cuda_peak_bytes IS NULL OR cuda_peak_bytes > $3))
        )",
        held.job.0,
        held.fence,
        peak,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
