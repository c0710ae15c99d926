-- What a host asks for must not cost more because the fleet, or its history, is large.

-- Whether a backup of a group is under way is asked of the open jobs alone: by its host only, the
-- whole history of the group was looked through instead.
DROP INDEX jobs_open;
CREATE INDEX jobs_open ON jobs (host_id, group_name)
    WHERE status IN ('queued', 'running', 'paused');

-- Who keeps a repository in order is the host of its oldest group: without their age in the index
-- all groups of the repository were read and sorted, for each host that uses it.
DROP INDEX source_groups_repository;
CREATE INDEX source_groups_repository ON source_groups (repository_id, created_at, host_id);
