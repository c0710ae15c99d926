//! A repository with all that is known about it.

use std::collections::BTreeMap;

use holdfast_protocol::{HostId, JobId, message::job::Operation};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{JobOperation, RepositoryView, WindowView};

/// A repository with its maintenance, its sizes over time and who works on it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = RepositoryDetail)]
pub struct RepositoryDetailView {
    /// What the list tells too.
    #[serde(flatten)]
    pub repository: RepositoryView,
    /// Bytes stored; absent until somebody has measured them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_size_bytes: Option<u64>,
    /// The host that keeps it in order; absent when no host uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner: Option<RunnerView>,
    /// Whether there are credentials of their own for what deletes.
    pub has_admin_credentials: bool,
    /// When it is kept in order: `forget`, `prune` and `check`.
    #[schema(value_type = BTreeMap<String, MaintenanceView>)]
    pub maintenance: BTreeMap<&'static str, MaintenanceView>,
    /// How much it held, oldest first: by the hour for a week, by the day for two years.
    pub sizes: Vec<SizeView>,
    /// The operation that has it for itself right now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseView>,
}

/// The host that keeps a repository in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Runner)]
pub struct RunnerView {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub host_id: HostId,
    /// Its name.
    pub host_name: String,
    /// Whether somebody named it, or it is the one that has used the repository longest.
    pub named: bool,
}

/// When one operation keeps a repository in order.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Maintenance)]
pub struct MaintenanceView {
    /// Five-field cron.
    pub cron: String,
    /// IANA name of the zone the cron expression and the window are read in.
    pub time_zone: String,
    /// Whether it fires.
    pub enabled: bool,
    /// Nobody has set it: this is what the server would do.
    pub suggested: bool,
    /// The cron expression as a sentence.
    pub in_words: String,
    /// The only time of the day in which it may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowView>,
    /// How to do it, as for a job of the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<serde_json::Value>,
    /// When it fires next; absent when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// What is due and cannot begin yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingView>,
    /// The job that was ordered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub last_job: Option<JobId>,
    /// When one last succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ok_at: Option<Timestamp>,
}

/// Maintenance that is due and waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WaitingMaintenance)]
pub struct WaitingView {
    /// When it was due.
    pub due_at: Timestamp,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<MaintenanceReason>,
    /// That, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Why maintenance that was due was not ordered at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaintenanceReason {
    /// No host that may do it is connected.
    NoHostOnline,
    /// Its time of the day has not come.
    OutsideWindow,
    /// Other maintenance of the repository is under way.
    Busy,
    /// The slot before it had not been ordered yet.
    StillWaiting,
    /// No source group says what to keep.
    NoRules,
}

impl MaintenanceReason {
    const ALL: [Self; 5] =
        [Self::NoHostOnline, Self::OutsideWindow, Self::Busy, Self::StillWaiting, Self::NoRules];

    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoHostOnline => "no_host_online",
            Self::OutsideWindow => "outside_window",
            Self::Busy => "busy",
            Self::StillWaiting => "still_waiting",
            Self::NoRules => "no_rules",
        }
    }

    /// The reason named by `word`, if there is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// It, in one sentence.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::NoHostOnline => "No host that may do it is connected.",
            Self::OutsideWindow => "Its time of the day has not come.",
            Self::Busy => "Other maintenance of the repository is under way.",
            Self::StillWaiting => "The one that was due before it had not begun.",
            Self::NoRules => "No source group says which snapshots to keep.",
        }
    }
}

/// How much a repository held at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SizePoint)]
pub struct SizeView {
    /// When this was known.
    pub at: Timestamp,
    /// Bytes that all snapshots would restore to.
    pub total_size_bytes: u64,
    /// Bytes stored; absent while nobody has measured them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<u64>,
    /// Snapshots in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_count: Option<u64>,
}

/// Who has a repository for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Lease)]
pub struct LeaseView {
    /// The job.
    #[schema(value_type = Uuid)]
    pub holder_job: JobId,
    /// What it does.
    #[schema(value_type = JobOperation)]
    pub operation: Operation,
    /// The host it runs on.
    pub host_name: String,
    /// Since when.
    pub since: Timestamp,
}
