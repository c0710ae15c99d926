-- Hosts whose agents speak another system's words.

-- How the host's agent speaks; empty for Holdfast's own.
ALTER TABLE hosts ADD COLUMN dialect TEXT NOT NULL DEFAULT '';
-- Where the server dials an agent that does not dial, and (sealed) what it shows there.
ALTER TABLE hosts ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN address_token TEXT NOT NULL DEFAULT '';

-- The key that a run's upload is sealed with, itself sealed: without it the upload
-- is worth nothing.
CREATE TABLE data_keys (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id),
    data_key TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
