-- When a repository was last pointed at another place. What was seen of it before says nothing
-- about whether it is there.
ALTER TABLE repositories ADD COLUMN located_at BIGINT;
