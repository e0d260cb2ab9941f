-- Steering sweeps: revisions by which updates are told from stale ones, reasons of a pause, limits.

ALTER TABLE temper.sweep
    ADD COLUMN revision bigint NOT NULL DEFAULT 1 CONSTRAINT sweep_revision CHECK (revision > 0),
    ADD COLUMN pause_reason text NOT NULL DEFAULT '',
    ADD COLUMN extended_at timestamptz;
COMMENT ON COLUMN temper.sweep.revision IS 'Grows with every change that a person, or the circuit breaker, makes to the sweep; what jobs do is no such change.';
COMMENT ON COLUMN temper.sweep.pause_reason IS 'Why it is paused; empty while it is not, and where a person gave no reason.';
COMMENT ON COLUMN temper.sweep.extended_at IS 'When cells or evaluations were last added; null if never.';
