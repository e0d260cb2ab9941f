WITH stored AS (
    INSERT INTO temper.epoch_metric (job_id, fence, epoch, epsilon, learning_rate, train_loss,
        validation_accuracy, validation_robust_accuracy, images_per_second, loading_share)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::float8[], $5::float8[],
        $6::float8[], $7::float8[], $8::float8[], $9::float8[], $10::float8[])
    ON CONFLICT (job_id, epoch) DO UPDATE SET fence = excluded.fence,
        epsilon = excluded.epsilon, learning_rate = excluded.learning_rate,
        train_loss = excluded.train_loss, validation_accuracy = excluded.validation_accuracy,
        validation_robust_accuracy = excluded.validation_robust_accuracy,
        images_per_second = excluded.images_per_second, loading_share = excluded.loading_share,
        reported_at = now()
), progress AS (
    UPDATE temper.lease SET progress_at = now() WHERE job_id = ANY($11::bigint[])
)
UPDATE temper.job SET epochs_done = (
    -- What was there before, and of what is told now the rest.
    SELECT count(*) FROM (
        SELECT epoch FROM temper.epoch_metric WHERE epoch_metric.job_id = job.id
        UNION
        SELECT told.epoch FROM unnest($1, $3) AS told (job_id, epoch) WHERE told.job_id = job.id
    ) AS epoch
)
WHERE id = ANY($11)
