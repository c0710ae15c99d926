-- When an agent showed that this database is older than one that it has met.
ALTER TABLE hosts ADD COLUMN ahead_at BIGINT;
