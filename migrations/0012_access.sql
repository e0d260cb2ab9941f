-- Who may call, and who did what.

CREATE TABLE temper.token (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name         text NOT NULL CHECK (name <> ''),
    role         text NOT NULL CHECK (role IN ('submitter', 'worker', 'viewer', 'admin')),
    owner        text CHECK (owner <> ''),
    digest       bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CREATE INDEX token_newest ON temper.token (created_at DESC, id DESC);
COMMENT ON TABLE temper.token IS 'Bearer tokens. Only their digests are kept; rows stay when a token is revoked, because the audit log names them.';
COMMENT ON COLUMN temper.token.id IS 'Name of the token; no secret.';
COMMENT ON COLUMN temper.token.name IS 'What people call it, and the audit log: a person, or a group of workers. Several may bear one name while one takes another''s place.';
COMMENT ON COLUMN temper.token.role IS 'What it may do: submitter, worker, viewer or admin.';
COMMENT ON COLUMN temper.token.owner IS 'Whose share of the workers its sweeps take; null for its own name.';
COMMENT ON COLUMN temper.token.digest IS 'SHA-256 of the secret, which is 256 random bits: nothing that could be guessed, so that a slow hash would add nothing.';
COMMENT ON COLUMN temper.token.created_at IS 'When it was made.';
COMMENT ON COLUMN temper.token.created_by IS 'Who made it: name of a token, or the command that made it at the database.';
COMMENT ON COLUMN temper.token.expires_at IS 'From when on it is refused; null for never.';
COMMENT ON COLUMN temper.token.revoked_at IS 'Since when it is refused; null while it is good.';
COMMENT ON COLUMN temper.token.last_used_at IS 'When a coordinator was last called with it, to within minutes; null for never.';

-- Without a foreign key to the sweep: what was done to a sweep outlives it.
CREATE TABLE temper.audit (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT now(),
    actor    text NOT NULL,
    token_id uuid REFERENCES temper.token (id),
    role     text,
    method   text NOT NULL,
    sweep_id uuid,
    job_id   bigint,
    detail   jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object')
);
CREATE INDEX audit_of_sweep ON temper.audit (sweep_id, id DESC) WHERE sweep_id IS NOT NULL;
COMMENT ON TABLE temper.audit IS 'Who changed what, when; each row is written in the transaction of the change itself. Reads and what workers report are not here: attempts tell of workers.';
COMMENT ON COLUMN temper.audit.id IS 'Number, in the order of writing.';
COMMENT ON COLUMN temper.audit.at IS 'When.';
COMMENT ON COLUMN temper.audit.actor IS 'Who: name of the token, or the command that was run at the database.';
COMMENT ON COLUMN temper.audit.token_id IS 'The token; null for a command at the database.';
COMMENT ON COLUMN temper.audit.role IS 'The token''s role then; null for a command at the database.';
COMMENT ON COLUMN temper.audit.method IS 'What was called, for instance SweepService/CancelSweep.';
COMMENT ON COLUMN temper.audit.sweep_id IS 'The sweep that it was done to, which may be gone since; null for none.';
COMMENT ON COLUMN temper.audit.job_id IS 'The job that it was done to; null for none.';
COMMENT ON COLUMN temper.audit.detail IS 'What else there is to say; never a secret.';

-- Workers that registered before have none: they register again.
ALTER TABLE temper.worker ADD COLUMN token_id uuid REFERENCES temper.token (id);
COMMENT ON COLUMN temper.worker.token_id IS 'The token under which it registered: no other may write under its leases. Null for a worker from before there were tokens.';

CREATE SCHEMA IF NOT EXISTS reporting;
COMMENT ON SCHEMA reporting IS 'Views for people and dashboards; they stay when the tables behind them change.';

CREATE VIEW reporting.audit AS
SELECT audit.at, audit.actor, audit.role, audit.method, audit.sweep_id,
    sweep.display_name AS sweep, audit.job_id, audit.detail
FROM temper.audit LEFT JOIN temper.sweep ON sweep.id = audit.sweep_id;
COMMENT ON VIEW reporting.audit IS 'Who did what to which sweep, when.';
COMMENT ON COLUMN reporting.audit.at IS 'When.';
COMMENT ON COLUMN reporting.audit.actor IS 'Who: name of the token, or the command that was run at the database.';
COMMENT ON COLUMN reporting.audit.role IS 'The token''s role then; null for a command at the database.';
COMMENT ON COLUMN reporting.audit.method IS 'What was called, for instance SweepService/CancelSweep.';
COMMENT ON COLUMN reporting.audit.sweep_id IS 'The sweep; null for none.';
COMMENT ON COLUMN reporting.audit.sweep IS 'What people call the sweep; null where it is gone.';
COMMENT ON COLUMN reporting.audit.job_id IS 'The job; null for none.';
COMMENT ON COLUMN reporting.audit.detail IS 'What else there is to say.';
