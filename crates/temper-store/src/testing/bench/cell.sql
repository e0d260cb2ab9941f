-- A cell, a training and its evaluation: what the store inserts, updates and deletes for one worker, statement by
-- statement, a transaction a call. It reads and locks besides, and writes for several workers at once.
\set place :next * :clients + :client_id
\set next :next + 1
\set train :first_training + :place
\set evaluate :first_evaluation + :place

-- The training is leased (lease/claim.sql).
WITH claimed AS (
    UPDATE bench.job SET state = 'leased', fence = fence + 1, attempts = attempts + 1, message = '',
        changed_in = pg_current_xact_id()
    WHERE id = :train RETURNING id, owner, fence, attempts
), tried AS (
    INSERT INTO bench.attempt (job_id, number, incarnation, worker, device, fence)
    SELECT id, attempts, '00000000-0000-0000-0000-000000000000', 'worker-00', 'cpu', fence FROM claimed
), leased AS (
    INSERT INTO bench.lease (job_id, attempt, incarnation, owner, fence, expires_at)
    SELECT id, attempts, '00000000-0000-0000-0000-000000000000', owner, fence, now() + interval '30 seconds'
    FROM claimed
)
SELECT id, fence FROM claimed;

-- Its epochs are reported (epoch/report.sql).
BEGIN;
INSERT INTO bench.epoch_metric (job_id, fence, epoch, epsilon, learning_rate, train_loss,
    validation_accuracy, validation_robust_accuracy, images_per_second, loading_share)
SELECT :train::bigint, 1, epoch, 0.0157, 0.0001, 1.25, 0.75, 0.5, 500, 0.01 FROM generate_series(0, 4) AS epoch
ON CONFLICT (job_id, epoch) DO UPDATE SET fence = excluded.fence, epsilon = excluded.epsilon,
    learning_rate = excluded.learning_rate, train_loss = excluded.train_loss,
    validation_accuracy = excluded.validation_accuracy,
    validation_robust_accuracy = excluded.validation_robust_accuracy,
    images_per_second = excluded.images_per_second, loading_share = excluded.loading_share, reported_at = now();
UPDATE bench.lease SET progress_at = now() WHERE job_id = :train;
UPDATE bench.job SET epochs_done = 5, changed_in = pg_current_xact_id() WHERE id = :train;
COMMIT;

-- It is completed, and its evaluation is free (complete/train.sql).
BEGIN;
INSERT INTO bench.artifact (job_id, selection, epoch, path, sha256, size)
VALUES (:train::bigint, 'last', NULL, repeat('0', 64) || '/1/model.safetensors', sha256('model'), 10000000);
WITH gone AS (DELETE FROM bench.lease WHERE job_id = :train AND fence = 1)
UPDATE bench.attempt SET ended_at = now(), outcome = 'succeeded', failure_class = NULL, message = '',
    peak_memory_bytes = NULL, device_seconds = greatest(0, extract(epoch FROM now() - started_at))
WHERE job_id = :train AND fence = 1;
UPDATE bench.job SET state = 'succeeded', message = '', finished_at = now(), changed_in = pg_current_xact_id()
WHERE id = :train AND state = 'leased' AND fence = 1;
INSERT INTO bench.job_summary (job_id, kind, epochs, train_loss, validation_accuracy,
    validation_robust_accuracy, device_seconds)
VALUES (:train::bigint, 'train', 5, 1.25, 0.75, 0.5, 0.01);
UPDATE bench.job SET blocked_by = blocked_by - 1, changed_in = pg_current_xact_id()
WHERE id = :evaluate AND blocked_by > 0;
COMMIT;

-- The evaluation is leased.
WITH claimed AS (
    UPDATE bench.job SET state = 'leased', fence = fence + 1, attempts = attempts + 1, message = '',
        changed_in = pg_current_xact_id()
    WHERE id = :evaluate RETURNING id, owner, fence, attempts
), tried AS (
    INSERT INTO bench.attempt (job_id, number, incarnation, worker, device, fence)
    SELECT id, attempts, '00000000-0000-0000-0000-000000000000', 'worker-00', 'cpu', fence FROM claimed
), leased AS (
    INSERT INTO bench.lease (job_id, attempt, incarnation, owner, fence, expires_at)
    SELECT id, attempts, '00000000-0000-0000-0000-000000000000', owner, fence, now() + interval '30 seconds'
    FROM claimed
)
SELECT id, fence FROM claimed;

-- It is completed (complete/evaluate.sql).
BEGIN;
INSERT INTO bench.evaluation (job_id, ordinal, epsilon_num, epsilon_den, correct, samples)
SELECT :evaluate::bigint, ordinal, ordinal, 255, 90 - 10 * ordinal, 100 FROM generate_series(0, 4) AS ordinal;
WITH gone AS (DELETE FROM bench.lease WHERE job_id = :evaluate AND fence = 1)
UPDATE bench.attempt SET ended_at = now(), outcome = 'succeeded', failure_class = NULL, message = '',
    peak_memory_bytes = NULL, device_seconds = greatest(0, extract(epoch FROM now() - started_at))
WHERE job_id = :evaluate AND fence = 1;
UPDATE bench.job SET state = 'succeeded', message = '', finished_at = now(), changed_in = pg_current_xact_id()
WHERE id = :evaluate AND state = 'leased' AND fence = 1;
INSERT INTO bench.job_summary (job_id, kind, clean_accuracy, robust_accuracy, expected_robustness,
    audit_samples, audit_gap, masking_flags, passes, peak_memory_bytes, device_seconds)
VALUES (:evaluate::bigint, 'evaluate', 0.9, 0.5, 0.7, NULL, NULL, '{}', NULL, NULL, 0.01);
COMMIT;
