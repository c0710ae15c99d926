//! What is watched, how grave each of it is, and how it is set.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlertRule)]
pub enum Rule {
    /// An agent is of an older version than the server.
    AgentOutdated,
    /// A repository's check failed.
    CheckFailed,
    /// Another machine uses a host's identity.
    ClonedIdentity,
    /// A host's clock is off.
    ClockOff,
    /// A backup does not end.
    Endless,
    /// A backup failed or was cut off.
    Failed,
    /// A repository stays locked.
    LockStuck,
    /// A backup was due and never ran.
    Missed,
    /// A host has been away for long.
    Offline,
    /// Too much waits between the server and an agent.
    OutboxFull,
    /// An agent has lost what it had not delivered.
    OutboxReset,
    /// A backup could not read all files.
    Partial,
    /// A host's own policy refused a job.
    PolicyRefused,
    /// Data that nothing needs lies in a repository for long.
    PruneOverdue,
    /// The control plane's own backup failed, or is overdue.
    ServerBackup,
    /// The server's database is older than its agents remember.
    ServerSetBack,
    /// The newest snapshot is older than the objective.
    Stale,
    /// The disk that a repository lies on is nearly full.
    StorageLow,
    /// A backup's snapshot is not in the repository.
    Unverified,
}

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something endangers the next backup.
    Warning,
    /// Data may be lost if nobody acts.
    Critical,
}

/// How a rule is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuleSetting {
    pub(crate) rule: Rule,
    pub(crate) enabled: bool,
    /// How long the trouble must last before anybody hears of it.
    pub(crate) grace: SignedDuration,
}

impl Rule {
    /// All rules, by name.
    pub const ALL: [Self; 19] = [
        Self::AgentOutdated,
        Self::CheckFailed,
        Self::ClonedIdentity,
        Self::ClockOff,
        Self::Endless,
        Self::Failed,
        Self::LockStuck,
        Self::Missed,
        Self::Offline,
        Self::OutboxFull,
        Self::OutboxReset,
        Self::Partial,
        Self::PolicyRefused,
        Self::PruneOverdue,
        Self::ServerBackup,
        Self::ServerSetBack,
        Self::Stale,
        Self::StorageLow,
        Self::Unverified,
    ];

    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AgentOutdated => "agent_outdated",
            Self::CheckFailed => "check_failed",
            Self::ClonedIdentity => "cloned_identity",
            Self::ClockOff => "clock_off",
            Self::Endless => "endless",
            Self::Failed => "failed",
            Self::LockStuck => "lock_stuck",
            Self::Missed => "missed",
            Self::Offline => "offline",
            Self::OutboxFull => "outbox_full",
            Self::OutboxReset => "outbox_reset",
            Self::Partial => "partial",
            Self::PolicyRefused => "policy_refused",
            Self::PruneOverdue => "prune_overdue",
            Self::ServerBackup => "server_backup",
            Self::ServerSetBack => "server_set_back",
            Self::Stale => "stale",
            Self::StorageLow => "storage_low",
            Self::Unverified => "unverified",
        }
    }

    /// The rule named by `word`, if there is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == word)
    }

    /// Whether what it finds does not say since when it is so.
    pub(super) fn tells_no_time(self) -> bool {
        matches!(self, Self::AgentOutdated | Self::ClockOff | Self::OutboxFull)
    }

    /// Whether what it finds is wrong with a repository, and with every source group in it.
    pub(super) fn is_about_repository(self) -> bool {
        matches!(self, Self::CheckFailed | Self::PruneOverdue | Self::StorageLow)
    }

    /// Whether backups that this is wrong with grow stale for it.
    pub(super) fn makes_stale(self) -> bool {
        !matches!(self, Self::Stale | Self::Partial) && !self.is_about_repository()
    }

    /// How grave it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::AgentOutdated => Severity::Info,
            Self::ClockOff
            | Self::Endless
            | Self::Offline
            | Self::OutboxFull
            | Self::OutboxReset
            | Self::Partial
            | Self::PruneOverdue
            | Self::ServerSetBack
            | Self::StorageLow => Severity::Warning,
            Self::CheckFailed
            | Self::ClonedIdentity
            | Self::Failed
            | Self::LockStuck
            | Self::Missed
            | Self::PolicyRefused
            | Self::ServerBackup
            | Self::Stale
            | Self::Unverified => Severity::Critical,
        }
    }

    /// How it is set when nobody has changed it.
    pub(crate) fn default_setting(self) -> RuleSetting {
        let grace = match self {
            Self::Offline => SignedDuration::from_hours(24),
            Self::Stale => SignedDuration::from_hours(1),
            Self::AgentOutdated => SignedDuration::from_hours(24),
            Self::ClockOff | Self::Unverified => SignedDuration::from_mins(15),
            Self::CheckFailed
            | Self::ClonedIdentity
            | Self::Endless
            | Self::Failed
            | Self::LockStuck
            | Self::Missed
            | Self::OutboxFull
            | Self::OutboxReset
            | Self::Partial
            | Self::PolicyRefused
            | Self::PruneOverdue
            | Self::ServerBackup
            | Self::ServerSetBack
            | Self::StorageLow => SignedDuration::ZERO,
        };
        RuleSetting { rule: self, enabled: true, grace }
    }
}

impl Severity {
    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|it| it.as_str() == word)
    }
}
