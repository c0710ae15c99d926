-- Commands that wait until their repository is free. Their jobs are queued.
CREATE TABLE held_commands (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id),
    host_id TEXT NOT NULL REFERENCES hosts (id),
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX held_commands_of_repository ON held_commands (repository_id, created_at);
CREATE INDEX jobs_of_repository ON jobs (repository_id, status);
