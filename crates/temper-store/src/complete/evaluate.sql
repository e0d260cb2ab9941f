WITH told AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::float8[], $5::float8[],
        $6::float8[], $7::int[], $8::float8[], $9::text[], $10::bigint[])
        AS told (job_id, fence, peak_memory_bytes, clean, robust, expected, audit_samples, audit_gap,
            flags, passes)
), gone AS (
    DELETE FROM temper.lease WHERE job_id = ANY($1)
), ended AS (
    UPDATE temper.attempt
    SET ended_at = now(), outcome = 'succeeded', peak_memory_bytes = told.peak_memory_bytes,
        device_seconds = greatest(0, extract(epoch FROM now() - attempt.started_at))
    FROM told WHERE attempt.job_id = told.job_id AND attempt.fence = told.fence
    RETURNING told.*, attempt.device_seconds
), point AS (
    INSERT INTO temper.evaluation (job_id, ordinal, epsilon_num, epsilon_den, correct, samples)
    SELECT * FROM unnest($11::bigint[], $12::int[], $13::int[], $14::int[], $15::int[], $16::int[])
), summary AS (
    INSERT INTO temper.job_summary (job_id, kind, clean_accuracy, robust_accuracy,
        expected_robustness, audit_samples, audit_gap, masking_flags, passes, peak_memory_bytes,
        device_seconds)
    SELECT ended.job_id, 'evaluate', ended.clean, ended.robust, ended.expected,
        ended.audit_samples, ended.audit_gap, string_to_array(ended.flags, ','), ended.passes,
        ended.peak_memory_bytes, ended.device_seconds + (
            -- As it was before these attempts ended.
            SELECT coalesce(sum(earlier.device_seconds), 0) FROM temper.attempt AS earlier
            WHERE earlier.job_id = ended.job_id
        )
    FROM ended
)
UPDATE temper.job SET state = $17, message = '', finished_at = now()
WHERE id = ANY($1) AND state = 'leased'
