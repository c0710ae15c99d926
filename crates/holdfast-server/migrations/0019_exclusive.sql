-- Whether somebody has a repository for itself, however many hosts back up into it.
CREATE INDEX jobs_of_repository_open ON jobs (repository_id, operation)
    WHERE status IN ('queued', 'running', 'paused');
