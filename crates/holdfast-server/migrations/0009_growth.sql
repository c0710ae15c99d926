-- What keeps the cost of a look from growing with the fleet.

-- When the next slot of a form is due, or when it must be looked at for another reason: only those
-- are read. NULL when nothing more will come of it.
ALTER TABLE schedule_history ADD COLUMN next_at BIGINT;
UPDATE schedule_history SET next_at = noted_through
    WHERE valid_until IS NULL OR noted_through < valid_until;
CREATE INDEX schedule_history_next ON schedule_history (next_at) WHERE next_at IS NOT NULL;
