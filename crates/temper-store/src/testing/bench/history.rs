//! Years of work, made up in a minute.

use std::ops::Range;

use crate::{Store, StoreError};

/// Number of the first job of the history: all of them are older than the queue, as in life. It is even,
/// so that trainings have even numbers, and their evaluations the ones behind them.
const FIRST: i64 = -1_000_000_000;

/// The statements, each for the jobs whose numbers are from `$1` to below `$2`. Jobs look like the
/// queue's, whose templates they share; no sweep links to them any more.
const STATEMENTS: [&str; 9] = [
    "INSERT INTO temper.worker (incarnation, name, device, result_versions)
    SELECT '00000000-0000-0000-0000-000000000000', 'history', 'cpu', '{1}' WHERE $1 < $2
    ON CONFLICT DO NOTHING",
    "INSERT INTO temper.job (id, key, kind, state, owner, priority, fence, attempts, result_version,
        epochs, epochs_done, precision, queue_id,
        footprint_id, template_id, spec, title, created_at, finished_at)
    OVERRIDING SYSTEM VALUE
    SELECT number, sha256(convert_to('history ' || number, 'UTF8')), model.kind, 'succeeded',
        model.owner, 0, 1, 1, model.result_version, model.epochs, model.epochs, model.precision,
        model.queue_id, model.footprint_id, model.template_id, model.spec, model.title,
        -- One each half minute, so that those of a day are beside each other.
        now() - interval '400 days' + (number + 1000000000) * interval '30 seconds',
        now() - interval '399 days' + (number + 1000000000) * interval '30 seconds'
    FROM generate_series($1, $2 - 1) AS number
    JOIN (SELECT DISTINCT ON (kind) * FROM temper.job ORDER BY kind, id DESC) AS model
        ON model.kind = CASE number & 1 WHEN 0 THEN 'train' ELSE 'evaluate' END
    ORDER BY number",
    "INSERT INTO temper.job_dependency (job_id, depends_on)
    SELECT id, id - 1 FROM temper.job WHERE id >= $1 AND id < $2 AND kind = 'evaluate' ORDER BY id",
    "INSERT INTO temper.attempt (job_id, number, incarnation, worker, device, fence, started_at,
        ended_at, outcome, device_seconds)
    SELECT id, 1, '00000000-0000-0000-0000-000000000000', 'history', 'cpu', 1, created_at,
        finished_at, 'succeeded', 3600
    FROM temper.job WHERE id >= $1 AND id < $2 ORDER BY id",
    "INSERT INTO temper.epoch_metric (job_id, epoch, fence, epsilon, learning_rate, train_loss,
        validation_accuracy, validation_robust_accuracy, images_per_second, loading_share)
    SELECT id, epoch, 1, 0.0157, 0.0001, 1.25, 0.75, 0.5, 500, 0.01
    FROM temper.job CROSS JOIN LATERAL generate_series(0, epochs - 1) AS epoch
    WHERE id >= $1 AND id < $2 AND kind = 'train' ORDER BY id, epoch",
    "INSERT INTO temper.artifact (job_id, path, sha256, size)
    SELECT id, encode(key, 'hex') || '/1/model.safetensors', key, 10000000
    FROM temper.job WHERE id >= $1 AND id < $2 AND kind = 'train' ORDER BY id",
    "INSERT INTO temper.evaluation (job_id, ordinal, epsilon_num, epsilon_den, correct, samples)
    SELECT id, ordinal, ordinal, 255, 90 - 10 * ordinal, 100
    FROM temper.job CROSS JOIN LATERAL generate_series(0, 4) AS ordinal
    WHERE id >= $1 AND id < $2 AND kind = 'evaluate' ORDER BY id, ordinal",
    "INSERT INTO temper.job_summary (job_id, kind, epochs, train_loss, validation_accuracy,
        validation_robust_accuracy, device_seconds)
    SELECT id, kind, epochs, 1.25, 0.75, 0.5, 3600
    FROM temper.job WHERE id >= $1 AND id < $2 AND kind = 'train' ORDER BY id",
    "INSERT INTO temper.job_summary (job_id, kind, clean_accuracy, robust_accuracy,
        expected_robustness, device_seconds)
    SELECT id, kind, 0.9, 0.5, 0.7, 3600
    FROM temper.job WHERE id >= $1 AND id < $2 AND kind = 'evaluate' ORDER BY id",
];

/// Inserts jobs that have succeeded, by their places in the history, each with its attempt and summary;
/// every other one a training, with epochs and model, the one behind it an evaluation of five points.
/// The queue must hold a job of each kind, and the range must begin and end at an even place.
///
/// # Errors
/// When the database fails.
pub async fn history_insert(store: &Store, places: Range<i64>) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    // Everything that is referred to is there: looking at it a million times would take minutes.
    sqlx::raw_sql("SET LOCAL session_replication_role = replica")
        .execute(&mut *tx)
        .await?;
    for statement in STATEMENTS {
        sqlx::query(statement)
            .bind(FIRST + places.start)
            .bind(FIRST + places.end)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The statements, each for the jobs whose numbers are from `$1` to below `$2`, of which `$3` are a
/// sweep; `$4` is the number of the first. Cells go through six models, five datasets, two schedules and two targets, and then seeds.
const SWEEPS: [&str; 4] = [
    "INSERT INTO temper.sweep (id, request_digest, owner, display_name, queue_id, spec, created_at)
    SELECT md5('history ' || number)::uuid, model.request_digest, model.owner,
        'history ' || number, model.queue_id, model.spec, now() - interval '400 days'
    FROM generate_series(($1 - $4) / $3, ($2 - $4) / $3 - 1) AS number
    CROSS JOIN (SELECT * FROM temper.sweep ORDER BY created_at LIMIT 1) AS model",
    "INSERT INTO temper.sweep_job (sweep_id, position, job_id)
    SELECT md5('history ' || (id - $4) / $3)::uuid, (id - $4) % $3, id FROM temper.job WHERE id >= $1 AND id < $2",
    "INSERT INTO temper.sweep_cell (sweep_id, ordinal, model, dataset, schedule, target_num,
        target_den, seed, hyperparameters, train_job)
    SELECT md5('history ' || (id - $4) / $3)::uuid, place, 'model-' || place % 6,
        'dataset-' || place / 6 % 5, CASE place / 30 % 2 WHEN 0 THEN 'fixed' ELSE 'two-hinge' END,
        4 + 4 * (place / 60 % 2), 255, place / 120, 0, id
    FROM temper.job CROSS JOIN LATERAL (SELECT ((id - $4) % $3 / 2)::integer AS place) AS cell
    WHERE id >= $1 AND id < $2 AND kind = 'train'",
    "INSERT INTO temper.cell_evaluation (sweep_id, cell, evaluation, job_id)
    SELECT md5('history ' || (id - $4) / $3)::uuid, (id - $4) % $3 / 2, 0, id
    FROM temper.job WHERE id >= $1 AND id < $2 AND kind = 'evaluate'",
];

/// Makes sweeps of so many jobs each of the history at these places; `jobs` is even and divides both
/// ends. They are called `history N`.
///
/// # Errors
/// When the database fails.
pub async fn history_sweeps(
    store: &Store,
    places: Range<i64>,
    jobs: i64,
) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    for statement in SWEEPS {
        sqlx::query(statement)
            .bind(FIRST + places.start)
            .bind(FIRST + places.end)
            .bind(jobs)
            .bind(FIRST)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}
