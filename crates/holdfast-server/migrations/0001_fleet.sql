-- Hosts, what they are allowed to do and what they did. One dialect for SQLite and PostgreSQL:
-- ids are TEXT, times are BIGINT milliseconds since 1970 (UTC), lists are JSON text.

CREATE TABLE hosts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- A removed host keeps its row, because its jobs still name it.
    removed_at BIGINT,
    enrolled_at BIGINT,
    incarnation TEXT,
    boot BIGINT NOT NULL DEFAULT 0,
    -- The fencing token: the session that holds it is the only one that may write for this host.
    epoch BIGINT NOT NULL DEFAULT 0,
    -- Every record of the agent up to here has taken effect.
    received BIGINT NOT NULL DEFAULT 0,
    -- The position the next record for the agent gets.
    next_seq BIGINT NOT NULL DEFAULT 1,
    config_version BIGINT NOT NULL DEFAULT 1,
    config_applied BIGINT NOT NULL DEFAULT 0,
    schedule_applied BIGINT NOT NULL DEFAULT 0,
    last_seen_at BIGINT,
    hostname TEXT NOT NULL DEFAULT '',
    os TEXT NOT NULL DEFAULT '',
    arch TEXT NOT NULL DEFAULT '',
    agent_version TEXT NOT NULL DEFAULT '',
    restic_version TEXT NOT NULL DEFAULT '',
    time_zone TEXT NOT NULL DEFAULT '',
    sessions BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX hosts_name ON hosts (name) WHERE removed_at IS NULL;

CREATE TABLE enrolment_tokens (
    hash TEXT PRIMARY KEY,
    host_id TEXT NOT NULL REFERENCES hosts (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX enrolment_tokens_host ON enrolment_tokens (host_id);

CREATE TABLE agent_tokens (
    hash TEXT PRIMARY KEY,
    host_id TEXT NOT NULL REFERENCES hosts (id),
    created_at BIGINT NOT NULL
);
CREATE INDEX agent_tokens_host ON agent_tokens (host_id);

CREATE TABLE api_tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

-- `url`, `password` and `environment` are sealed; `location` is the address without credentials.
CREATE TABLE repositories (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    location TEXT NOT NULL,
    url TEXT NOT NULL,
    password TEXT NOT NULL,
    environment TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    total_size_bytes BIGINT,
    raw_size_bytes BIGINT,
    snapshot_count BIGINT
);

CREATE TABLE source_groups (
    host_id TEXT NOT NULL REFERENCES hosts (id),
    name TEXT NOT NULL,
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    includes TEXT NOT NULL,
    excludes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (host_id, name)
);
CREATE INDEX source_groups_repository ON source_groups (repository_id);

CREATE TABLE schedules (
    id TEXT PRIMARY KEY,
    host_id TEXT NOT NULL,
    group_name TEXT NOT NULL,
    cron TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (host_id, group_name),
    FOREIGN KEY (host_id, group_name) REFERENCES source_groups (host_id, name) ON DELETE CASCADE
);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    host_id TEXT NOT NULL REFERENCES hosts (id),
    operation TEXT NOT NULL,
    group_name TEXT NOT NULL,
    repository_id TEXT,
    status TEXT NOT NULL,
    cause TEXT NOT NULL,
    schedule_id TEXT,
    scheduled_at BIGINT,
    attempt BIGINT NOT NULL DEFAULT 1,
    created_at BIGINT NOT NULL,
    -- When the agent said that the command is on its disk.
    accepted_at BIGINT,
    started_at BIGINT,
    finished_at BIGINT,
    -- When the server learned of the end. It orders ends; the agent's clock only describes them.
    ended_at BIGINT,
    exit_code BIGINT,
    snapshot_id TEXT,
    error_code TEXT,
    error_message TEXT,
    error_action TEXT,
    stats TEXT,
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
    log_bytes BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX jobs_newest ON jobs (created_at, id);
CREATE INDEX jobs_of_host ON jobs (host_id, created_at, id);
CREATE INDEX jobs_open ON jobs (host_id) WHERE status IN ('queued', 'running', 'paused');
CREATE INDEX jobs_ended ON jobs (host_id, group_name, ended_at);

CREATE TABLE outbox (
    host_id TEXT NOT NULL REFERENCES hosts (id),
    seq BIGINT NOT NULL,
    ts BIGINT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (host_id, seq)
);

CREATE TABLE dead_letters (
    host_id TEXT NOT NULL REFERENCES hosts (id),
    incarnation TEXT NOT NULL,
    seq BIGINT NOT NULL,
    ts BIGINT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (host_id, incarnation, seq)
);

CREATE TABLE log_lines (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    seq BIGINT NOT NULL,
    ts BIGINT NOT NULL,
    stream TEXT NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (job_id, seq)
);

-- Which list of snapshots stands, per host and repository. Parts of a newer list wait beside it.
CREATE TABLE snapshot_lists (
    host_id TEXT NOT NULL REFERENCES hosts (id),
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    report_id TEXT NOT NULL,
    listed_at BIGINT NOT NULL,
    PRIMARY KEY (host_id, repository_id)
);

CREATE TABLE snapshots (
    host_id TEXT NOT NULL REFERENCES hosts (id),
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    report_id TEXT NOT NULL,
    id TEXT NOT NULL,
    short_id TEXT NOT NULL,
    taken_at BIGINT NOT NULL,
    hostname TEXT NOT NULL,
    paths TEXT NOT NULL,
    tags TEXT NOT NULL,
    size_bytes BIGINT,
    file_count BIGINT,
    PRIMARY KEY (host_id, repository_id, report_id, id)
);

CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL
);
CREATE INDEX audit_newest ON audit (at, id);
