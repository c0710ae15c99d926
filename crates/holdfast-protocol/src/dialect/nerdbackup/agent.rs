//! The bodies of what a NerdBackup agent says. Fields are in the order of the wire: the original
//! has structs for some and sorted maps for others.

use crate::dialect::gojson::{GoTime, go_struct};

go_struct! {
    /// `heartbeat`: every minute; the only introduction this dialect has.
    pub struct Heartbeat {
        agent_version: String,
        restic_version: String,
        platform: String,
        arch: String,
        hostname: String,
        uptime_seconds: i64,
        disk_free_bytes: i64,
        cpu_count: i64,
        memory_total_bytes: i64,
    }

    /// `progress`: at most every five seconds; the original never fills `job_id` and
    /// `current_file`.
    pub struct Progress {
        repo_id: String,
        job_id: String [omit],
        /// A fraction from 0 to 1.
        percent_done: f64,
        bytes_processed: i64,
        files_processed: i64,
        current_file: String [omit],
        /// RFC 3339 with whole seconds, in the agent's zone.
        started_at: String,
    }

    /// `job_started`: a start (with `repo_id`), a pause, a resume, or an early failure (without).
    pub struct JobStarted {
        job_id: String,
        repo_id: Option<String> [omit],
        status: String,
    }

    /// `job_report`: the end of a backup or a restore.
    pub struct JobReport {
        repo_id: String,
        policy_id: String [omit],
        dashboard_job_id: String [omit],
        operation: String,
        status: String,
        started_at: GoTime,
        completed_at: GoTime,
        restic_snapshot_id: String [omit],
        stats: JobStats,
        files: Vec<ListedFile> [omit],
        error_message: String [omit],
    }

    /// The figures of a [`JobReport`].
    pub struct JobStats {
        files_new: i64,
        files_changed: i64,
        files_unmodified: i64,
        dirs_new: i64,
        data_added_bytes: i64,
        total_files_processed: i64,
        total_bytes_processed: i64,
        total_duration_seconds: i64,
        repo_raw_size: i64 [omit],
        repo_restore_size: i64 [omit],
    }

    /// One of at most 500 files of a new snapshot.
    pub struct ListedFile {
        modified_at: String,
        path: String,
        size: i64,
    }

    /// `forget_completed`: the snapshot is forgotten; whether pruning worked is not said.
    pub struct ForgetCompleted {
        repo_id: String,
        snapshot_id: String,
    }

    /// `fs_list_response`: folders first, then by name.
    pub struct FsListResponse {
        entries: Vec<FsEntry>,
        error: String [omit],
        path: String,
        request_id: String,
    }

    /// One entry of a folder; `kind` is `dir` or `file`.
    pub struct FsEntry {
        name: String,
        size: i64,
        kind: String = "type",
    }

    /// `fs_search_response`: no hits are `null`, and a refused search has three fields only.
    pub struct FsSearchResponse {
        error: Option<String> [omit],
        pattern: Option<String> [omit],
        request_id: String,
        results: Option<Vec<FsHit>>,
        root: Option<String> [omit],
        truncated: Option<bool> [omit],
    }

    /// One hit of a search.
    pub struct FsHit {
        name: String,
        path: String,
        size: i64,
        kind: String = "type",
    }

    /// `fs_mkdir_response`.
    pub struct FsMkdirResponse {
        error: String [omit],
        path: String,
        request_id: String,
        success: bool,
    }

    /// `pitr_setup_result`; `status` is `success` or `failed`.
    pub struct PitrSetupResult {
        config_id: String,
        config_lines: String,
        archive_dir: String,
        status: String,
        error: String [omit],
    }

    /// `pitr_base_backup_result`; times are RFC 3339 text.
    pub struct PitrBaseBackupResult {
        config_id: String,
        backup_dir: String,
        restic_snapshot_id: String [omit],
        status: String,
        started_at: String,
        completed_at: String,
        error: String [omit],
    }

    /// `pitr_restore_result`.
    pub struct PitrRestoreResult {
        config_id: String,
        target_time: String,
        restore_dir: String,
        status: String,
        started_at: String,
        completed_at: String,
        error: String [omit],
    }

    /// `pitr_status_result`; `status` is `active`, `error` or `not_configured`.
    pub struct PitrStatusResult {
        config_id: String,
        database_type: String,
        database_name: String,
        connection_host: String,
        wal_count: i64,
        wal_size_bytes: i64,
        current_rpo_seconds: i64,
        last_wal_archived_at: String [omit],
        last_base_backup_at: String [omit],
        archive_dir: String,
        status: String,
        error_message: String [omit],
    }

    /// `verify_result`.
    pub struct VerifyResult {
        error: String [omit],
        output: String [omit],
        passed: bool,
        repo_id: String,
        request_id: String,
    }
}
