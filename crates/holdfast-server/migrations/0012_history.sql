-- What keeps the cost of a look from growing with the history.

-- Pages of jobs in one state, however rare it is.
CREATE INDEX jobs_of_status ON jobs (status, created_at, id);
-- Whose log has outlived its use.
CREATE INDEX jobs_with_log ON jobs (ended_at) WHERE log_bytes > 0;
