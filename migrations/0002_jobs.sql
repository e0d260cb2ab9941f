-- The work: jobs, what they wait for, and which sweeps want them.

CREATE TABLE temper.job (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key               bytea NOT NULL UNIQUE CHECK (octet_length(key) = 32),
    kind              text NOT NULL CHECK (kind IN ('train', 'evaluate')),
    state             text NOT NULL DEFAULT 'queued'
                      CHECK (state IN ('queued', 'leased', 'succeeded', 'failed', 'cancelled')),
    owner             text NOT NULL REFERENCES temper.owner (name),
    priority          integer NOT NULL,
    wanted            boolean NOT NULL DEFAULT true,
    blocked_by        integer NOT NULL DEFAULT 0 CHECK (blocked_by >= 0),
    available_at      timestamptz NOT NULL DEFAULT now(),
    fence             bigint NOT NULL DEFAULT 0 CHECK (fence >= 0),
    attempts          integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    forgiven_attempts integer NOT NULL DEFAULT 0,
    result_version    integer NOT NULL CHECK (result_version > 0),
    epochs            integer NOT NULL CHECK (epochs >= 0),
    epochs_done       integer NOT NULL DEFAULT 0,
    spec              jsonb NOT NULL CHECK (jsonb_typeof(spec) = 'object'),
    title             text NOT NULL,
    message           text NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT now(),
    finished_at       timestamptz,
    changed_in        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT job_leased_once_ready CHECK (state <> 'leased' OR blocked_by = 0),
    CONSTRAINT job_finished CHECK ((finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled'))),
    CONSTRAINT job_epochs_done CHECK (epochs_done BETWEEN 0 AND epochs),
    CONSTRAINT job_epochs_of_trainings CHECK ((kind = 'train') = (epochs > 0)),
    CONSTRAINT job_forgiven_attempts CHECK (forgiven_attempts BETWEEN 0 AND attempts)
) WITH (fillfactor = 85);
-- What a claim searches, and nothing else: its size is that of the queue, not of the history.
CREATE INDEX job_ready ON temper.job (owner, priority DESC, id)
    WHERE state = 'queued' AND wanted AND blocked_by = 0;
COMMENT ON TABLE temper.job IS 'Units of work, known by their keys: sweeps that contain one key share one job.';
COMMENT ON COLUMN temper.job.id IS 'Number; smaller for a training than for its evaluations, which is the order of locking.';
COMMENT ON COLUMN temper.job.key IS 'SHA-256 of the canonical JSON of all that determines the result.';
COMMENT ON COLUMN temper.job.kind IS 'train fine-tunes a model, evaluate measures one.';
COMMENT ON COLUMN temper.job.state IS 'Where it stands: queued, leased, succeeded, failed or cancelled.';
COMMENT ON COLUMN temper.job.owner IS 'Whose share of the workers it takes: the owner of the live sweep with the highest priority.';
COMMENT ON COLUMN temper.job.priority IS 'Highest of the priorities of the live, unpaused sweeps that want it.';
COMMENT ON COLUMN temper.job.wanted IS 'At least one live, unpaused sweep wants it.';
COMMENT ON COLUMN temper.job.blocked_by IS 'Jobs that it depends on and that have not succeeded.';
COMMENT ON COLUMN temper.job.available_at IS 'Not to be leased before: backoff after a failure.';
COMMENT ON COLUMN temper.job.fence IS 'Grows by one with each lease; a write under an older one is refused.';
COMMENT ON COLUMN temper.job.attempts IS 'Attempts made, the present one included.';
COMMENT ON COLUMN temper.job.forgiven_attempts IS 'The first so many attempts no longer count against it, since a person asked for another try.';
COMMENT ON COLUMN temper.job.result_version IS 'Version of the numbers that Temper yields, part of the key; only workers that produce it may lease the job.';
COMMENT ON COLUMN temper.job.epochs IS 'Epochs that a training has; 0 for an evaluation.';
COMMENT ON COLUMN temper.job.epochs_done IS 'Epochs that a training has reported.';
COMMENT ON COLUMN temper.job.spec IS 'What to do.';
COMMENT ON COLUMN temper.job.title IS 'A line for people: model, dataset, schedule, seed.';
COMMENT ON COLUMN temper.job.message IS 'Why it failed or was cancelled; else empty.';
COMMENT ON COLUMN temper.job.created_at IS 'When a sweep first asked for it.';
COMMENT ON COLUMN temper.job.finished_at IS 'When it succeeded, failed or was cancelled; null before.';
COMMENT ON COLUMN temper.job.changed_in IS 'The transaction that last changed it. A reader that remembers the oldest transaction running at its last look misses no commit.';

CREATE FUNCTION temper.job_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_in := pg_current_xact_id();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION temper.job_changed() IS 'Notes the transaction in job.changed_in, so that no writer can forget it.';
CREATE TRIGGER job_changed BEFORE UPDATE ON temper.job
    FOR EACH ROW EXECUTE FUNCTION temper.job_changed();

CREATE TABLE temper.job_dependency (
    job_id     bigint NOT NULL REFERENCES temper.job (id),
    depends_on bigint NOT NULL REFERENCES temper.job (id),
    PRIMARY KEY (job_id, depends_on),
    CONSTRAINT job_dependency_ascends CHECK (depends_on < job_id)
);
CREATE INDEX job_dependency_reverse ON temper.job_dependency (depends_on, job_id);
COMMENT ON TABLE temper.job_dependency IS 'What must succeed before a job can be leased: an evaluation depends on its training.';
COMMENT ON COLUMN temper.job_dependency.job_id IS 'The job that waits.';
COMMENT ON COLUMN temper.job_dependency.depends_on IS 'The job that it waits for; always the older one.';

CREATE TABLE temper.sweep_job (
    sweep_id uuid NOT NULL REFERENCES temper.sweep (id),
    position integer NOT NULL CHECK (position >= 0),
    job_id   bigint NOT NULL REFERENCES temper.job (id),
    PRIMARY KEY (sweep_id, position),
    UNIQUE (job_id, sweep_id)
);
COMMENT ON TABLE temper.sweep_job IS 'Which sweeps want which jobs, many to many. Pause and cancel act here, not on jobs.';
COMMENT ON COLUMN temper.sweep_job.sweep_id IS 'The sweep.';
COMMENT ON COLUMN temper.sweep_job.position IS 'Place of the job in the sweep, from 0: by cell, the training before its evaluations.';
COMMENT ON COLUMN temper.sweep_job.job_id IS 'The job.';

CREATE TABLE temper.sweep_cell (
    sweep_id        uuid NOT NULL REFERENCES temper.sweep (id),
    ordinal         integer NOT NULL CHECK (ordinal >= 0),
    model           text NOT NULL,
    dataset         text NOT NULL,
    schedule        text NOT NULL,
    target_num      integer NOT NULL,
    target_den      integer NOT NULL,
    seed            bigint NOT NULL CHECK (seed >= 0),
    hyperparameters integer NOT NULL CHECK (hyperparameters >= 0),
    train_job       bigint NOT NULL REFERENCES temper.job (id),
    PRIMARY KEY (sweep_id, ordinal),
    CONSTRAINT sweep_cell_target CHECK (target_den > 0 AND target_num BETWEEN 0 AND target_den)
);
COMMENT ON TABLE temper.sweep_cell IS 'Points of the axes of sweeps: one training each, and its evaluations.';
COMMENT ON COLUMN temper.sweep_cell.sweep_id IS 'The sweep.';
COMMENT ON COLUMN temper.sweep_cell.ordinal IS 'Place in the sweep, from 0, in the order of its axes.';
COMMENT ON COLUMN temper.sweep_cell.model IS 'Catalog name of the model.';
COMMENT ON COLUMN temper.sweep_cell.dataset IS 'Catalog name of the dataset.';
COMMENT ON COLUMN temper.sweep_cell.schedule IS 'Epsilon schedule as results are grouped by, for instance two-hinge.';
COMMENT ON COLUMN temper.sweep_cell.target_num IS 'Numerator of the target strength.';
COMMENT ON COLUMN temper.sweep_cell.target_den IS 'Denominator of the target strength.';
COMMENT ON COLUMN temper.sweep_cell.seed IS 'Seed.';
COMMENT ON COLUMN temper.sweep_cell.hyperparameters IS 'Index into the sweep''s hyper-parameters, from 0.';
COMMENT ON COLUMN temper.sweep_cell.train_job IS 'Its training; cells that differ in nothing that matters share one.';

CREATE TABLE temper.cell_evaluation (
    sweep_id   uuid NOT NULL,
    cell       integer NOT NULL,
    evaluation integer NOT NULL CHECK (evaluation >= 0),
    job_id     bigint NOT NULL REFERENCES temper.job (id),
    PRIMARY KEY (sweep_id, cell, evaluation),
    FOREIGN KEY (sweep_id, cell) REFERENCES temper.sweep_cell (sweep_id, ordinal)
);
COMMENT ON TABLE temper.cell_evaluation IS 'The evaluations of cells.';
COMMENT ON COLUMN temper.cell_evaluation.sweep_id IS 'The sweep.';
COMMENT ON COLUMN temper.cell_evaluation.cell IS 'The cell''s ordinal.';
COMMENT ON COLUMN temper.cell_evaluation.evaluation IS 'Index into the sweep''s evaluations, from 0.';
COMMENT ON COLUMN temper.cell_evaluation.job_id IS 'The evaluation''s job.';
