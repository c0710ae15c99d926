//! Who is protected: a pure judgement of facts, each with its age.
//!
//! ```text
//! facts (what was claimed, what the repository was seen to hold, what was due, who is silent)
//!   └─ judge ── Verdict: a standing, the reasons for it, and when time alone will change it
//! ```
//!
//! A claim is not enough: green needs a snapshot that somebody other than the job has seen in the
//! repository. Silence is never good news, so every promise has a moment at which it is broken.

mod reason;

use holdfast_protocol::{
    JobId,
    message::job::{JobError, Status},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::view::Calendar;

pub(crate) use reason::moment;
pub use reason::{Cause, Reason};

/// How late a planned run may begin before it counts as overdue.
pub const LATE: SignedDuration = SignedDuration::from_mins(15);
/// How long a host may be away before that alone is a danger.
pub const AWAY: SignedDuration = SignedDuration::from_hours(24);
/// How long a new snapshot may go unseen in the repository: the agent lists it within seconds, or
/// when it next meets the server.
pub const UNSEEN: SignedDuration = SignedDuration::from_mins(15);
/// How long one run may take before it counts as one that never ends.
pub const ENDLESS: SignedDuration = SignedDuration::from_hours(24);
/// How far a host's clock may be off, in milliseconds.
pub const CLOCK_OFF_MS: i64 = 60_000;
/// The objective of a group that nobody backs up on a schedule.
pub const OBJECTIVE_UNSCHEDULED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long the data of forgotten snapshots may lie in a repository that is pruned at no cadence: a
/// month, and some days more.
pub const UNPRUNED: SignedDuration = SignedDuration::from_hours(35 * 24);
/// How late a prune may be that comes at a cadence: it waits for a host, its window, and its turn.
pub const PRUNE_GRACE: SignedDuration = SignedDuration::from_hours(24);
/// What a schedule's longest pause is given on top, for the run itself.
pub const OBJECTIVE_SLACK: SignedDuration = SignedDuration::from_hours(2);

/// How well a source group or a host is protected, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A snapshot younger than the objective was seen in the repository, and nothing is wrong.
    Protected,
    /// Somebody switched its schedule off.
    Paused,
    /// A young enough snapshot is there, but something endangers the next one.
    AtRisk,
    /// The newest snapshot that can be restored is older than the objective.
    Stale,
    /// No snapshot was ever seen.
    Never,
}

impl Standing {
    /// The standing by its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Protected, Self::Paused, Self::AtRisk, Self::Stale, Self::Never];
        all.into_iter().find(|standing| standing.as_str() == word)
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Paused => "paused",
            Self::AtRisk => "at_risk",
            Self::Stale => "stale",
            Self::Never => "never",
        }
    }
}

/// How well something is protected, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Verdict {
    /// The answer in one word.
    pub standing: Standing,
    /// Why it is not better, the gravest first; empty when protected.
    pub reasons: Vec<Reason>,
    /// When the newest snapshot was made that was seen in the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restorable_at: Option<Timestamp>,
    /// When time alone will change the answer.
    #[serde(skip)]
    pub until: Option<Timestamp>,
    /// Whether a run is under way that may still make up for what is missing.
    #[serde(skip)]
    pub under_way: bool,
}

/// What is known about one source group.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The present.
    pub now: Timestamp,
    /// How old the newest snapshot may be.
    pub objective: SignedDuration,
    /// Its host.
    pub host: HostFacts,
    /// When it should run.
    pub plan: Plan,
    /// The newest run that ended and was not cancelled by a person.
    pub last: Option<Ended>,
    /// The same, but one that did begin: what it showed is not mended by one that never ran.
    pub ran: Option<Ended>,
    /// The newest run that says it made a snapshot.
    pub claim: Option<Claim>,
    /// The newest snapshot that was seen in the repository.
    pub seen: Option<Seen>,
    /// When the repository was last listed, by the agent's clock.
    pub listed_at: Option<Timestamp>,
    /// When the newest run was due or ordered.
    pub last_run_at: Option<Timestamp>,
    /// Since when a run is under way.
    pub running_since: Option<Timestamp>,
    /// How the repository is kept.
    pub upkeep: Upkeep,
}

/// What is known about the repository that a group is backed up into.
#[derive(Debug, Clone, Default)]
pub struct Upkeep {
    /// The newest check, when it failed; its time is that of the first that did.
    pub check_failed: Option<Ended>,
    /// What was forgotten, and not pruned since.
    pub unpruned: Option<Unpruned>,
    /// Too little room on the disk of the host that it lies on.
    pub low_room: Option<LowRoom>,
}

/// Snapshots that were forgotten, and whose data no prune has freed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpruned {
    /// When the first of them were forgotten.
    pub forgot_at: Timestamp,
    /// When a prune is overdue.
    pub due_at: Timestamp,
}

impl Unpruned {
    /// What was forgotten at `forgot_at` where prunes come by `cadence`: the next one should free
    /// its data. Where nobody has said when prunes come, it may lie there for [`UNPRUNED`].
    #[must_use]
    pub fn new(forgot_at: Timestamp, cadence: Option<&Calendar>) -> Self {
        let slot = cadence.and_then(|cadence| cadence.next_after(forgot_at));
        let due_at = match slot {
            Some(slot) => slot.checked_add(PRUNE_GRACE),
            None => forgot_at.checked_add(UNPRUNED),
        };
        Self { forgot_at, due_at: due_at.unwrap_or(Timestamp::MAX) }
    }
}

/// A disk that is nearly full.
#[derive(Debug, Clone, Copy)]
pub struct LowRoom {
    /// Since when it is.
    pub since: Timestamp,
    /// How much of it is free.
    pub free_percent: u64,
}

/// What is known about a host as a whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostFacts {
    /// Whether an agent has ever enrolled.
    pub enrolled: bool,
    /// Whether the agent is connected.
    pub online: bool,
    /// When the agent was last heard, by the server's clock.
    pub last_seen_at: Option<Timestamp>,
    /// How far the agent's clock is ahead, in milliseconds.
    pub clock_offset_ms: Option<i64>,
}

/// When a source group should run on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Only when somebody asks.
    OnRequest,
    /// It has a schedule that somebody switched off.
    Paused,
    /// It has a schedule.
    Due {
        /// The last slot since the schedule was set, if there was one.
        previous: Option<Timestamp>,
        /// The next slot.
        next: Option<Timestamp>,
    },
}

/// A run that ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Which.
    pub job_id: JobId,
    /// When the server learned of it, by its own clock.
    pub ended_at: Timestamp,
    /// How.
    pub status: Status,
    /// Why it was not good.
    pub error: Option<JobError>,
}

/// A run that says it made a snapshot. All its times are the agent's.
#[derive(Debug, Clone)]
pub struct Claim {
    /// restic's id of it, whole or abbreviated.
    pub snapshot_id: String,
    /// When the run began.
    pub began_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// When the server learned of it, by its own clock.
    pub ended_at: Timestamp,
}

/// A snapshot that was seen in the repository.
#[derive(Debug, Clone)]
pub struct Seen {
    /// restic's full id.
    pub snapshot_id: String,
    /// When it was made, by the agent's clock.
    pub taken_at: Timestamp,
    /// When it was first seen, by the server's clock.
    pub first_seen_at: Timestamp,
}

impl Seen {
    /// When it was made. A clock that is ahead must not make an old snapshot look fresh, so the
    /// earlier time counts.
    fn made_at(&self) -> Timestamp {
        self.taken_at.min(self.first_seen_at)
    }
}

/// Judges one source group.
#[must_use]
pub fn judge(facts: &Facts) -> Verdict {
    let restorable_at = facts.seen.as_ref().map(Seen::made_at);
    let mut reasons = Vec::new();
    let standing = if facts.plan == Plan::Paused {
        reasons.push(reason::paused(restorable_at));
        Standing::Paused
    } else {
        let age = freshness(facts, restorable_at, &mut reasons);
        reasons.extend(outcome(facts));
        reasons.extend(silence(facts));
        reasons.extend(neglect(facts));
        if age == Standing::Protected && !reasons.is_empty() { Standing::AtRisk } else { age }
    };
    let under_way = facts.running_since.is_some_and(|at| facts.now.duration_since(at) <= ENDLESS);
    let until = next_change(facts, restorable_at);
    Verdict { standing, reasons, restorable_at, until, under_way }
}

/// Judges a host: it stands as its worst source group does. Each reason names its group.
#[must_use]
pub fn judge_host<'a>(
    enrolled: bool,
    groups: impl Iterator<Item = (&'a str, &'a Verdict)>,
) -> Verdict {
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by_key(|(_, verdict)| std::cmp::Reverse(verdict.standing));
    let Some((_, worst)) = groups.first() else { return without_groups(enrolled) };
    let named = |(name, verdict): &(&str, &Verdict)| {
        let group = (*name).to_owned();
        let of_group =
            move |reason: &Reason| Reason { group: Some(group.clone()), ..reason.clone() };
        verdict.reasons.iter().map(of_group).collect::<Vec<_>>()
    };
    Verdict {
        standing: worst.standing,
        reasons: groups.iter().flat_map(named).collect(),
        // A host can be brought back as far as all of its groups can.
        restorable_at: groups.iter().map(|(_, verdict)| verdict.restorable_at).min().flatten(),
        until: groups.iter().filter_map(|(_, verdict)| verdict.until).min(),
        under_way: groups.iter().any(|(_, verdict)| verdict.under_way),
    }
}

fn without_groups(enrolled: bool) -> Verdict {
    let reason = if enrolled { reason::no_groups() } else { reason::not_enrolled() };
    Verdict {
        standing: Standing::Never,
        reasons: vec![reason],
        restorable_at: None,
        until: None,
        under_way: false,
    }
}

/// Is there a snapshot, was it seen, and is it young enough?
fn freshness(
    facts: &Facts,
    restorable_at: Option<Timestamp>,
    reasons: &mut Vec<Reason>,
) -> Standing {
    let belief = belief(facts);
    match (belief, &facts.claim) {
        (Belief::Unseen, Some(claim)) => reasons.push(reason::unseen(claim)),
        (Belief::Missing, Some(claim)) => reasons.push(reason::missing(claim)),
        (Belief::Seen | Belief::Waiting | Belief::Unseen | Belief::Missing, _) => {}
    }
    let Some(restorable_at) = restorable_at else {
        return never(facts, belief, reasons);
    };
    if facts.now.duration_since(restorable_at) <= facts.objective {
        return Standing::Protected;
    }
    reasons.insert(0, reason::stale(restorable_at, facts.objective));
    Standing::Stale
}

fn never(facts: &Facts, belief: Belief, reasons: &mut Vec<Reason>) -> Standing {
    if !facts.host.enrolled {
        reasons.insert(0, reason::not_enrolled());
        return Standing::Never;
    }
    if let Some(claim) = facts.claim.as_ref().filter(|_| belief == Belief::Waiting) {
        reasons.push(reason::unseen(claim));
        return Standing::AtRisk;
    }
    if facts.claim.is_none() {
        reasons.insert(0, reason::no_backup(facts.running_since.is_some()));
    }
    Standing::Never
}

/// How long restic's short ids are.
const SHORT_ID: usize = 8;

/// Whether the repository bears out what the newest run claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// It does, or nothing is claimed.
    Seen,
    /// The list of snapshots is still under way.
    Waiting,
    /// It should have come by now.
    Unseen,
    /// It came, and the snapshot is not in it.
    Missing,
}

fn belief(facts: &Facts) -> Belief {
    let Some(claim) = &facts.claim else { return Belief::Seen };
    // Old versions of restic tell only the beginning of the id; one shorter than theirs says
    // nothing. A newer snapshot of the group proves as much as the claimed one.
    let confirmed = facts.seen.as_ref().is_some_and(|seen| {
        let same = seen.snapshot_id.starts_with(&claim.snapshot_id);
        (same && claim.snapshot_id.len() >= SHORT_ID) || seen.taken_at >= claim.began_at
    });
    if confirmed {
        Belief::Seen
    } else if facts.listed_at.is_some_and(|at| at >= claim.finished_at) {
        Belief::Missing
    } else if facts.now.duration_since(claim.ended_at) <= UNSEEN {
        Belief::Waiting
    } else {
        Belief::Unseen
    }
}

/// How the newest run ended; when it never began, also how the one before it did.
fn outcome(facts: &Facts) -> Vec<Reason> {
    let missed = facts.last.as_ref().filter(|last| last.status == Status::Missed);
    let before = missed.and(facts.ran.as_ref());
    [facts.last.as_ref(), before].into_iter().flatten().filter_map(of_end).collect()
}

fn of_end(last: &Ended) -> Option<Reason> {
    match last.status {
        Status::Failed => Some(reason::failed(last)),
        Status::Interrupted => Some(reason::interrupted(last)),
        Status::Missed => Some(reason::missed(last)),
        Status::Partial => Some(reason::partial(last)),
        Status::Queued
        | Status::Running
        | Status::Paused
        | Status::Succeeded
        | Status::Cancelled => None,
    }
}

/// What should have been heard by now, and was not.
fn silence(facts: &Facts) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let now = facts.now;
    let told_missed = facts.last.as_ref().is_some_and(|last| last.status == Status::Missed);
    if let Some(due) = overdue(facts).filter(|_| !told_missed) {
        reasons.push(reason::overdue(due));
    }
    if let Some(since) = facts.running_since.filter(|since| now.duration_since(*since) > ENDLESS) {
        reasons.push(reason::endless(since));
    }
    let host = &facts.host;
    if let Some(seen) = host.last_seen_at.filter(|_| host.enrolled && !host.online)
        && now.duration_since(seen) > AWAY
    {
        reasons.push(reason::offline(seen));
    }
    if let Some(offset) = host.clock_offset_ms.filter(|ms| ms.abs() >= CLOCK_OFF_MS) {
        reasons.push(reason::clock_off(offset));
    }
    reasons
}

/// What endangers the repository itself.
fn neglect(facts: &Facts) -> Vec<Reason> {
    let upkeep = &facts.upkeep;
    let unpruned = upkeep.unpruned.filter(|unpruned| facts.now >= unpruned.due_at);
    let unpruned = unpruned.map(reason::prune_overdue);
    let check = upkeep.check_failed.as_ref().map(reason::check_failed);
    let room = upkeep.low_room.map(reason::storage_low);
    [check, room, unpruned].into_iter().flatten().collect()
}

/// The slot that passed without a run.
fn overdue(facts: &Facts) -> Option<Timestamp> {
    let Plan::Due { previous: Some(due), .. } = facts.plan else { return None };
    let late = facts.now.duration_since(due) > LATE;
    let ran = facts.last_run_at.is_some_and(|at| at >= due);
    // A long run that is still going stands in for the slot it ran into.
    (late && !ran && facts.running_since.is_none()).then_some(due)
}

/// The first moment after now at which one of the rules above may answer otherwise.
fn next_change(facts: &Facts, restorable_at: Option<Timestamp>) -> Option<Timestamp> {
    if facts.plan == Plan::Paused {
        return None;
    }
    let after =
        |at: Option<Timestamp>, by: SignedDuration| at.and_then(|at| at.checked_add(by).ok());
    let (previous, next) = match facts.plan {
        Plan::Due { previous, next } => (previous, next),
        Plan::OnRequest | Plan::Paused => (None, None),
    };
    let away = facts.host.last_seen_at.filter(|_| !facts.host.online);
    let moments = [
        after(restorable_at, facts.objective),
        after(facts.claim.as_ref().map(|claim| claim.ended_at), UNSEEN),
        after(previous, LATE),
        after(next, LATE),
        after(facts.running_since, ENDLESS),
        after(away, AWAY),
        facts.upkeep.unpruned.map(|unpruned| unpruned.due_at),
    ];
    moments.into_iter().flatten().filter(|at| *at >= facts.now).min()
}

#[cfg(test)]
mod tests;
