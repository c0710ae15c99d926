-- Troubles, who should hear of them and who should not for a while.

CREATE TABLE alerts (
    id TEXT PRIMARY KEY,
    -- What the trouble is about: at most one alert of a key is not resolved.
    key TEXT NOT NULL,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    -- `open`, `acknowledged` or `resolved`.
    state TEXT NOT NULL,
    title TEXT NOT NULL,
    cause TEXT NOT NULL,
    action TEXT NOT NULL,
    -- JSON: the hosts and source groups it is about.
    subjects TEXT NOT NULL,
    -- How often it happened, and what was counted last (JSON).
    count BIGINT NOT NULL,
    occurrences TEXT NOT NULL,
    since BIGINT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    acknowledged_at BIGINT,
    acknowledged_by TEXT,
    resolved_at BIGINT
);
CREATE UNIQUE INDEX alerts_active ON alerts (key) WHERE state <> 'resolved';
CREATE INDEX alerts_newest ON alerts (first_seen_at, id);
CREATE INDEX alerts_resolved ON alerts (key, resolved_at) WHERE state = 'resolved';

-- NULL matches everything.
CREATE TABLE silences (
    id TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    until BIGINT NOT NULL,
    reason TEXT NOT NULL,
    host_id TEXT REFERENCES hosts (id),
    group_name TEXT,
    rule TEXT,
    alert_id TEXT REFERENCES alerts (id)
);
CREATE INDEX silences_until ON silences (until);

-- What people changed about a rule; a rule without a row is as it comes.
CREATE TABLE alert_rules (
    rule TEXT PRIMARY KEY,
    enabled BOOLEAN NOT NULL,
    grace_seconds BIGINT NOT NULL
);

-- The last time an agent was turned away for not being the one that enrolled.
ALTER TABLE hosts ADD COLUMN refused_code TEXT;
ALTER TABLE hosts ADD COLUMN refused_at BIGINT;
