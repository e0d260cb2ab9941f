-- What trainings and evaluations say of themselves, the model of the best epoch, number formats, and
-- checkpoints that may go.

-- The primary key grows by a column with a default, so that what knew one model a training still works.
ALTER TABLE temper.artifact
    ADD COLUMN selection text NOT NULL DEFAULT 'last'
        CONSTRAINT artifact_selection CHECK (selection IN ('last', 'best')),
    ADD COLUMN epoch integer CONSTRAINT artifact_epoch CHECK (epoch >= 0),
    ADD CONSTRAINT artifact_epoch_of_best CHECK ((selection = 'best') = (epoch IS NOT NULL)),
    DROP CONSTRAINT artifact_pkey,
    ADD CONSTRAINT artifact_pkey PRIMARY KEY (job_id, selection);
COMMENT ON COLUMN temper.artifact.selection IS 'Which of the training''s models: last, of the last epoch, or best, of the best epoch on the validation split.';
COMMENT ON COLUMN temper.artifact.epoch IS 'The best epoch, from 0; null for the last model.';

ALTER TABLE temper.job_summary
    ADD COLUMN best_epoch integer CONSTRAINT job_summary_best_epoch CHECK (best_epoch BETWEEN 0 AND epochs - 1),
    ADD COLUMN micro_batch_size integer CONSTRAINT job_summary_micro_batch_size CHECK (micro_batch_size > 0),
    ADD COLUMN peak_memory_bytes bigint CONSTRAINT job_summary_peak_memory_bytes CHECK (peak_memory_bytes > 0),
    ADD COLUMN audit_samples integer CONSTRAINT job_summary_audit_samples CHECK (audit_samples > 0),
    ADD COLUMN audit_gap double precision CONSTRAINT job_summary_audit_gap CHECK (audit_gap BETWEEN -1 AND 1),
    ADD COLUMN masking_flags text[] NOT NULL DEFAULT '{}' CONSTRAINT job_summary_masking_flags CHECK
        (masking_flags <@ ARRAY['zero-gradients', 'probabilities', 'randomised', 'rising-curve', 'weak-first-attack']),
    ADD COLUMN passes bigint CONSTRAINT job_summary_passes CHECK (passes > 0),
    ADD CONSTRAINT job_summary_audit CHECK (num_nulls(audit_samples, audit_gap) IN (0, 2)),
    ADD CONSTRAINT job_summary_facts_of_training CHECK
        (kind <> 'train' OR (num_nonnulls(audit_samples, audit_gap, passes) = 0 AND masking_flags = '{}')),
    ADD CONSTRAINT job_summary_facts_of_evaluation CHECK
        (kind <> 'evaluate' OR num_nonnulls(best_epoch, micro_batch_size) = 0);
COMMENT ON COLUMN temper.job_summary.best_epoch IS 'Epoch of a training, from 0, whose model is stored as its best; null without one.';
COMMENT ON COLUMN temper.job_summary.micro_batch_size IS 'Samples a forward pass at the end of a training: fewer than asked for where memory was short; null when not known.';
COMMENT ON COLUMN temper.job_summary.peak_memory_bytes IS 'The most memory of the device that the accepted attempt used; null when not known.';
COMMENT ON COLUMN temper.job_summary.audit_samples IS 'Samples that an evaluation by bisection measured exactly as well; null without an audit.';
COMMENT ON COLUMN temper.job_summary.audit_gap IS 'Expected robustness by bisection less that by exact measurement, on the audited samples.';
COMMENT ON COLUMN temper.job_summary.masking_flags IS 'Signs that the measured model hides its gradients, so that the accuracy may be too high.';
COMMENT ON COLUMN temper.job_summary.passes IS 'Passes of one image through the network that an evaluation took; null when not known.';

ALTER TABLE temper.attempt
    ADD COLUMN peak_memory_bytes bigint CONSTRAINT attempt_peak_memory_bytes CHECK (peak_memory_bytes > 0);
COMMENT ON COLUMN temper.attempt.peak_memory_bytes IS 'The most memory of the device that it used; null when not known.';

ALTER TABLE temper.worker
    ADD COLUMN precisions text[] NOT NULL DEFAULT '{fp32}' CONSTRAINT worker_precisions CHECK
        (cardinality(precisions) > 0 AND precisions <@ ARRAY['fp32', 'bf16']);
COMMENT ON COLUMN temper.worker.precisions IS 'Number formats that its device computes in.';

ALTER TABLE temper.job
    ADD COLUMN precision text NOT NULL DEFAULT 'fp32'
        CONSTRAINT job_precision CHECK (precision IN ('fp32', 'bf16')),
    ADD CONSTRAINT job_precision_of_evaluations CHECK (kind = 'train' OR precision = 'fp32');
COMMENT ON COLUMN temper.job.precision IS 'Number format that a training computes in; only workers that have it may lease the job. Evaluations always compute in fp32.';

-- A line for each owner and number format, so that a worker without bf16 does not wade through the
-- bf16 jobs ahead of its own. A claim of the release before finds the same rows, but has to sort them.
DROP INDEX temper.job_ready;
CREATE INDEX job_ready ON temper.job (owner, precision, priority DESC, id)
    WHERE state = 'queued' AND wanted AND blocked_by = 0;

ALTER TABLE temper.checkpoint ADD COLUMN condemned_at timestamptz;
COMMENT ON COLUMN temper.checkpoint.condemned_at IS 'Since when nobody resumes from it any more: its bytes are being deleted, and then this row. Null while it is good.';
