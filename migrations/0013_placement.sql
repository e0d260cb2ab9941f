-- Which workers a job may go to: what its sweep asks of them, what it takes of their memory, how many of a
-- sweep's jobs may run at once; and sweeps that are paused because all their jobs fail.

CREATE TABLE temper.queue (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner        text NOT NULL REFERENCES temper.owner (name),
    device_kind  text CONSTRAINT queue_device_kind CHECK (device_kind IN ('cpu', 'cuda')),
    labels       jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    memory_bytes bigint CHECK (memory_bytes > 0),
    sweep_id     uuid,
    UNIQUE NULLS NOT DISTINCT (owner, device_kind, labels, memory_bytes, sweep_id)
);
COMMENT ON TABLE temper.queue IS 'Whose jobs go to which workers: jobs that are alike in this stand in one queue. A small table, which rows are never deleted from.';
COMMENT ON COLUMN temper.queue.id IS 'Number.';
COMMENT ON COLUMN temper.queue.owner IS 'Whose share of the workers its jobs take.';
COMMENT ON COLUMN temper.queue.device_kind IS 'The kind of device that its jobs want, cpu or cuda; null for any.';
COMMENT ON COLUMN temper.queue.labels IS 'Labels that a worker must bear, with these values.';
COMMENT ON COLUMN temper.queue.memory_bytes IS 'Free memory that its jobs are said to want, until it is known what jobs like them took; null where nothing is said.';
COMMENT ON COLUMN temper.queue.sweep_id IS 'The sweep whose limit of jobs at a time holds for it, which may be gone since; null where none does.';

-- The queues of what is there: nothing is asked of workers.
INSERT INTO temper.queue (owner) SELECT name FROM temper.owner;

CREATE TABLE temper.footprint (
    id                   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    template_id          integer REFERENCES temper.job_template (id),
    training_template_id integer REFERENCES temper.job_template (id),
    precision            text NOT NULL CONSTRAINT footprint_precision CHECK (precision IN ('fp32', 'bf16')),
    result_version       integer NOT NULL CHECK (result_version > 0),
    cpu_peak_bytes       bigint CHECK (cpu_peak_bytes > 0),
    cuda_peak_bytes      bigint CHECK (cuda_peak_bytes > 0),
    UNIQUE NULLS NOT DISTINCT (template_id, training_template_id, precision, result_version)
);
COMMENT ON TABLE temper.footprint IS 'What jobs that differ in ramp and seed alone take of a worker.';
COMMENT ON COLUMN temper.footprint.id IS 'Number.';
COMMENT ON COLUMN temper.footprint.template_id IS 'What these jobs have in common; null for jobs from before there were templates.';
COMMENT ON COLUMN temper.footprint.training_template_id IS 'What their trainings have in common: of a training its own template.';
COMMENT ON COLUMN temper.footprint.precision IS 'Number format that the device must compute in.';
COMMENT ON COLUMN temper.footprint.result_version IS 'Result version that the worker must produce.';
COMMENT ON COLUMN temper.footprint.cpu_peak_bytes IS 'The least peak of memory with which one of them succeeded on a processor: workers keep freed memory, so that a peak tells at most too much. Null while none is known.';
COMMENT ON COLUMN temper.footprint.cuda_peak_bytes IS 'The same on a CUDA device.';

INSERT INTO temper.footprint (template_id, training_template_id, precision, result_version)
SELECT DISTINCT job.template_id, coalesce(train.template_id, job.template_id), job.precision, job.result_version
FROM temper.job
LEFT JOIN temper.job_dependency AS dependency ON dependency.job_id = job.id
LEFT JOIN temper.job AS train ON train.id = dependency.depends_on;

ALTER TABLE temper.job
    ADD COLUMN queue_id integer REFERENCES temper.queue (id),
    ADD COLUMN footprint_id integer REFERENCES temper.footprint (id);
UPDATE temper.job SET queue_id = queue.id, footprint_id = footprint.id
FROM temper.job AS same
LEFT JOIN temper.job_dependency AS dependency ON dependency.job_id = same.id
LEFT JOIN temper.job AS train ON train.id = dependency.depends_on
JOIN temper.queue ON queue.owner = same.owner
JOIN temper.footprint ON footprint.template_id IS NOT DISTINCT FROM same.template_id
    AND footprint.training_template_id IS NOT DISTINCT FROM coalesce(train.template_id, same.template_id)
    AND footprint.precision = same.precision AND footprint.result_version = same.result_version
WHERE job.id = same.id;
-- A coordinator of the release before cannot queue jobs that nobody would find: its creates fail.
ALTER TABLE temper.job ALTER COLUMN queue_id SET NOT NULL, ALTER COLUMN footprint_id SET NOT NULL;
COMMENT ON COLUMN temper.job.queue_id IS 'The queue in which it stands: that of the sweep which decides its priority.';
COMMENT ON COLUMN temper.job.footprint_id IS 'What it takes of a worker.';

-- A line for each queue and footprint, so that a claim passes over what its worker cannot do in one step
-- a line, whatever stands in it.
DROP INDEX temper.job_ready;
CREATE INDEX job_ready ON temper.job (queue_id, footprint_id, priority DESC, id)
    WHERE state = 'queued' AND wanted AND blocked_by = 0;

ALTER TABLE temper.sweep
    ADD COLUMN queue_id integer REFERENCES temper.queue (id),
    ADD COLUMN parallel_jobs integer CONSTRAINT sweep_parallel_jobs CHECK (parallel_jobs > 0),
    ADD COLUMN resumed_at timestamptz;
UPDATE temper.sweep SET queue_id = queue.id FROM temper.queue WHERE queue.owner = sweep.owner;
ALTER TABLE temper.sweep ALTER COLUMN queue_id SET NOT NULL;
COMMENT ON COLUMN temper.sweep.queue_id IS 'The queue of its jobs.';
COMMENT ON COLUMN temper.sweep.parallel_jobs IS 'Jobs of it that may be leased at a time; null for any number.';
COMMENT ON COLUMN temper.sweep.resumed_at IS 'When it last went on after a pause: failures from before are forgiven it. Null for never.';

ALTER TABLE temper.worker
    ADD COLUMN device_kind text GENERATED ALWAYS AS (split_part(device, ':', 1)) STORED,
    ADD COLUMN labels jsonb NOT NULL DEFAULT '{}' CONSTRAINT worker_labels CHECK (jsonb_typeof(labels) = 'object'),
    ADD COLUMN free_memory_bytes bigint CONSTRAINT worker_free_memory CHECK (free_memory_bytes >= 0),
    ADD COLUMN ends_at timestamptz,
    ADD COLUMN least_time interval NOT NULL DEFAULT '0';
CREATE INDEX worker_last_seen ON temper.worker (last_seen_at DESC);
COMMENT ON COLUMN temper.worker.device_kind IS 'The kind of its device: what stands before the colon.';
COMMENT ON COLUMN temper.worker.labels IS 'What its operator says of it, an object of strings.';
COMMENT ON COLUMN temper.worker.free_memory_bytes IS 'Memory of the device that was free when it last asked for a job; null when not known.';
COMMENT ON COLUMN temper.worker.ends_at IS 'When its time on the machine is over; null for never.';
COMMENT ON COLUMN temper.worker.least_time IS 'Time that must be left for a job to be worth beginning: to its first checkpoint, and a lease.';

CREATE FUNCTION temper.memory_wanted(queue temper.queue, footprint temper.footprint, device_kind text)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(
        CASE device_kind WHEN 'cpu' THEN footprint.cpu_peak_bytes WHEN 'cuda' THEN footprint.cuda_peak_bytes END,
        queue.memory_bytes)
$$;

-- The one place that says whether a worker can do what stands in a line; claims and explanations ask it.
CREATE FUNCTION temper.misfits(queue temper.queue, footprint temper.footprint, worker temper.worker)
RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT array_remove(ARRAY[
        CASE WHEN queue.device_kind <> worker.device_kind THEN 'device-kind' END,
        CASE WHEN NOT worker.labels @> queue.labels THEN 'labels' END,
        CASE WHEN footprint.precision <> ALL (worker.precisions) THEN 'precision' END,
        CASE WHEN footprint.result_version <> ALL (worker.result_versions) THEN 'result-version' END,
        CASE WHEN temper.memory_wanted(queue, footprint, worker.device_kind)
            > coalesce(worker.free_memory_bytes, worker.memory_bytes) THEN 'memory' END,
        CASE WHEN worker.ends_at < now() + worker.least_time THEN 'wall-time' END
    ], NULL)
$$;
COMMENT ON FUNCTION temper.misfits IS 'What keeps a worker from doing the jobs of a line: device-kind, labels, precision, result-version, memory, wall-time. Empty where nothing does. What is not known keeps nobody.';
COMMENT ON FUNCTION temper.memory_wanted IS 'Memory that the jobs of a line want on a device of this kind: what one like them took, else what their sweep says; null where neither is known.';
