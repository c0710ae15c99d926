-- What was due when, and what became of it.

-- Every form a schedule has had. The slots of each form are those between its two ends.
CREATE TABLE schedule_history (
    schedule_id TEXT NOT NULL,
    host_id TEXT NOT NULL REFERENCES hosts (id),
    group_name TEXT NOT NULL,
    cron TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_until BIGINT,
    -- Every slot up to here has its evaluation.
    noted_through BIGINT NOT NULL,
    PRIMARY KEY (schedule_id, valid_from)
);
CREATE INDEX schedule_history_host ON schedule_history (host_id) WHERE valid_until IS NULL;
INSERT INTO schedule_history (schedule_id, host_id, group_name, cron, time_zone, enabled,
    valid_from, noted_through)
SELECT id, host_id, group_name, cron, time_zone, enabled, changed_at, changed_at FROM schedules;

CREATE TABLE evaluations (
    schedule_id TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    host_id TEXT NOT NULL REFERENCES hosts (id),
    group_name TEXT NOT NULL,
    -- `pending` until it is decided.
    outcome TEXT NOT NULL,
    reason TEXT,
    job_id TEXT,
    decided_at BIGINT,
    PRIMARY KEY (schedule_id, due_at)
);
CREATE INDEX evaluations_of_host ON evaluations (host_id, due_at);
CREATE INDEX evaluations_open ON evaluations (due_at) WHERE outcome IN ('pending', 'missed');
CREATE INDEX evaluations_age ON evaluations (due_at);

-- When the agent fired the slot, by its own clock.
ALTER TABLE jobs ADD COLUMN fired_at BIGINT;
CREATE INDEX jobs_of_schedule ON jobs (schedule_id, scheduled_at) WHERE schedule_id IS NOT NULL;
