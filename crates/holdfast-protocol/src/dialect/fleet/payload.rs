//! The bodies of the fleet message set, field by field as its Go structs have them.

use crate::{
    dialect::gojson::{GoTime, Raw, go_struct},
    message::config::Secret,
};

go_struct! {
    /// `hello`: the first message of an agent; nothing answers it but a burst of configuration.
    pub struct Hello {
        protocol_version: i64,
        agent_version: String,
        restic_version: String,
        hostname: String,
        os: String,
        arch: String,
        /// Written even when unknown: then it is the year 1.
        boot_time: GoTime,
    }

    /// `heartbeat`: every 30 s, and nothing in it but the clock.
    pub struct Heartbeat {
        sent_at: GoTime,
    }

    /// `command.result`: the command is stored on the agent, or refused.
    pub struct CommandResult {
        job_id: String,
        accepted: bool,
        error: String [omit],
    }

    /// `job.started`.
    pub struct JobStarted {
        job_id: String,
        kind: String,
        started_at: GoTime,
    }

    /// `job.progress`.
    pub struct JobProgress {
        job_id: String,
        /// A fraction from 0 to 1.
        percent_done: f64,
        files_done: i64,
        total_files: i64,
        bytes_done: i64,
        total_bytes: i64,
        eta_seconds: i64,
        /// Bytes per second, whatever the name suggests.
        throughput_bps: i64,
    }

    /// `job.finished`.
    pub struct JobFinished {
        job_id: String,
        status: String,
        exit_code: i64,
        finished_at: GoTime,
        /// restic's summary object.
        stats: Raw [omit],
        error: String [omit],
    }

    /// `log.stream`: one line; `stream` is `stdout`, `stderr` or `event`.
    pub struct LogLine {
        job_id: String,
        seq: i64,
        ts: GoTime,
        stream: String,
        payload: String,
    }

    /// `snapshots.report`: the full list after each successful backup.
    pub struct SnapshotsReport {
        snapshots: Vec<Snapshot>,
    }

    /// One snapshot.
    pub struct Snapshot {
        id: String,
        short_id: String,
        time: GoTime,
        hostname: String,
        paths: Vec<String>,
        tags: Vec<String> [omit],
        size_bytes: i64 [omit],
        file_count: i64 [omit],
    }

    /// `repo.stats`: a partial update, absent means no change.
    pub struct RepoStats {
        total_size_bytes: Option<i64> [omit],
        raw_size_bytes: Option<i64> [omit],
        unique_files: Option<i64> [omit],
        snapshot_count: Option<i64> [omit],
        last_check_at: Option<GoTime> [omit],
        last_check_status: Option<String> [omit],
        lock_present: Option<bool> [omit],
        last_prune_at: Option<GoTime> [omit],
        last_prune_freed_bytes: Option<i64> [omit],
    }

    /// `schedule.ack`.
    pub struct ScheduleAck {
        version: i64,
        applied_at: GoTime,
    }

    /// `schedule.fire`: in the original the server has to answer with commands.
    pub struct ScheduleFire {
        schedule_id: String,
        scheduled_at: GoTime,
    }

    /// `command.run`.
    pub struct CommandRun {
        job_id: String,
        kind: String,
        args: Vec<String> [omit],
        includes: Vec<String> [omit],
        excludes: Vec<String> [omit],
        tag: String [omit],
        retention_policy: Raw [omit],
        requires_admin_creds: bool [omit],
    }

    /// `command.cancel`.
    pub struct CommandCancel {
        job_id: String,
    }

    /// `config.update`: empty means unchanged. An agent that does not know `slot` would write the
    /// admin's credentials over the everyday ones.
    pub struct ConfigUpdate {
        repo_url: Secret [omit],
        repo_password: Secret [omit],
        repo_username: Secret [omit],
        repo_credential: Secret [omit],
        hook_shell: String [omit],
        slot: String [omit],
    }

    /// `schedule.set`: a full replacement.
    pub struct ScheduleSet {
        version: i64,
        schedules: Vec<Schedule>,
    }

    /// One schedule.
    pub struct Schedule {
        id: String,
        cron_expr: String,
        enabled: bool,
        source_groups: Vec<Group> [omit],
    }

    /// One source group of a schedule.
    pub struct Group {
        name: String,
        includes: Vec<String> [omit],
        excludes: Vec<String> [omit],
        retention_policy: Raw [omit],
        retry_max: i64 [omit],
        retry_backoff_seconds: i64 [omit],
    }

    /// `agent.update.available`: a notice; nobody updates itself.
    pub struct UpdateAvailable {
        latest_version: String,
        package_url: String,
        changelog: String [omit],
    }
}
