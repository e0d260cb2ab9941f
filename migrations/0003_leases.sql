-- Who works on what: attempts, kept for ever, and leases, which come and go.

CREATE TABLE temper.attempt (
    job_id         bigint NOT NULL REFERENCES temper.job (id),
    number         integer NOT NULL CHECK (number > 0),
    incarnation    uuid NOT NULL REFERENCES temper.worker (incarnation),
    worker         text NOT NULL,
    device         text NOT NULL,
    fence          bigint NOT NULL CHECK (fence > 0),
    started_at     timestamptz NOT NULL DEFAULT now(),
    ended_at       timestamptz,
    outcome        text CHECK (outcome IN ('succeeded', 'failed', 'released', 'lost', 'cancelled')),
    failure_class  text CHECK (failure_class IN
                   ('preempted', 'infrastructure', 'lost', 'out-of-memory', 'diverged', 'bad-input', 'code')),
    message        text NOT NULL DEFAULT '',
    device_seconds double precision CHECK (device_seconds >= 0),
    PRIMARY KEY (job_id, number),
    UNIQUE (job_id, fence),
    CONSTRAINT attempt_ended CHECK (num_nulls(ended_at, outcome, device_seconds) IN (0, 3)),
    CONSTRAINT attempt_failed CHECK
        (CASE WHEN outcome IN ('failed', 'lost') THEN failure_class IS NOT NULL ELSE failure_class IS NULL END)
) WITH (fillfactor = 80);
COMMENT ON TABLE temper.attempt IS 'One worker''s try at a job, kept for ever.';
COMMENT ON COLUMN temper.attempt.job_id IS 'The job.';
COMMENT ON COLUMN temper.attempt.number IS 'Counts from 1 within the job.';
COMMENT ON COLUMN temper.attempt.incarnation IS 'The worker''s start that made it.';
COMMENT ON COLUMN temper.attempt.worker IS 'Name of the worker.';
COMMENT ON COLUMN temper.attempt.device IS 'The device that it used.';
COMMENT ON COLUMN temper.attempt.fence IS 'Fence of its lease.';
COMMENT ON COLUMN temper.attempt.started_at IS 'When the lease was given.';
COMMENT ON COLUMN temper.attempt.ended_at IS 'When it ended; null while it runs.';
COMMENT ON COLUMN temper.attempt.outcome IS 'How it ended: succeeded, failed, released by the worker, lost (the lease ran out) or cancelled; null while it runs.';
COMMENT ON COLUMN temper.attempt.failure_class IS 'Why it failed or was lost; the class decides whether the job is tried again.';
COMMENT ON COLUMN temper.attempt.message IS 'What the worker said of its end.';
COMMENT ON COLUMN temper.attempt.device_seconds IS 'Seconds for which it held its device, wasted ones too.';

CREATE TABLE temper.lease (
    job_id            bigint PRIMARY KEY REFERENCES temper.job (id),
    attempt           integer NOT NULL,
    incarnation       uuid NOT NULL REFERENCES temper.worker (incarnation),
    owner             text NOT NULL REFERENCES temper.owner (name),
    fence             bigint NOT NULL CHECK (fence > 0),
    expires_at        timestamptz NOT NULL,
    last_heartbeat_at timestamptz NOT NULL DEFAULT now(),
    progress_at       timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (job_id, attempt) REFERENCES temper.attempt (job_id, number)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE temper.lease IS 'The rights to write to jobs, one row a leased job. Small and hot: heartbeats change it in place.';
COMMENT ON COLUMN temper.lease.job_id IS 'The job.';
COMMENT ON COLUMN temper.lease.attempt IS 'Number of the attempt that it is for.';
COMMENT ON COLUMN temper.lease.incarnation IS 'Who holds it.';
COMMENT ON COLUMN temper.lease.owner IS 'Against whose share of the workers it counts.';
COMMENT ON COLUMN temper.lease.fence IS 'The job''s fence when it was given.';
COMMENT ON COLUMN temper.lease.expires_at IS 'When it may be taken back, unless a heartbeat comes first.';
COMMENT ON COLUMN temper.lease.last_heartbeat_at IS 'When the worker last extended it.';
COMMENT ON COLUMN temper.lease.progress_at IS 'When the worker last reported an epoch or a checkpoint.';
