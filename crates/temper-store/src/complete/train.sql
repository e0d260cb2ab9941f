WITH told AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::int[], $5::int[])
        AS told (job_id, fence, peak_memory_bytes, best_epoch, micro_batch_size)
), gone AS (
    DELETE FROM temper.lease WHERE job_id = ANY($1)
), ended AS (
    UPDATE temper.attempt
    SET ended_at = now(), outcome = 'succeeded', peak_memory_bytes = told.peak_memory_bytes,
        device_seconds = greatest(0, extract(epoch FROM now() - attempt.started_at))
    FROM told WHERE attempt.job_id = told.job_id AND attempt.fence = told.fence
    RETURNING told.*, attempt.device_seconds
), model AS (
    INSERT INTO temper.artifact (job_id, selection, epoch, path, sha256, size)
    SELECT * FROM unnest($6::bigint[], $7::text[], $8::int[], $9::text[], $10::bytea[], $11::bigint[])
), summary AS (
    INSERT INTO temper.job_summary (job_id, kind, epochs, train_loss, validation_accuracy,
        validation_robust_accuracy, best_epoch, micro_batch_size, peak_memory_bytes, device_seconds)
    SELECT ended.job_id, 'train', last.epoch + 1, last.train_loss, last.validation_accuracy,
        last.validation_robust_accuracy, ended.best_epoch, ended.micro_batch_size,
        ended.peak_memory_bytes, ended.device_seconds + (
            -- As it was before these attempts ended.
            SELECT coalesce(sum(earlier.device_seconds), 0) FROM temper.attempt AS earlier
            WHERE earlier.job_id = ended.job_id
        )
    FROM ended CROSS JOIN LATERAL (
        SELECT * FROM temper.epoch_metric AS metric
        WHERE metric.job_id = ended.job_id ORDER BY metric.epoch DESC LIMIT 1
    ) AS last
), done AS (
    UPDATE temper.job SET state = $12, message = '', finished_at = now()
    WHERE id = ANY($1) AND state = 'leased'
), dependent AS MATERIALIZED (
    SELECT job.id FROM temper.job_dependency AS dependency
    JOIN temper.job ON job.id = dependency.job_id
    WHERE dependency.depends_on = ANY($1) ORDER BY job.id FOR NO KEY UPDATE OF job
)
UPDATE temper.job SET blocked_by = job.blocked_by - 1
FROM dependent WHERE job.id = dependent.id AND job.blocked_by > 0
