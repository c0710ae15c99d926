-- What a repository needs beyond its everyday credentials, and how groups are backed up and kept.

-- Certificates in PEM that the backend's own must be signed by. Public, so not sealed.
ALTER TABLE repositories ADD COLUMN ca_certificate TEXT;
-- The admin slot, sealed JSON; NULL for none.
ALTER TABLE repositories ADD COLUMN admin TEXT;
-- The host that keeps the repository in order; NULL for the one that has used it longest.
ALTER TABLE repositories ADD COLUMN runner_host_id TEXT REFERENCES hosts (id);

-- JSON of the protocol's `GroupOptions` and `Retention`.
ALTER TABLE source_groups ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE source_groups ADD COLUMN retention TEXT;

-- JSON of the protocol's `Timing`.
ALTER TABLE schedules ADD COLUMN timing TEXT NOT NULL DEFAULT '{}';
