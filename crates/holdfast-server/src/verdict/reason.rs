//! Why something is not protected, in words, and what to do about it.
//!
//! Times in the sentences are absolute: a sentence that counted minutes would be another one at
//! every look.

use holdfast_protocol::JobId;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Claim, Ended, LowRoom, Unpruned};

/// One thing that keeps a source group or host from being protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = VerdictReason)]
pub struct Reason {
    /// Stable and machine-readable.
    pub code: Cause,
    /// The source group, in the verdict of a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Since when, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The job that showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub job_id: Option<JobId>,
    /// That job's own error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// One sentence for people.
    pub message: String,
    /// What to do about it.
    pub action: String,
}

/// The kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = VerdictCause)]
pub enum Cause {
    /// The repository's last check failed.
    CheckFailed,
    /// The host's clock is off.
    ClockOff,
    /// A run does not end.
    Endless,
    /// The last run failed.
    Failed,
    /// The last run was cut off.
    Interrupted,
    /// The last run was due and never began.
    Missed,
    /// Nothing was ever backed up.
    NoBackup,
    /// The host has no source groups.
    NoGroups,
    /// No agent has enrolled.
    NotEnrolled,
    /// The host has been away for long.
    Offline,
    /// A slot has passed without a run.
    Overdue,
    /// The last run could not read everything.
    Partial,
    /// Somebody switched the schedule off.
    Paused,
    /// Data that nothing needs lies in the repository for long.
    PruneOverdue,
    /// The repository does not hold the snapshot that the last run claims.
    SnapshotMissing,
    /// Nobody has seen the last run's snapshot yet.
    SnapshotUnseen,
    /// The newest snapshot is too old.
    Stale,
    /// The disk that the repository lies on is nearly full.
    StorageLow,
}

fn reason(code: Cause, message: impl Into<String>, action: impl Into<String>) -> Reason {
    Reason {
        code,
        group: None,
        since: None,
        job_id: None,
        error_code: None,
        message: message.into(),
        action: action.into(),
    }
}

impl Reason {
    fn since(self, at: Timestamp) -> Self {
        Self { since: Some(at), ..self }
    }

    fn of(self, run: &Ended) -> Self {
        let error_code = run.error.as_ref().map(|error| error.code.clone());
        Self { since: Some(run.ended_at), job_id: Some(run.job_id), error_code, ..self }
    }
}

pub(super) fn paused(restorable_at: Option<Timestamp>) -> Reason {
    let newest = match restorable_at {
        Some(at) => format!("its newest snapshot is of {}", moment(at)),
        None => "it has no snapshot".to_owned(),
    };
    reason(
        Cause::Paused,
        format!("The schedule is switched off, and {newest}."),
        "Switch the schedule on when it should be backed up again.",
    )
}

pub(super) fn not_enrolled() -> Reason {
    reason(
        Cause::NotEnrolled,
        "No agent has enrolled for this host yet.",
        "Run the enrolment command on the machine; `holdfast host renew` makes a new one.",
    )
}

pub(super) fn no_groups() -> Reason {
    reason(
        Cause::NoGroups,
        "Nothing of this host is backed up: it has no source groups.",
        "Add a source group that says what to back up.",
    )
}

pub(super) fn no_backup(running: bool) -> Reason {
    if running {
        return reason(Cause::NoBackup, "The first backup is still running.", "Wait for its end.");
    }
    reason(Cause::NoBackup, "It has never been backed up.", "Back it up now.")
}

pub(super) fn unseen(claim: &Claim) -> Reason {
    reason(
        Cause::SnapshotUnseen,
        "The last backup's snapshot has not yet been seen in the repository.",
        "Check that the host is online and can read the repository; its agent then lists it.",
    )
    .since(claim.ended_at)
}

pub(super) fn missing(claim: &Claim) -> Reason {
    reason(
        Cause::SnapshotMissing,
        "The last backup says that it made a snapshot, but the repository does not hold it.",
        "Back it up again; if the snapshot is still missing, look at the job's log and check the \
         repository.",
    )
    .since(claim.ended_at)
}

pub(super) fn stale(restorable_at: Timestamp, objective: SignedDuration) -> Reason {
    reason(
        Cause::Stale,
        format!(
            "The newest snapshot is of {}, and should never be older than {}.",
            moment(restorable_at),
            length(objective)
        ),
        "See why no newer backup came, then back it up now.",
    )
    .since(restorable_at.saturating_add(objective).unwrap_or(restorable_at))
}

pub(super) fn failed(run: &Ended) -> Reason {
    ended(Cause::Failed, "The last backup failed", run, "Look at the job's log, then try again.")
}

pub(super) fn interrupted(run: &Ended) -> Reason {
    ended(Cause::Interrupted, "The last backup was cut off", run, "Back it up again.")
}

fn ended(code: Cause, what: &str, run: &Ended, otherwise: &str) -> Reason {
    let Some(error) = &run.error else {
        return reason(code, format!("{what}."), otherwise).of(run);
    };
    let action = if error.action.is_empty() { otherwise } else { &error.action };
    reason(code, format!("{what}: {}", error.message), action).of(run)
}

pub(super) fn missed(run: &Ended) -> Reason {
    reason(
        Cause::Missed,
        "The last backup was due and never ran.",
        "Check that the machine is on and its agent runs; it makes up for the last missed backup.",
    )
    .of(run)
}

pub(super) fn partial(run: &Ended) -> Reason {
    reason(
        Cause::Partial,
        "The last backup could not read all files.",
        "Look at the job's log for the files, and give the agent access or exclude them.",
    )
    .of(run)
}

pub(super) fn overdue(due: Timestamp) -> Reason {
    reason(
        Cause::Overdue,
        format!("The backup that was due at {} has not begun.", moment(due)),
        "Check that the machine is on and its agent runs.",
    )
    .since(due)
}

pub(super) fn endless(since: Timestamp) -> Reason {
    reason(
        Cause::Endless,
        format!("A backup has been running since {} and does not end.", moment(since)),
        "Look at the job's progress and log; cancel it if it hangs.",
    )
    .since(since)
}

pub(super) fn offline(seen: Timestamp) -> Reason {
    reason(
        Cause::Offline,
        format!("The host has not been heard since {}.", moment(seen)),
        "Start the machine or its agent, or remove the host if it is gone for good.",
    )
    .since(seen)
}

pub(super) fn check_failed(check: &Ended) -> Reason {
    ended(
        Cause::CheckFailed,
        "The repository's last check failed",
        check,
        "Look at the check's log; until a check passes, do not rely on what is stored there.",
    )
}

pub(super) fn prune_overdue(unpruned: Unpruned) -> Reason {
    reason(
        Cause::PruneOverdue,
        format!(
            "Snapshots were forgotten at {}, and no prune has freed their space since.",
            moment(unpruned.forgot_at)
        ),
        "Prune the repository on the host that keeps it in order.",
    )
    .since(unpruned.due_at)
}

pub(super) fn storage_low(room: LowRoom) -> Reason {
    reason(
        Cause::StorageLow,
        format!("Only {} % of the disk that the repository lies on is free.", room.free_percent),
        "Free or add room there; forgetting old snapshots frees some once the repository is pruned.",
    )
    .since(room.since)
}

pub(super) fn clock_off(offset_ms: i64) -> Reason {
    let way = if offset_ms > 0 { "ahead of" } else { "behind" };
    // Whole minutes: the seconds differ from look to look.
    let minutes = offset_ms.abs() / 60_000;
    reason(
        Cause::ClockOff,
        format!("The host's clock is {minutes} min or more {way} the server's."),
        "Set the clock of the host, best by NTP.",
    )
}

/// `2026-11-21 03:00 UTC`.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `26 h`, `90 min`, `7 days`.
pub(crate) fn length(length: SignedDuration) -> String {
    let minutes = length.as_mins();
    match minutes {
        ..180 => format!("{minutes} min"),
        180..4320 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}
