//! What the jobs of a sweep reported, made up.

use uuid::Uuid;

use crate::{Store, StoreError};

/// The statements, each for the jobs of the sweep `$1`. Accuracies fall along the grid and differ from
/// job to job.
const STATEMENTS: [&str; 6] = [
    "INSERT INTO temper.epoch_metric (job_id, epoch, fence, epsilon, learning_rate, train_loss,
        validation_accuracy, validation_robust_accuracy, images_per_second, loading_share)
    SELECT job.id, epoch, 1, 0.0157, 0.0001, 1.25 + random() / 100,
        least(0.9, 0.001 + 0.02 * epoch), 0.5, 500, 0.01
    FROM temper.sweep_job AS link JOIN temper.job ON job.id = link.job_id
    CROSS JOIN LATERAL generate_series(0, job.epochs - 1) AS epoch
    WHERE link.sweep_id = $1 AND job.kind = 'train' ORDER BY job.id, epoch",
    "INSERT INTO temper.evaluation (job_id, ordinal, epsilon_num, epsilon_den, correct, samples)
    SELECT job.id, ordinal, ordinal, 255, 900 - 40 * ordinal - job.id % 200, 1000
    FROM temper.sweep_job AS link JOIN temper.job ON job.id = link.job_id
    CROSS JOIN LATERAL generate_series(0, 16) AS ordinal
    WHERE link.sweep_id = $1 AND job.kind = 'evaluate' ORDER BY job.id, ordinal",
    "INSERT INTO temper.job_summary (job_id, kind, epochs, train_loss, validation_accuracy,
        validation_robust_accuracy, device_seconds)
    SELECT job.id, job.kind, job.epochs, 1.25, 0.75, 0.5, 3600
    FROM temper.sweep_job AS link JOIN temper.job ON job.id = link.job_id
    WHERE link.sweep_id = $1 AND job.kind = 'train' ORDER BY job.id",
    "INSERT INTO temper.job_summary (job_id, kind, clean_accuracy, robust_accuracy,
        expected_robustness, device_seconds)
    SELECT job.id, job.kind, 0.9 - job.id % 200 / 1000.0, 0.26 - job.id % 200 / 1000.0,
        0.58 - job.id % 200 / 1000.0, 3600
    FROM temper.sweep_job AS link JOIN temper.job ON job.id = link.job_id
    WHERE link.sweep_id = $1 AND job.kind = 'evaluate' ORDER BY job.id",
    "INSERT INTO temper.attempt (job_id, number, incarnation, worker, device, fence, started_at,
        ended_at, outcome, device_seconds)
    SELECT link.job_id, 1, '00000000-0000-0000-0000-000000000000', 'worker', 'cuda:0', 1,
        now() - interval '1 hour', now(), 'succeeded', 3600
    FROM temper.sweep_job AS link WHERE link.sweep_id = $1 ORDER BY link.job_id",
    "UPDATE temper.job SET state = 'succeeded', finished_at = now(), blocked_by = 0, fence = 1,
        attempts = 1, epochs_done = epochs
    FROM temper.sweep_job AS link WHERE link.sweep_id = $1 AND link.job_id = job.id",
];

/// Lets every job of a sweep have succeeded, each training with all of its epochs, each evaluation with
/// 17 points up to 16/255. None of its jobs may have begun, or be another sweep's too.
///
/// # Errors
/// When the database fails.
pub async fn results_insert(store: &Store, sweep: Uuid) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    // Everything that is referred to is there: looking at it a million times would take minutes.
    sqlx::raw_sql("SET LOCAL session_replication_role = replica")
        .execute(&mut *tx)
        .await?;
    for statement in STATEMENTS {
        sqlx::query(statement).bind(sweep).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}
