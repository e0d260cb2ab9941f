-- What jobs have in common is stored once: a sweep of 100,000 cells is a few templates and short specs.

CREATE TABLE temper.job_template (
    id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest  bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    content jsonb NOT NULL CHECK (jsonb_typeof(content) = 'object')
);
COMMENT ON TABLE temper.job_template IS 'Parts of specs that many jobs share: of trainings all but ramp and seed, of evaluations all but the training.';
COMMENT ON COLUMN temper.job_template.id IS 'Number.';
COMMENT ON COLUMN temper.job_template.digest IS 'SHA-256 of the content''s canonical JSON.';
COMMENT ON COLUMN temper.job_template.content IS 'The fields of the spec.';

ALTER TABLE temper.job ADD COLUMN template_id integer REFERENCES temper.job_template (id);
COMMENT ON COLUMN temper.job.template_id IS 'Where the rest of the spec is; null of a job from before there were templates, whose spec is whole.';
COMMENT ON COLUMN temper.job.spec IS 'What to do, beyond what the template says; temper.job_spec gives the whole of it.';

CREATE FUNCTION temper.job_spec(job temper.job) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT content FROM temper.job_template WHERE id = job.template_id), '{}')
        || job.spec
        || CASE WHEN job.kind = 'evaluate' AND job.template_id IS NOT NULL THEN jsonb_build_object('train', (
            SELECT (coalesce(template.content, '{}') || train.spec) - 'kind'
            FROM temper.job_dependency AS dependency
            JOIN temper.job AS train ON train.id = dependency.depends_on
            LEFT JOIN temper.job_template AS template ON template.id = train.template_id
            WHERE dependency.job_id = job.id
        )) ELSE '{}' END
$$;
COMMENT ON FUNCTION temper.job_spec IS 'What a job does, put together: its template, its own spec, and of an evaluation the training that it depends on.';

-- What past jobs took that are alike; entered once a job, when it succeeds.
CREATE INDEX job_done_alike ON temper.job (template_id) WHERE state = 'succeeded';
