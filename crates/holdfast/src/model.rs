//! What the API answers, as far as these commands show it.
//!
//! Every field has a default: an answer of a newer server that lacks or adds something is still
//! shown. `--json` prints the answer itself and does not pass through here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// A host.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Host {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) dialect: Option<String>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) last_seen_at: Option<Timestamp>,
    pub(crate) connected_since: Option<Timestamp>,
    pub(crate) agent_version: Option<String>,
    pub(crate) restic_version: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) os: Option<String>,
    pub(crate) arch: Option<String>,
    pub(crate) time_zone: Option<String>,
    pub(crate) groups: Vec<Group>,
    pub(crate) verdict: Verdict,
    pub(crate) last_backup: Option<LastBackup>,
    pub(crate) next_backup_at: Option<Timestamp>,
    pub(crate) running_jobs: Vec<String>,
    pub(crate) reconnects: u64,
    pub(crate) clock_offset_ms: Option<i64>,
}

/// How well a host or source group is protected, and why.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Verdict {
    pub(crate) standing: String,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) restorable_at: Option<Timestamp>,
}

/// One thing that keeps it from being protected.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reason {
    pub(crate) group: Option<String>,
    pub(crate) message: String,
    pub(crate) action: String,
}

/// The last backup of a host that ended.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LastBackup {
    pub(crate) job_id: String,
    pub(crate) group: String,
    pub(crate) status: String,
    pub(crate) finished_at: Option<Timestamp>,
}

/// `GET /hosts`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Hosts {
    pub(crate) hosts: Vec<Host>,
}

/// `POST /hosts`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Enrolment {
    pub(crate) name: String,
    pub(crate) enrolment_token: String,
    pub(crate) expires_at: Option<Timestamp>,
}

/// A source group.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) repository_name: String,
    pub(crate) includes: Vec<String>,
    pub(crate) excludes: Vec<String>,
    pub(crate) objective_seconds: u64,
    pub(crate) objective_source: String,
    pub(crate) verdict: Verdict,
    pub(crate) schedule: Option<Schedule>,
}

/// `GET /hosts/{host}/groups`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<Group>,
}

/// When a source group is backed up.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Schedule {
    pub(crate) cron: String,
    pub(crate) time_zone: String,
    pub(crate) enabled: bool,
    pub(crate) in_words: String,
    pub(crate) next_at: Option<Timestamp>,
}

impl Schedule {
    /// When it runs, to stand inside a sentence.
    pub(crate) fn words(&self) -> &str {
        self.in_words.trim_end_matches('.')
    }
}

/// A run that was due, and what became of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Evaluation {
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) outcome: String,
    pub(crate) message: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) job_id: Option<String>,
}

/// `GET /hosts/{host}/evaluations`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Evaluations {
    pub(crate) evaluations: Vec<Evaluation>,
}

/// Something that somebody has to mend.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Alert {
    pub(crate) id: String,
    pub(crate) rule: String,
    pub(crate) severity: String,
    pub(crate) state: String,
    pub(crate) title: String,
    pub(crate) cause: String,
    pub(crate) action: String,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) count: u64,
    pub(crate) since: Option<Timestamp>,
    pub(crate) first_seen_at: Option<Timestamp>,
    pub(crate) last_seen_at: Option<Timestamp>,
    pub(crate) acknowledged_by: Option<String>,
    pub(crate) acknowledged_at: Option<Timestamp>,
    pub(crate) resolved_at: Option<Timestamp>,
    pub(crate) silenced_until: Option<Timestamp>,
}

/// A host or source group that an alert is about.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Subject {
    pub(crate) host_name: String,
    pub(crate) group: Option<String>,
}

/// `GET /alerts`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Alerts {
    pub(crate) alerts: Vec<Alert>,
    pub(crate) next: Option<String>,
}

/// Peace for a while.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Silence {
    pub(crate) id: String,
    pub(crate) created_by: String,
    pub(crate) until: Option<Timestamp>,
    pub(crate) reason: String,
    pub(crate) host_name: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) alert_id: Option<String>,
}

/// `GET /silences`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Silences {
    pub(crate) silences: Vec<Silence>,
}

/// What is watched, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Rule {
    pub(crate) rule: String,
    pub(crate) severity: String,
    pub(crate) enabled: bool,
    pub(crate) grace_seconds: u64,
}

/// `GET /alert-rules`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
}

/// A way to tell people.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Channel {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) target: String,
    pub(crate) severity_min: String,
    pub(crate) host_name: Option<String>,
    pub(crate) group: Option<String>,
}

/// `GET /channels`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Channels {
    pub(crate) channels: Vec<Channel>,
}

/// A message and what became of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Delivery {
    pub(crate) event: String,
    pub(crate) state: String,
    pub(crate) attempts: u64,
    pub(crate) error: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
}

/// `GET /channels/{channel}/deliveries`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Deliveries {
    pub(crate) deliveries: Vec<Delivery>,
}

/// `POST /channels/{channel}/test`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tested {
    pub(crate) delivered: bool,
    pub(crate) error: Option<String>,
}

/// A repository.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Repository {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) location: String,
    pub(crate) snapshot_count: Option<u64>,
    pub(crate) total_size_bytes: Option<u64>,
    pub(crate) host_count: u64,
}

/// `GET /repositories/{repository}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RepositoryDetail {
    #[serde(flatten)]
    pub(crate) repository: Repository,
    pub(crate) raw_size_bytes: Option<u64>,
    pub(crate) runner: Option<Runner>,
    pub(crate) has_admin_credentials: bool,
    pub(crate) maintenance: BTreeMap<String, Maintenance>,
    pub(crate) lease: Option<Lease>,
}

/// The host that keeps a repository in order.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Runner {
    pub(crate) host_name: String,
    pub(crate) named: bool,
}

/// When one operation keeps a repository in order.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Maintenance {
    pub(crate) cron: String,
    pub(crate) time_zone: String,
    pub(crate) enabled: bool,
    pub(crate) suggested: bool,
    pub(crate) in_words: String,
    pub(crate) window: Option<Value>,
    pub(crate) parameters: Option<Value>,
    pub(crate) next_at: Option<Timestamp>,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) last_ok_at: Option<Timestamp>,
}

/// Maintenance that is due and waits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Waiting {
    pub(crate) message: Option<String>,
}

/// Who has a repository for itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Lease {
    pub(crate) holder_job: String,
    pub(crate) operation: String,
    pub(crate) host_name: String,
}

/// `GET /repositories`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Repositories {
    pub(crate) repositories: Vec<Repository>,
}

/// A job.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) host_name: String,
    pub(crate) operation: String,
    pub(crate) group: String,
    pub(crate) status: String,
    pub(crate) cause: String,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) snapshot_id: Option<String>,
    pub(crate) attempt: u32,
    pub(crate) error: Option<JobError>,
    pub(crate) stats: Option<Stats>,
    pub(crate) result: Option<Outcome>,
    pub(crate) retry_of: Option<String>,
    pub(crate) retried_by: Option<String>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) waiting_for: Option<WaitingFor>,
    pub(crate) progress: Option<Progress>,
    pub(crate) host_online: bool,
    pub(crate) cancel_requested: bool,
}

/// The job that keeps another one waiting.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WaitingFor {
    pub(crate) operation: String,
    pub(crate) host_name: Option<String>,
}

impl WaitingFor {
    /// Who has the repository, to stand behind "waits for".
    pub(crate) fn words(&self) -> String {
        let host = self.host_name.as_deref().unwrap_or("another host");
        format!("{} on {host}", self.operation)
    }
}

/// Why a job is not `succeeded`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct JobError {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) action: String,
}

/// The parts of what came of a job that are shown; which there are depends on its operation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    pub(crate) target: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) total_files: Option<u64>,
    pub(crate) files_restored: Option<u64>,
    pub(crate) files_skipped: Option<u64>,
    pub(crate) bytes_restored: Option<u64>,
    pub(crate) error_count: Option<u64>,
    pub(crate) kept_count: Option<u64>,
    pub(crate) removed_count: Option<u64>,
    pub(crate) repacked_bytes: Option<u64>,
    pub(crate) freed_bytes: Option<u64>,
    pub(crate) remaining_bytes: Option<u64>,
    pub(crate) broken_packs: Vec<String>,
    pub(crate) total_size_bytes: Option<u64>,
    pub(crate) total_file_count: Option<u64>,
    pub(crate) snapshot_count: Option<u64>,
    pub(crate) compression_ratio: Option<f64>,
    pub(crate) locks_left: Option<u64>,
    pub(crate) locks_removed: Option<u64>,
    pub(crate) created: Option<bool>,
}

/// The part of restic's summary that is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    pub(crate) files_new: Option<u64>,
    pub(crate) files_changed: Option<u64>,
    pub(crate) files_unmodified: Option<u64>,
    pub(crate) data_added: Option<u64>,
    pub(crate) total_bytes_processed: Option<u64>,
}

/// How far a job is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    pub(crate) percent_done: f64,
    pub(crate) files_done: u64,
    pub(crate) total_files: u64,
    pub(crate) bytes_done: u64,
    pub(crate) total_bytes: u64,
    pub(crate) eta_seconds: Option<u64>,
    pub(crate) throughput_bps: u64,
    pub(crate) current_files: Vec<String>,
    pub(crate) error_count: u64,
}

/// `GET /jobs`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Jobs {
    pub(crate) jobs: Vec<Job>,
    pub(crate) next: Option<String>,
}

/// `GET /jobs/{job}/log`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Log {
    pub(crate) lines: Vec<Line>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) next: Option<u64>,
    pub(crate) pruned_at: Option<Timestamp>,
}

/// One line of a job's log.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Line {
    pub(crate) seq: u64,
    pub(crate) ts: Option<Timestamp>,
    pub(crate) stream: String,
    pub(crate) payload: String,
}

/// Lines that were dropped on the way, both ends included.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Gap {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A snapshot.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) short_id: String,
    pub(crate) time: Option<Timestamp>,
    pub(crate) paths: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) file_count: Option<u64>,
    pub(crate) repository_name: String,
}

/// `GET /hosts/{host}/snapshots`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Snapshots {
    pub(crate) snapshots: Vec<Snapshot>,
}

/// `GET /hosts/{host}/snapshots/{snapshot}/entries`, and what a search found.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entries {
    pub(crate) entries: Vec<Entry>,
    pub(crate) more: bool,
}

/// One thing in a snapshot.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    /// Of what a search found.
    pub(crate) path: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) mode: u32,
    pub(crate) modified_at: Option<Timestamp>,
}

/// `GET /hosts/{host}/diff`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Difference {
    pub(crate) changes: Vec<Change>,
    pub(crate) omitted: u64,
    pub(crate) changed_files: u64,
    pub(crate) added: Amount,
    pub(crate) removed: Amount,
}

/// One changed path.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) kind: String,
}

/// An amount of what a repository stores.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Amount {
    pub(crate) size_bytes: u64,
}

/// `GET /channels/{channel}/digest`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DigestPlan {
    pub(crate) enabled: bool,
    pub(crate) cron: String,
    pub(crate) time_zone: String,
    pub(crate) next_at: Option<Timestamp>,
}

/// `GET /channels/{channel}/digest/preview`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DigestText {
    pub(crate) title: String,
    pub(crate) text: String,
}
