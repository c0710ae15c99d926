-- When channels get their digest; a channel without a row gets it as its kind does.
CREATE TABLE digests (
    channel_id TEXT PRIMARY KEY REFERENCES channels (id) ON DELETE CASCADE,
    enabled BOOLEAN NOT NULL,
    cron TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    -- The newest due time that was told, or that was before anybody wanted to know.
    told_through BIGINT NOT NULL
);
