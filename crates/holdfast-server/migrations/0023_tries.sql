-- Each try of a job is a job of its own: `retry_of` is the first one, and this the next one after a
-- try that failed. What has one is not the last word.
ALTER TABLE jobs ADD COLUMN retried_by TEXT;
CREATE INDEX jobs_of_first_try ON jobs (retry_of) WHERE retry_of IS NOT NULL;
