-- What people do to single jobs, and what attempts logged.

ALTER TABLE temper.job ADD COLUMN withdrawn boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN temper.job.withdrawn IS 'Of a cancelled job: a person cancelled it, so that only a sweep which asks for it afterwards queues it again.';

ALTER TABLE temper.attempt
    ADD COLUMN log_lines integer NOT NULL DEFAULT 0 CONSTRAINT attempt_log_lines CHECK (log_lines >= 0);
COMMENT ON COLUMN temper.attempt.log_lines IS 'Lines that its worker has logged, as far as it has told; those that are not kept count too.';

CREATE TABLE temper.attempt_log (
    job_id    bigint NOT NULL,
    attempt   integer NOT NULL,
    line      integer NOT NULL CHECK (line > 0),
    logged_at timestamptz NOT NULL,
    level     text NOT NULL CHECK (level IN ('trace', 'debug', 'info', 'warn', 'error')),
    target    text NOT NULL,
    message   text NOT NULL,
    PRIMARY KEY (job_id, attempt, line),
    FOREIGN KEY (job_id, attempt) REFERENCES temper.attempt (job_id, number)
);
COMMENT ON TABLE temper.attempt_log IS 'What the workers of attempts logged; of each attempt the newest lines.';
COMMENT ON COLUMN temper.attempt_log.job_id IS 'The job.';
COMMENT ON COLUMN temper.attempt_log.attempt IS 'Number of the attempt.';
COMMENT ON COLUMN temper.attempt_log.line IS 'Counts from 1 within the attempt; a gap tells of lines that the worker had to drop.';
COMMENT ON COLUMN temper.attempt_log.logged_at IS 'When it was logged, by the worker''s clock: for people, it decides nothing.';
COMMENT ON COLUMN temper.attempt_log.level IS 'How much it matters: trace, debug, info, warn or error.';
COMMENT ON COLUMN temper.attempt_log.target IS 'The part of the worker that it comes from.';
COMMENT ON COLUMN temper.attempt_log.message IS 'What it says.';
