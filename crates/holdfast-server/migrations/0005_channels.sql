-- Where people are told, and what became of each message.

CREATE TABLE channels (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    -- Where it goes, without credentials: the only form that is ever shown.
    target TEXT NOT NULL,
    -- Sealed.
    settings TEXT NOT NULL,
    severity_min TEXT NOT NULL,
    -- NULL for all hosts, and for all groups of the host.
    host_id TEXT REFERENCES hosts (id),
    group_name TEXT,
    created_at BIGINT NOT NULL
);

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    channel_id TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    event TEXT NOT NULL,
    -- What it tells of.
    alert_id TEXT,
    job_id TEXT,
    -- `waiting`, `sent` or `failed`.
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    next_at BIGINT NOT NULL,
    error TEXT,
    created_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX deliveries_waiting ON deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_of_channel ON deliveries (channel_id, created_at, id);
CREATE INDEX deliveries_of_alert ON deliveries (alert_id, channel_id) WHERE alert_id IS NOT NULL;
CREATE INDEX deliveries_of_job ON deliveries (job_id, channel_id) WHERE job_id IS NOT NULL;
