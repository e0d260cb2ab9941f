-- Who submits what: owners, sweeps, workers.

CREATE SCHEMA IF NOT EXISTS temper;
COMMENT ON SCHEMA temper IS 'The tables of Temper; people and dashboards read the schema reporting instead.';

CREATE TABLE temper.owner (
    name       text PRIMARY KEY CHECK (name <> ''),
    weight     integer NOT NULL DEFAULT 1 CHECK (weight > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE temper.owner IS 'Whoever submits sweeps. A small table: a claim chooses the owner first, then one of the owner''s jobs.';
COMMENT ON COLUMN temper.owner.name IS 'What the owner is called.';
COMMENT ON COLUMN temper.owner.weight IS 'Share of the workers, relative to the weights of the others.';
COMMENT ON COLUMN temper.owner.created_at IS 'When the owner first submitted something.';

CREATE TABLE temper.sweep (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    request_id     uuid UNIQUE,
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    owner          text NOT NULL REFERENCES temper.owner (name),
    display_name   text NOT NULL DEFAULT '',
    labels         jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    priority       integer NOT NULL DEFAULT 0,
    spec           jsonb NOT NULL CHECK (jsonb_typeof(spec) = 'object'),
    jobs_created   integer NOT NULL DEFAULT 0 CHECK (jobs_created >= 0),
    created_at     timestamptz NOT NULL DEFAULT now(),
    cancelled_at   timestamptz,
    paused_at      timestamptz
);
CREATE INDEX sweep_newest ON temper.sweep (created_at DESC, id DESC);
COMMENT ON TABLE temper.sweep IS 'What users submit: the product of its axes, each point of which is a cell.';
COMMENT ON COLUMN temper.sweep.id IS 'Name of the sweep.';
COMMENT ON COLUMN temper.sweep.request_id IS 'The client''s own id of the request, by which repeating it is harmless.';
COMMENT ON COLUMN temper.sweep.request_digest IS 'SHA-256 of the request, by which a repeated request id is told from a reused one.';
COMMENT ON COLUMN temper.sweep.owner IS 'Whose share of the workers its jobs take.';
COMMENT ON COLUMN temper.sweep.display_name IS 'What people call it.';
COMMENT ON COLUMN temper.sweep.labels IS 'Free labels for people, an object of strings.';
COMMENT ON COLUMN temper.sweep.priority IS 'Jobs of sweeps with a higher priority are leased first.';
COMMENT ON COLUMN temper.sweep.spec IS 'What was asked for, every default filled in.';
COMMENT ON COLUMN temper.sweep.jobs_created IS 'Jobs that it was the first to ask for; the others it shares.';
COMMENT ON COLUMN temper.sweep.created_at IS 'When it was submitted.';
COMMENT ON COLUMN temper.sweep.cancelled_at IS 'When it was cancelled: a cancelled sweep wants no job. Null while it is live.';
COMMENT ON COLUMN temper.sweep.paused_at IS 'Since when it is paused: a paused sweep keeps its jobs queued, but lets none be leased. Null while it is not.';

CREATE TABLE temper.worker (
    incarnation     uuid PRIMARY KEY,
    name            text NOT NULL,
    device          text NOT NULL,
    memory_bytes    bigint CHECK (memory_bytes > 0),
    result_versions integer[] NOT NULL CHECK (cardinality(result_versions) > 0),
    registered_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE temper.worker IS 'Every start of a worker: it registers under a fresh incarnation, so that nothing of an earlier start is taken for its own.';
COMMENT ON COLUMN temper.worker.incarnation IS 'Fresh each start of the process.';
COMMENT ON COLUMN temper.worker.name IS 'What people call the worker; the same over its incarnations.';
COMMENT ON COLUMN temper.worker.device IS 'Its device, for instance cpu or cuda:0.';
COMMENT ON COLUMN temper.worker.memory_bytes IS 'Memory of the device; null when not known.';
COMMENT ON COLUMN temper.worker.result_versions IS 'Result versions that it can produce.';
COMMENT ON COLUMN temper.worker.registered_at IS 'When it registered.';
COMMENT ON COLUMN temper.worker.last_seen_at IS 'When it was last heard of, to within seconds.';
