//! A job's life as the agent tells it: started, progress, finished.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, ScheduleId, envelope::Payload};

/// What a job does; restic's own verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `restic backup`.
    Backup,
    /// `restic init`.
    Init,
    /// `restic snapshots`.
    Snapshots,
    /// `restic ls`: one directory of a snapshot.
    Ls,
    /// `restic dump`: one file of a snapshot, or one directory as an archive.
    Dump,
    /// `restic diff`: what changed between two snapshots.
    Diff,
    /// `restic restore`.
    Restore,
    /// `restic tag`.
    Tag,
    /// `restic forget`, without pruning.
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

impl Operation {
    /// Every operation there is.
    pub const ALL: [Self; 13] = [
        Self::Backup,
        Self::Init,
        Self::Snapshots,
        Self::Ls,
        Self::Dump,
        Self::Diff,
        Self::Restore,
        Self::Tag,
        Self::Forget,
        Self::Prune,
        Self::Check,
        Self::Stats,
        Self::Unlock,
    ];

    /// The word on the wire, in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Init => "init",
            Self::Snapshots => "snapshots",
            Self::Ls => "ls",
            Self::Dump => "dump",
            Self::Diff => "diff",
            Self::Restore => "restore",
            Self::Tag => "tag",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::Check => "check",
            Self::Stats => "stats",
            Self::Unlock => "unlock",
        }
    }

    /// The operation named by `word`, if there is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == word)
    }

    /// Whether nothing else may work on the repository at the same time, on any host.
    ///
    /// restic takes an exclusive lock for most of these. `init` has nothing to lock yet, and two of
    /// it at once make a repository that nobody can open. `unlock` is for what hangs, so it must
    /// not wait for it.
    #[must_use]
    pub fn is_exclusive(self) -> bool {
        matches!(self, Self::Init | Self::Tag | Self::Forget | Self::Prune | Self::Check)
    }

    /// Whether a failed try may be repeated without asking anybody: a repeat does nothing that the
    /// first try did not.
    ///
    /// `diff` and `dump` only read too, but somebody waits for their answer and asks again.
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Backup | Self::Snapshots | Self::Ls | Self::Check | Self::Stats)
    }

    /// Whether it is ordered as a job. The other ones are questions: somebody waits for the answer,
    /// and what comes of them is shown and not kept.
    #[must_use]
    pub fn is_job(self) -> bool {
        !matches!(self, Self::Ls | Self::Dump)
    }

    /// Whether it deletes from the repository, for which everyday credentials need not suffice.
    #[must_use]
    pub fn needs_delete_authority(self) -> bool {
        matches!(self, Self::Tag | Self::Forget | Self::Prune | Self::Unlock)
    }
}

/// Where a job stands. The last six are ends: a job reaches exactly one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Stored on the server; the agent has not started it.
    Queued,
    /// Its process runs.
    Running,
    /// Its process is stopped on purpose and can go on.
    Paused,
    /// Done; for a backup: a whole snapshot exists.
    Succeeded,
    /// A snapshot exists, but some files could not be read (restic's exit 3).
    Partial,
    /// Ended without doing what it was for.
    Failed,
    /// Ended because somebody asked; the process is gone.
    Cancelled,
    /// The agent or its machine died while it ran: what it had done is unknown.
    Interrupted,
    /// It was due and never ran.
    Missed,
}

impl Status {
    /// Whether a job in this state never changes again.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Paused)
    }

    /// The word on the wire, in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Missed => "missed",
        }
    }

    /// The state named by `word`, if there is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Queued,
            Self::Running,
            Self::Paused,
            Self::Succeeded,
            Self::Partial,
            Self::Failed,
            Self::Cancelled,
            Self::Interrupted,
            Self::Missed,
        ]
        .into_iter()
        .find(|status| status.as_str() == word)
    }
}

/// Why something did not work, for programs (`code`) and for people (the rest).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// Stable, snake_case: `repository_not_found`, `wrong_password`, `source_missing`, …
    pub code: String,
    /// One sentence: what is wrong. Never a secret.
    pub message: String,
    /// One sentence: what to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub action: String,
}

/// `heartbeat`: the agent lives, and this is what it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The agent's wall clock.
    pub sent_at: Timestamp,
    /// Jobs accepted and not ended, so that the two sides can compare notes.
    #[serde(default)]
    pub active_job_ids: Vec<JobId>,
    /// Records waiting for an acknowledgement.
    #[serde(default)]
    pub queue_depth: u64,
    /// The configuration in force.
    #[serde(default)]
    pub config_version: i64,
}

/// `job.started`: the job's process has been started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The job.
    pub job_id: JobId,
    /// What it does.
    #[serde(rename = "kind")]
    pub operation: Operation,
    /// When, by the agent's clock.
    pub started_at: Timestamp,
    /// 1 for the first try.
    #[serde(default = "first")]
    pub attempt: u32,
    /// The source group, for a backup.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
    /// The schedule that caused it, when one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_id: Option<ScheduleId>,
    /// The slot's nominal time, when a schedule caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Timestamp>,
}

fn first() -> u32 {
    1
}

/// `job.state`: a running job was paused, or a paused one goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// The job.
    pub job_id: JobId,
    /// [`Status::Paused`] or [`Status::Running`].
    pub status: Status,
    /// When, by the agent's clock.
    pub changed_at: Timestamp,
}

/// `job.progress`: how far the job is. Only the newest is kept anywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The job.
    pub job_id: JobId,
    /// Fraction from 0 to 1, as restic gives it. It may fall while restic still scans.
    pub percent_done: f64,
    /// Files done.
    #[serde(default)]
    pub files_done: u64,
    /// Files found so far.
    #[serde(default)]
    pub total_files: u64,
    /// Bytes done.
    #[serde(default)]
    pub bytes_done: u64,
    /// Bytes found so far.
    #[serde(default)]
    pub total_bytes: u64,
    /// Seconds left by restic's own estimate; absent when restic gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
    /// Bytes that restic read per second over the last few seconds, from files and repository; a
    /// file that has not changed is done without being read. Agents of other systems say what they
    /// take for their speed.
    #[serde(default)]
    pub throughput_bps: u64,
    /// Files being read right now; at most four are sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub current_files: Vec<String>,
    /// Files that could not be read so far.
    #[serde(default)]
    pub error_count: u64,
}

/// `job.finished`: the one end of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The job.
    pub job_id: JobId,
    /// A terminal state.
    pub status: Status,
    /// The process's exit code; absent when there was none (killed, never started).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When, by the agent's clock.
    pub finished_at: Timestamp,
    /// The snapshot that now exists, as restic's full id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// restic's summary object as restic wrote it; what an old restic cannot tell is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Payload>,
    /// Why it is not `succeeded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// The next try of what failed, which waits on the agent; absent when this is the last word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<NextTry>,
}

/// The next try of a job that failed: a job of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextTry {
    /// Its id: [`JobId::of_attempt`] of the first try.
    pub job_id: JobId,
    /// Which try it is, from 2.
    pub attempt: u32,
    /// When it begins at the earliest, by the agent's clock.
    pub not_before: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_word_that_leads_back_to_it() {
        for word in
            "queued running paused succeeded partial failed cancelled interrupted missed".split(' ')
        {
            let status = Status::from_word(word).unwrap();
            assert_eq!(status.as_str(), word);
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{word}\""));
        }
        assert_eq!(Status::from_word("done"), None);
    }

    #[test]
    fn every_operation_has_one_word_that_leads_back_to_it() {
        for operation in Operation::ALL {
            let word = operation.as_str();
            assert_eq!(Operation::from_word(word), Some(operation));
            assert_eq!(serde_json::to_string(&operation).unwrap(), format!("\"{word}\""));
        }
        assert_eq!(Operation::from_word("rebuild"), None);
    }

    #[test]
    fn what_deletes_is_never_repeated_unasked() {
        let both =
            |operation: &Operation| operation.is_idempotent() && operation.needs_delete_authority();
        assert_eq!(Operation::ALL.iter().find(|operation| both(operation)), None);
    }
}
