-- When the server has a repository kept in order, and what became of it.
CREATE TABLE maintenance (
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    operation TEXT NOT NULL,
    cron TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    only_within TEXT,
    parameters TEXT,
    next_at BIGINT,
    PRIMARY KEY (repository_id, operation)
);
CREATE TABLE maintenance_slots (
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    operation TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    job_id TEXT,
    decided_at BIGINT,
    PRIMARY KEY (repository_id, operation, due_at)
);
CREATE INDEX maintenance_slots_pending ON maintenance_slots (outcome, due_at);

-- How much a repository held, at the end of an hour or, long after, of a day.
CREATE TABLE repository_sizes (
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    hour BIGINT NOT NULL,
    at BIGINT NOT NULL,
    total_size_bytes BIGINT,
    raw_size_bytes BIGINT,
    snapshot_count BIGINT,
    PRIMARY KEY (repository_id, hour)
);
-- What the list in force adds up to; unknown where an old restic does not tell sizes.
ALTER TABLE snapshot_lists ADD COLUMN snapshot_count BIGINT;
ALTER TABLE snapshot_lists ADD COLUMN size_bytes BIGINT;
CREATE INDEX snapshots_of_repository ON snapshots (repository_id, id);
