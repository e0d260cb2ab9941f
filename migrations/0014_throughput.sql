-- What a queue of thousands of jobs a minute pays for in every row, without need.

-- As a function in SQL it was parsed and planned anew in every claim; plpgsql keeps the plan.
CREATE OR REPLACE FUNCTION temper.job_spec(job temper.job) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((SELECT content FROM temper.job_template WHERE id = job.template_id), '{}')
        || job.spec
        || CASE WHEN job.kind = 'evaluate' AND job.template_id IS NOT NULL THEN jsonb_build_object('train', (
            SELECT (coalesce(template.content, '{}') || train.spec) - 'kind'
            FROM temper.job_dependency AS dependency
            JOIN temper.job AS train ON train.id = dependency.depends_on
            LEFT JOIN temper.job_template AS template ON template.id = train.template_id
            WHERE dependency.job_id = job.id
        )) ELSE '{}' END;
END
$$;

-- A foreign key costs a statement and a shared lock a row: of a large sweep millions, and claims at the same
-- time all lock their one owner. These lead to tables that nothing is deleted from, which
-- a trigger sees to; and the numbers that are stored come from those tables in the same transaction.
-- temper.dangling shows what would lead nowhere.
ALTER TABLE temper.job
    DROP CONSTRAINT job_owner_fkey,
    DROP CONSTRAINT job_template_id_fkey,
    DROP CONSTRAINT job_queue_id_fkey,
    DROP CONSTRAINT job_footprint_id_fkey;
ALTER TABLE temper.job_dependency
    DROP CONSTRAINT job_dependency_job_id_fkey,
    DROP CONSTRAINT job_dependency_depends_on_fkey;
ALTER TABLE temper.lease
    DROP CONSTRAINT lease_job_id_fkey,
    DROP CONSTRAINT lease_owner_fkey,
    DROP CONSTRAINT lease_incarnation_fkey;
-- Whoever deletes a sweep or links jobs to it locks it first.
ALTER TABLE temper.sweep_job
    DROP CONSTRAINT sweep_job_sweep_id_fkey,
    DROP CONSTRAINT sweep_job_job_id_fkey;
ALTER TABLE temper.sweep_cell
    DROP CONSTRAINT sweep_cell_sweep_id_fkey,
    DROP CONSTRAINT sweep_cell_train_job_fkey;
ALTER TABLE temper.cell_evaluation
    DROP CONSTRAINT cell_evaluation_job_id_fkey;

-- Asked for in every call of Lease.
CREATE INDEX lease_incarnation ON temper.lease (incarnation);

CREATE FUNCTION temper.keep_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of %.% are never deleted: others lead to them', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'foreign_key_violation';
END
$$;
COMMENT ON FUNCTION temper.keep_rows() IS 'Stands for the foreign keys that would lead to a table.';
CREATE TRIGGER owner_kept BEFORE DELETE OR TRUNCATE ON temper.owner EXECUTE FUNCTION temper.keep_rows();
CREATE TRIGGER queue_kept BEFORE DELETE OR TRUNCATE ON temper.queue EXECUTE FUNCTION temper.keep_rows();
CREATE TRIGGER footprint_kept BEFORE DELETE OR TRUNCATE ON temper.footprint EXECUTE FUNCTION temper.keep_rows();
CREATE TRIGGER job_template_kept BEFORE DELETE OR TRUNCATE ON temper.job_template EXECUTE FUNCTION temper.keep_rows();
CREATE TRIGGER job_kept BEFORE DELETE OR TRUNCATE ON temper.job EXECUTE FUNCTION temper.keep_rows();

CREATE VIEW temper.dangling AS
    SELECT 'job' AS relation, job.id::text AS id FROM temper.job
    WHERE NOT EXISTS (SELECT FROM temper.owner WHERE name = job.owner)
        OR NOT EXISTS (SELECT FROM temper.queue WHERE queue.id = job.queue_id AND queue.owner = job.owner)
        OR NOT EXISTS (
            SELECT FROM temper.footprint
            WHERE footprint.id = job.footprint_id AND footprint.template_id IS NOT DISTINCT FROM job.template_id
        )
    UNION ALL
    SELECT 'job_dependency', dependency.job_id::text FROM temper.job_dependency AS dependency
    WHERE NOT EXISTS (SELECT FROM temper.job WHERE id = dependency.job_id)
        OR NOT EXISTS (SELECT FROM temper.job WHERE id = dependency.depends_on)
    UNION ALL
    SELECT 'lease', lease.job_id::text FROM temper.lease
    WHERE NOT EXISTS (
        SELECT FROM temper.attempt JOIN temper.owner ON owner.name = lease.owner
        WHERE attempt.job_id = lease.job_id AND attempt.number = lease.attempt
            AND attempt.incarnation = lease.incarnation
    )
    UNION ALL
    SELECT 'sweep_job', link.sweep_id::text FROM temper.sweep_job AS link
    WHERE NOT EXISTS (SELECT FROM temper.sweep WHERE id = link.sweep_id)
        OR NOT EXISTS (SELECT FROM temper.job WHERE id = link.job_id)
    UNION ALL
    SELECT 'sweep_cell', cell.sweep_id::text FROM temper.sweep_cell AS cell
    WHERE NOT EXISTS (SELECT FROM temper.sweep WHERE id = cell.sweep_id)
        OR NOT EXISTS (SELECT FROM temper.job WHERE id = cell.train_job)
    UNION ALL
    SELECT 'cell_evaluation', evaluation.sweep_id::text FROM temper.cell_evaluation AS evaluation
    WHERE NOT EXISTS (SELECT FROM temper.job WHERE id = evaluation.job_id);
COMMENT ON VIEW temper.dangling IS 'Rows that lead nowhere, where a foreign key would have been too dear. Always empty.';
COMMENT ON COLUMN temper.dangling.relation IS 'Their table.';
COMMENT ON COLUMN temper.dangling.id IS 'What tells them there.';
