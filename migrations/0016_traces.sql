-- Which trace a job belongs to: that of the call which first asked for it. Attempts go on with it.
-- On the job and not on the sweep, because a claim has the job's row in hand and would have to look for the sweep; as bytes
-- and not as text, because a job of a traced sweep takes 25 bytes so, not 56, and one of an untraced sweep none.
ALTER TABLE temper.job ADD COLUMN trace_parent bytea
    CONSTRAINT job_trace_parent CHECK (octet_length(trace_parent) = 24);
COMMENT ON COLUMN temper.job.trace_parent IS 'The trace of the call that first asked for the job: 16 bytes of its id, then 8 of the span that was open (W3C Trace Context, without version and flags: what is not sampled is not stored). Null where nobody traced it.';
