-- What the agents themselves say of slots that had no job: `machine_off`, `still_running` or
-- `outside_window`.
ALTER TABLE evaluations ADD COLUMN told TEXT;
-- When the slot starts at the latest by its schedule: its jitter, and the opening of its window.
ALTER TABLE evaluations ADD COLUMN expected_by BIGINT;
ALTER TABLE schedule_history ADD COLUMN timing TEXT NOT NULL DEFAULT '{}';
UPDATE schedule_history
SET timing = (SELECT s.timing FROM schedules s WHERE s.id = schedule_history.schedule_id)
WHERE valid_until IS NULL
    AND EXISTS (SELECT 1 FROM schedules s WHERE s.id = schedule_history.schedule_id);
