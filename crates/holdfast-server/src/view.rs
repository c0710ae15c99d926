//! What the server tells people: the shapes of the REST API and of the live socket.
//!
//! Views are built from the store and from what is known in memory about live links; nothing here
//! is ever written.

mod alert;
mod audit;
mod brief;
mod browse;
mod calendar;
mod channel;
pub(crate) mod days;
#[cfg(feature = "oidc")]
mod oidc;
mod options;
mod repository;
mod user;

use std::collections::BTreeMap;

use holdfast_protocol::{
    HostId, JobId, Payload, RepositoryId, ScheduleId,
    message::{
        config::GroupOptions,
        job::{self, Operation, Status},
        log,
        parameters::Retention,
        schedule::Window,
        snapshot,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use alert::{AlertPage, AlertView, RuleView, SilenceView};
pub use audit::{AnchorError, AuditEntryView, AuditHead, AuditPage, AuditVerdict};
pub use brief::HostBrief;
pub use browse::{
    AmountView, ChangeKindView, ChangeView, DifferenceView, EntryKindView, EntryPageView,
    EntryView, FoundPageView, FoundView,
};
pub use calendar::{Calendar, CalendarError};
pub use channel::{ChannelView, DeliveryView};
pub use days::Days;
#[cfg(feature = "oidc")]
pub use oidc::{OidcRole, OidcSettings, OidcView};
pub use options::{GroupOptionsDoc, RetentionDoc};
pub use repository::{
    LeaseView, MaintenanceReason, MaintenanceView, RepositoryDetailView, RunnerView, SizeView,
    WaitingView,
};
pub use user::{SignInView, TokenView, UserView};

use crate::{
    verdict::Verdict,
    watch::{Outcome, Reason},
};

/// A protected machine.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Host)]
pub struct HostView {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: HostId,
    /// Its name in the fleet.
    pub name: String,
    /// The host group it is in; empty for none. Roles may count for some host groups only.
    pub host_group: String,
    /// What people noted about it.
    pub labels: BTreeMap<String, String>,
    /// Whether its agent is connected.
    pub state: HostState,
    /// The other system's words that its agent speaks; absent for Holdfast's own agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<&'static str>,
    /// What can be asked of it: `backup`, `cancel`, `pause`, `restore`, … What is not in the list
    /// is refused.
    pub capabilities: Vec<&'static str>,
    /// How well it is protected: as its worst source group.
    pub verdict: Verdict,
    /// When the agent was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// Since when the agent is connected; absent when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_since: Option<Timestamp>,
    /// The agent's version; empty before the first connection.
    pub agent_version: String,
    /// restic's version on the host; empty when none was found.
    pub restic_version: String,
    /// The machine's own name.
    pub hostname: String,
    /// `linux`, `windows`, `darwin`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub arch: String,
    /// IANA name of the machine's time zone; empty when unknown.
    pub time_zone: String,
    /// When the host was added.
    pub created_at: Timestamp,
    /// Its source groups, by name.
    pub groups: Vec<GroupView>,
    /// The backup that ended last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<LastBackup>,
    /// When the next scheduled backup is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_backup_at: Option<Timestamp>,
    /// Jobs that run or are paused.
    #[schema(value_type = Vec<Uuid>)]
    pub running_jobs: Vec<JobId>,
    /// Sessions after the first.
    pub reconnects: u64,
    /// Records the agent holds for the server.
    pub queue_depth: u64,
    /// How far the agent's clock is ahead of the server's, in milliseconds; absent when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
}

/// A page of hosts.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HostPage {
    /// The hosts, in the order that was asked for.
    pub hosts: Vec<HostView>,
    /// How many match in all.
    pub total: u64,
    /// Pass it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Whether a host's agent is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// No agent has enrolled yet.
    Pending,
    /// Connected.
    Online,
    /// Not connected.
    Offline,
}

/// Named includes and excludes on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Group)]
pub struct GroupView {
    /// Its name, which is also the tag of its snapshots.
    pub name: String,
    /// Where its snapshots go.
    #[schema(value_type = Uuid)]
    pub repository_id: RepositoryId,
    /// That repository's name.
    pub repository_name: String,
    /// Paths to back up.
    pub includes: Vec<String>,
    /// restic exclude patterns.
    pub excludes: Vec<String>,
    /// How it is backed up.
    #[schema(value_type = GroupOptionsDoc)]
    pub options: GroupOptions,
    /// Which snapshots are kept; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RetentionDoc>)]
    pub retention: Option<Retention>,
    /// How old its newest snapshot may be, in seconds.
    pub objective_seconds: u64,
    /// Who says so.
    pub objective_source: ObjectiveSource,
    /// How well it is protected.
    pub verdict: Verdict,
    /// Its backup that ended last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<LastBackup>,
    /// When it is backed up on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleView>,
}

/// How old the newest snapshot of a group may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Objective {
    pub(crate) seconds: u64,
    pub(crate) source: ObjectiveSource,
}

impl Objective {
    pub(crate) fn length(&self) -> SignedDuration {
        SignedDuration::from_secs(self.seconds.try_into().unwrap_or(i64::MAX))
    }
}

/// Who says how old the newest snapshot of a group may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveSource {
    /// Nobody: a week, for want of a schedule.
    Default,
    /// Its schedule: the longest pause and some time for the run.
    Schedule,
    /// A person.
    Set,
}

/// When a source group is backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Schedule)]
pub struct ScheduleView {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: ScheduleId,
    /// Five-field cron.
    pub cron: String,
    /// IANA name of the zone the cron expression is read in.
    pub time_zone: String,
    /// Whether it fires.
    pub enabled: bool,
    /// A slot starts up to this much after its time, each host at a moment of its own.
    pub jitter_seconds: u32,
    /// The only time of the day in which a slot may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowView>,
    /// Whether the latest of the slots that went by while the machine was off is made up for.
    pub catch_up: bool,
    /// The cron expression as a sentence.
    pub in_words: String,
    /// When it fires next; absent when disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
}

/// A part of the day, by the clock of the schedule's zone. It may go over midnight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Window)]
pub struct WindowView {
    /// The first minute in it, such as `22:00`.
    pub from: String,
    /// The first minute that is no longer in it, such as `06:00`.
    pub until: String,
}

impl From<Window> for WindowView {
    fn from(window: Window) -> Self {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        Self { from: clock(window.from_minute), until: clock(window.until_minute) }
    }
}

impl WindowView {
    /// The window in minutes of the day; `None` when a time is none, or both are the same.
    #[must_use]
    pub fn minutes(&self) -> Option<Window> {
        let minute = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let window =
            Window { from_minute: minute(&self.from)?, until_minute: minute(&self.until)? };
        (window.from_minute != window.until_minute).then_some(window)
    }
}

/// The backup of a host that ended last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LastBackup {
    /// The job.
    #[schema(value_type = Uuid)]
    pub job_id: JobId,
    /// The source group.
    pub group: String,
    /// How it ended.
    #[schema(value_type = JobStatus)]
    pub status: Status,
    /// When it ended, by the agent's clock.
    pub finished_at: Timestamp,
    /// The snapshot it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
}

/// One run of one operation.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Job)]
pub struct JobView {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: JobId,
    /// The host it runs on.
    #[schema(value_type = Uuid)]
    pub host_id: HostId,
    /// That host's name.
    pub host_name: String,
    /// What it does.
    #[schema(value_type = JobOperation)]
    pub operation: Operation,
    /// The source group.
    pub group: String,
    /// Where it stands.
    #[schema(value_type = JobStatus)]
    pub status: Status,
    /// What caused it.
    pub cause: Cause,
    /// When it was ordered.
    pub created_at: Timestamp,
    /// When its process was started, by the agent's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended, by the agent's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// restic's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The snapshot it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// 1 for the first try.
    pub attempt: u32,
    /// Why it did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobErrorView>,
    /// The repository it works on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub repository_id: Option<RepositoryId>,
    /// What was asked for, as it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Payload>,
    /// What came of it, by its operation; a backup's is in `stats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Payload>,
    /// The job's first try, when this is a later one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub retry_of: Option<JobId>,
    /// The next try, when this one failed and was not the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub retried_by: Option<JobId>,
    /// When a waiting job may start at the earliest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// What has the repository that it waits for; absent when it waits for nothing but its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingForView>,
    /// Whether it can be paused now.
    pub pausable: bool,
    /// Whether its end can be asked for now.
    pub cancellable: bool,
    /// restic's summary, as restic wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub stats: Option<Payload>,
    /// How far it is; only while it runs or is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressView>,
    /// Whether the host is connected now.
    pub host_online: bool,
    /// Whether somebody asked for its end.
    pub cancel_requested: bool,
}

/// The job that keeps another one waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WaitingFor)]
pub struct WaitingForView {
    /// The job.
    #[schema(value_type = Uuid)]
    pub job_id: JobId,
    /// What it does.
    #[schema(value_type = JobOperation)]
    pub operation: Operation,
    /// The host it runs on; absent when that is in another host group, of which not everybody may
    /// know who sees this job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
}

/// What caused a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A person or a script asked for it.
    Manual,
    /// A schedule came due.
    Schedule,
    /// The repository was due to be kept in order.
    Maintenance,
}

impl Cause {
    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Schedule => "schedule",
            Self::Maintenance => "maintenance",
        }
    }
}

/// Why a job did not succeed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = JobError)]
pub struct JobErrorView {
    /// Stable and machine-readable.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// What to do about it.
    pub action: String,
}

/// The status words, for the API document.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum JobStatus {
    /// Stored on the server; the agent has not started it.
    Queued,
    /// Its process runs.
    Running,
    /// Its process is stopped on purpose.
    Paused,
    /// Done.
    Succeeded,
    /// Done, but some files could not be read.
    Partial,
    /// Ended without doing what it was for.
    Failed,
    /// Ended because somebody asked.
    Cancelled,
    /// The agent or its machine died while it ran.
    Interrupted,
    /// It was due and never ran.
    Missed,
}

/// The operation words, for the API document.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum JobOperation {
    /// `restic backup`.
    Backup,
    /// `restic init`.
    Init,
    /// `restic snapshots`.
    Snapshots,
    /// `restic ls`; never a job.
    Ls,
    /// `restic dump`; never a job.
    Dump,
    /// `restic diff`.
    Diff,
    /// `restic restore`.
    Restore,
    /// `restic tag`.
    Tag,
    /// `restic forget`.
    Forget,
    /// `restic prune`.
    Prune,
    /// `restic check`.
    Check,
    /// `restic stats`.
    Stats,
    /// `restic unlock`.
    Unlock,
}

/// A run that was due, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Evaluation)]
pub struct EvaluationView {
    /// The schedule.
    #[schema(value_type = Uuid)]
    pub schedule_id: ScheduleId,
    /// The source group.
    pub group: String,
    /// When it was due.
    pub due_at: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it did not run when it was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// That, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The job that ran for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub job_id: Option<JobId>,
    /// When this was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Progress)]
pub struct ProgressView {
    /// Fraction from 0 to 1. It may fall while restic still scans.
    pub percent_done: f64,
    /// Files done.
    pub files_done: u64,
    /// Files found so far.
    pub total_files: u64,
    /// Bytes done: files that have not changed count whole.
    pub bytes_done: u64,
    /// Bytes found so far.
    pub total_bytes: u64,
    /// Seconds left by restic's estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
    /// Bytes that restic read per second over the last few seconds, from files and repository; a
    /// file that has not changed is done without being read.
    pub throughput_bps: u64,
    /// Files being read right now.
    pub current_files: Vec<String>,
    /// Files that could not be read so far.
    pub error_count: u64,
}

impl From<job::Progress> for ProgressView {
    fn from(progress: job::Progress) -> Self {
        Self {
            percent_done: progress.percent_done,
            files_done: progress.files_done,
            total_files: progress.total_files,
            bytes_done: progress.bytes_done,
            total_bytes: progress.total_bytes,
            eta_seconds: progress.eta_seconds,
            throughput_bps: progress.throughput_bps,
            current_files: progress.current_files,
            error_count: progress.error_count,
        }
    }
}

/// A restic repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Repository)]
pub struct RepositoryView {
    /// The fleet's id for it.
    #[schema(value_type = Uuid)]
    pub id: RepositoryId,
    /// What people call it.
    pub name: String,
    /// `local`, `rest`, `s3`, `sftp`, …
    pub kind: String,
    /// Where it is, without credentials.
    pub location: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// Snapshots in it, of all hosts; absent until an agent has reported it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_count: Option<u64>,
    /// Bytes that all snapshots would restore to; absent until an agent has reported it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_size_bytes: Option<u64>,
    /// Hosts with a source group that uses it.
    pub host_count: u64,
}

/// A snapshot of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Snapshot)]
pub struct SnapshotView {
    /// restic's full id.
    pub id: String,
    /// Its first eight characters.
    pub short_id: String,
    /// When it was made.
    pub time: Timestamp,
    /// The host recorded in it.
    pub hostname: String,
    /// The paths recorded in it.
    pub paths: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Bytes in it; absent before restic 0.17.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Files in it; absent before restic 0.17.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_count: Option<u64>,
    /// The repository it is in.
    #[schema(value_type = Uuid)]
    pub repository_id: RepositoryId,
    /// That repository's name.
    pub repository_name: String,
}

impl SnapshotView {
    pub(crate) fn new(
        snapshot: snapshot::Snapshot,
        repository_id: RepositoryId,
        repository_name: String,
    ) -> Self {
        Self {
            id: snapshot.id,
            short_id: snapshot.short_id,
            time: snapshot.time,
            hostname: snapshot.hostname,
            paths: snapshot.paths,
            tags: snapshot.tags,
            size_bytes: snapshot.size_bytes,
            file_count: snapshot.file_count,
            repository_id,
            repository_name,
        }
    }
}

/// A page of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// Pass it as `before` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A page of a job's log, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogPage {
    /// The lines.
    pub lines: Vec<LogLine>,
    /// Lines that are missing between, before or after them.
    pub gaps: Vec<LogGap>,
    /// Pass it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// When the log was dropped, if it was: it is kept for 30 days after the job's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_at: Option<Timestamp>,
}

/// One line of a job's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogLine {
    /// Its number, from 1.
    pub seq: u64,
    /// When it was captured, by the agent's clock.
    pub ts: Timestamp,
    /// Where it came from.
    #[schema(value_type = LogSource)]
    pub stream: log::Source,
    /// The text.
    pub payload: String,
}

/// Where a log line came from, for the API document.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum LogSource {
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// The agent's own remark.
    Event,
}

/// Lines that were dropped on the way or to stay within the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogGap {
    /// The first missing number.
    pub from: u64,
    /// The last missing number.
    pub to: u64,
}

/// The fleet in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Overview {
    /// Hosts in the fleet.
    pub hosts_total: u64,
    /// Hosts whose agent is connected.
    pub hosts_online: u64,
    /// Jobs that run or are paused.
    pub jobs_running: u64,
    /// Jobs that wait for their agent.
    pub jobs_queued: u64,
    /// Hosts whose every source group has a young snapshot that was seen in its repository.
    pub protected: u64,
    /// Hosts with young enough snapshots whose next ones are in danger.
    pub at_risk: u64,
    /// Hosts with a source group whose newest snapshot is older than its objective.
    pub stale: u64,
    /// Hosts with a source group of which no snapshot was ever seen, or without any group.
    pub never: u64,
    /// Hosts that are protected but for a schedule that somebody switched off.
    pub paused: u64,
}
