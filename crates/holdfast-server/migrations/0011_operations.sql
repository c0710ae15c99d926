-- Jobs of every kind.

-- What was asked for, as it was asked: JSON, without the operation's name.
ALTER TABLE jobs ADD COLUMN parameters TEXT;
-- The failed job that this one tries again, and when it may start.
ALTER TABLE jobs ADD COLUMN retry_of TEXT;
ALTER TABLE jobs ADD COLUMN not_before BIGINT;

-- The words of the agent's last hello for what it can do, JSON; NULL when it said none.
ALTER TABLE hosts ADD COLUMN capabilities TEXT;
