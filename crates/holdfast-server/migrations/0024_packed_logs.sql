-- Lines of jobs that have ended, compressed; at most a thousand to a row.
CREATE TABLE log_parts (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    lines BLOB NOT NULL,
    PRIMARY KEY (job_id, first_seq)
);
-- Set when all lines of an ended job are in `log_parts`; a late line takes it back.
ALTER TABLE jobs ADD COLUMN log_packed BOOLEAN NOT NULL DEFAULT FALSE;
-- When the log was dropped because it had outlived its use.
ALTER TABLE jobs ADD COLUMN log_pruned_at BIGINT;
CREATE INDEX jobs_to_pack ON jobs (ended_at) WHERE log_bytes > 0 AND NOT log_packed;
