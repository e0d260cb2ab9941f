-- What the catalog's names stood for when a sweep was created.

ALTER TABLE temper.sweep
    ADD COLUMN inputs jsonb NOT NULL DEFAULT '[]'
    CONSTRAINT sweep_inputs CHECK (jsonb_typeof(inputs) = 'array');
COMMENT ON COLUMN temper.sweep.inputs IS 'Its models and datasets with what their names stood for: kind, name, place, commit, digest; empty before this was recorded.';
