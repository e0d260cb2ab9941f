WITH class AS (
    -- What such a worker told within the hour of its memory and number formats is held against jobs, so that
    -- none are started again and again for what does not fit them; one that has never been seen fits. A new
    -- one will be of today's release, with all its memory and time.
    SELECT jsonb_populate_record(
        (
            SELECT worker FROM temper.worker
            WHERE worker.last_seen_at > now() - interval '1 hour'
                AND worker.device_kind = $1 AND worker.labels @> $2::jsonb
            ORDER BY worker.last_seen_at DESC LIMIT 1
        ),
        jsonb_build_object(
            'device_kind', $1::text, 'labels', $2::jsonb,
            'free_memory_bytes', NULL, 'result_versions', NULL, 'ends_at', NULL
        )
    ) AS worker
), fitting AS (
    SELECT line.queue_id, sum(line.jobs) AS jobs
    FROM (
        -- The partial index of the claim is all that is read.
        SELECT job.queue_id, job.footprint_id, count(*) AS jobs FROM temper.job
        WHERE job.state = 'queued' AND job.wanted AND job.blocked_by = 0
        GROUP BY job.queue_id, job.footprint_id
    ) AS line
    JOIN temper.queue ON queue.id = line.queue_id
    JOIN temper.footprint ON footprint.id = line.footprint_id
    CROSS JOIN class
    WHERE temper.misfits(queue, footprint, class.worker) = '{}'
    GROUP BY line.queue_id
), held AS (
    SELECT job.queue_id, count(*) AS jobs
    FROM temper.lease JOIN temper.job ON job.id = lease.job_id
    GROUP BY job.queue_id
)
SELECT (
    -- No more of a queue than its sweep lets run at a time; no limit is NULL, which `least` passes over.
    SELECT coalesce(sum(greatest(
        least(fitting.jobs, limiting.parallel_jobs - coalesce(held.jobs, 0)), 0
    )), 0)::bigint
    FROM fitting
    JOIN temper.queue ON queue.id = fitting.queue_id
    LEFT JOIN temper.sweep AS limiting ON limiting.id = queue.sweep_id
    LEFT JOIN held ON held.queue_id = queue.id
) AS "queued!", (
    SELECT count(*) FROM temper.lease
    JOIN temper.worker ON worker.incarnation = lease.incarnation
    WHERE worker.device_kind = $1 AND worker.labels @> $2::jsonb
) AS "leased!"
