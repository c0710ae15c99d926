-- What keeps a repository in order, and the server's own copy.

CREATE TABLE upkeep (
    repository_id TEXT PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
    check_ok_at BIGINT,
    -- The first check that failed since the last good one, and how the newest did; NULL when the
    -- newest was good.
    check_failed_at BIGINT,
    check_job_id TEXT,
    check_error TEXT,
    prune_ok_at BIGINT,
    -- When snapshots were forgotten first whose data no prune has freed since.
    forgot_at BIGINT
);
INSERT INTO upkeep (repository_id, check_ok_at, prune_ok_at)
SELECT repository_id,
    MAX(CASE WHEN operation = 'check' THEN ended_at END),
    MAX(CASE WHEN operation = 'prune' THEN ended_at END)
FROM jobs
WHERE operation IN ('check', 'prune') AND status = 'succeeded' AND repository_id IS NOT NULL
GROUP BY repository_id;

-- The room that a host's own disk has for a repository that lies there. A path is another disk on
-- every host.
CREATE TABLE repository_room (
    host_id TEXT NOT NULL REFERENCES hosts (id),
    repository_id TEXT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    free_bytes BIGINT NOT NULL,
    capacity_bytes BIGINT NOT NULL,
    measured_at BIGINT NOT NULL,
    -- Since when there is too little; NULL while there is enough.
    low_since BIGINT,
    PRIMARY KEY (host_id, repository_id)
);

-- When a host's agent told that it had lost what it had not delivered.
ALTER TABLE hosts ADD COLUMN outbox_reset_at BIGINT;

-- How the control plane's own backups went: one row.
CREATE TABLE own_backup (
    id BIGINT PRIMARY KEY,
    made_at BIGINT,
    -- The newest failure since then, and why; NULL when the newest was good.
    failed_at BIGINT,
    error TEXT
);
