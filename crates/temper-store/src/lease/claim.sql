WITH RECURSIVE line AS (
    (
        SELECT job.queue_id, job.footprint_id FROM temper.job
        WHERE job.state = 'queued' AND job.wanted AND job.blocked_by = 0
        ORDER BY job.queue_id, job.footprint_id LIMIT 1
    )
    UNION ALL
    SELECT next.queue_id, next.footprint_id FROM line CROSS JOIN LATERAL (
        SELECT job.queue_id, job.footprint_id FROM temper.job
        WHERE job.state = 'queued' AND job.wanted AND job.blocked_by = 0
            AND (job.queue_id, job.footprint_id) > (line.queue_id, line.footprint_id)
        ORDER BY job.queue_id, job.footprint_id LIMIT 1
    ) AS next
), turn AS (
    SELECT owner.name, count(lease.job_id)::float8 / owner.weight AS share
    FROM temper.owner LEFT JOIN temper.lease ON lease.owner = owner.name
    GROUP BY owner.name
), head AS MATERIALIZED (
    SELECT line.queue_id, line.footprint_id, limiting.parallel_jobs IS NOT NULL AS limited
    FROM line
    JOIN temper.queue ON queue.id = line.queue_id
    JOIN temper.footprint ON footprint.id = line.footprint_id
    JOIN temper.worker ON worker.incarnation = $1 AND worker.token_id = $2
    JOIN turn ON turn.name = queue.owner
    LEFT JOIN temper.sweep AS limiting ON limiting.id = queue.sweep_id
    CROSS JOIN LATERAL (
        SELECT job.priority, job.id FROM temper.job
        WHERE job.queue_id = line.queue_id AND job.footprint_id = line.footprint_id
            AND job.state = 'queued' AND job.wanted AND job.blocked_by = 0
            AND job.available_at <= now()
        ORDER BY job.priority DESC, job.id LIMIT 1
    ) AS first
    WHERE temper.misfits(queue, footprint, worker) = '{}'
        AND (limiting.parallel_jobs IS NULL OR limiting.parallel_jobs > (
            SELECT count(*) FROM temper.lease WHERE queue.id = (
                SELECT job.queue_id FROM temper.job WHERE job.id = lease.job_id
            )
        ))
    ORDER BY turn.share, turn.name, first.priority DESC, first.id
), next AS MATERIALIZED (
    SELECT ready.id, head.queue_id, head.limited FROM head CROSS JOIN LATERAL (
        SELECT job.id FROM temper.job
        WHERE job.queue_id = head.queue_id AND job.footprint_id = head.footprint_id
            AND job.state = 'queued' AND job.wanted AND job.blocked_by = 0
            AND job.available_at <= now()
        ORDER BY job.priority DESC, job.id LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS ready LIMIT 1
), claimed AS (
    UPDATE temper.job
    SET state = $4, fence = job.fence + 1, attempts = job.attempts + 1, message = ''
    FROM next WHERE job.id = next.id AND (NOT next.limited OR next.queue_id = $5)
    RETURNING job.id, job.key, job.fence, job.attempts, job.owner, job.trace_parent,
        temper.job_spec(job) AS spec
), tried AS (
    INSERT INTO temper.attempt (job_id, number, incarnation, worker, device, fence)
    SELECT claimed.id, claimed.attempts, $1, worker.name, worker.device, claimed.fence
    FROM claimed JOIN temper.worker ON worker.incarnation = $1
), leased AS (
    INSERT INTO temper.lease (job_id, attempt, incarnation, owner, fence, expires_at)
    SELECT id, attempts, $1, owner, fence, now() + make_interval(secs => $3)
    FROM claimed
), seen AS (
    UPDATE temper.worker SET last_seen_at = now()
    WHERE incarnation = $1 AND token_id = $2 AND last_seen_at < now() - interval '5 seconds'
)
SELECT next.queue_id AS "queue!", claimed.id AS "id?", claimed.key AS "key?",
    claimed.fence AS "fence?", claimed.spec AS "spec?: Json<JobSpec>",
    measured.path AS "path?", measured.sha256 AS "sha256?", measured.size AS "size?",
    claimed.trace_parent AS "trace_parent?",
    (
        SELECT before.outcome = 'lost' FROM temper.attempt AS before
        WHERE before.job_id = claimed.id AND before.number = claimed.attempts - 1
    ) IS TRUE AS "rescues!"
FROM next LEFT JOIN claimed ON true
LEFT JOIN LATERAL (
    SELECT artifact.path, artifact.sha256, artifact.size
    FROM temper.job_dependency AS dependency
    JOIN temper.artifact ON artifact.job_id = dependency.depends_on
    WHERE dependency.job_id = claimed.id AND artifact.selection IN (claimed.spec ->> 'model', 'last')
    ORDER BY artifact.selection = claimed.spec ->> 'model' DESC LIMIT 1
) AS measured ON true
