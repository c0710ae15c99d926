-- What a verdict is made from.

-- How old the newest snapshot of a group may be, in seconds; NULL lets the schedule decide.
ALTER TABLE source_groups ADD COLUMN objective_seconds BIGINT;

-- Since when the schedule is as it is: nobody owes a run for a slot before that.
ALTER TABLE schedules ADD COLUMN changed_at BIGINT NOT NULL DEFAULT 0;
UPDATE schedules SET changed_at = created_at;

-- The newest snapshot of each group that a list of the repository has shown.
CREATE TABLE seen_snapshots (
    host_id TEXT NOT NULL REFERENCES hosts (id),
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    group_name TEXT NOT NULL,
    id TEXT NOT NULL,
    taken_at BIGINT NOT NULL,
    -- By the server's clock. A host's clock that is ahead must not make old snapshots look fresh.
    first_seen_at BIGINT NOT NULL,
    PRIMARY KEY (host_id, repository_id, group_name)
);

CREATE INDEX jobs_of_group ON jobs (host_id, group_name, created_at, id);
