//! The bodies of what a NerdBackup server orders.

use crate::{dialect::gojson::go_struct, message::config::Secret};

go_struct! {
    /// `start_backup`. An unknown `repo_id` backs the agent's first one up.
    pub struct StartBackup {
        repo_id: String [omit],
        job_id: String [omit],
    }

    /// `restore`.
    pub struct Restore {
        job_id: String = "jobId",
        snapshot_id: String = "snapshotId",
        target_path: String = "targetPath",
        include_paths: Vec<String> = "includePaths",
        exclude_paths: Vec<String> = "excludePaths",
    }

    /// `file_dump`; the file comes over HTTP, and nothing at all when it fails.
    pub struct FileDump {
        request_id: String = "requestId",
        snapshot_id: String = "snapshotId",
        file_path: String = "filePath",
    }

    /// `forget_snapshot`.
    pub struct ForgetSnapshot {
        snapshot_id: String,
        repo_id: String,
    }

    /// `fs_list` and `fs_mkdir`; an empty path lists the roots.
    pub struct FsPath {
        request_id: String,
        path: String,
    }

    /// `fs_search`: a substring without regard to case, eight folders deep unless told.
    pub struct FsSearch {
        request_id: String,
        path: String,
        pattern: String,
        max_depth: i64,
    }

    /// `pitr_setup`.
    pub struct PitrSetup {
        config_id: String,
        database_type: String,
        connection_host: String,
        connection_port: i64,
        database_name: String,
        user: String,
        password: Secret,
        wal_archive_dir: String,
        base_backup_dir: String,
        /// Seconds; 0 stands for 60.
        wal_archive_interval: i64,
        base_backup_cron: String,
    }

    /// `pitr_base_backup`.
    pub struct PitrBaseBackup {
        config_id: String,
        database_type: String,
        connection_host: String,
        connection_port: i64,
        database_name: String,
        user: String,
        password: Secret,
        wal_archive_dir: String,
        base_backup_dir: String,
        repo_id: String,
    }

    /// `pitr_restore`.
    pub struct PitrRestore {
        config_id: String,
        database_type: String,
        connection_host: String,
        connection_port: i64,
        database_name: String,
        user: String,
        password: Secret,
        wal_archive_dir: String,
        base_backup_dir: String,
        repo_id: String,
        /// RFC 3339.
        target_time: String,
        restore_dir: String,
    }

    /// `pitr_status`.
    pub struct PitrStatus {
        config_id: String,
        database_type: String,
        connection_host: String,
        connection_port: i64,
        database_name: String,
        user: String,
        password: Secret,
        wal_archive_dir: String,
        base_backup_dir: String,
    }

    /// `verify_repo`.
    pub struct VerifyRepo {
        request_id: String,
        repo_id: String,
    }
}

impl StartBackup {
    /// The job's id beside the data counts only if the data names no repository, as in the
    /// original.
    pub(super) fn of(beside: String, mut data: Self) -> Self {
        if data.repo_id.is_empty() && !beside.is_empty() {
            data.job_id = beside;
        }
        data
    }
}
