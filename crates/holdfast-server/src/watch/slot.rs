//! What became of one slot of one schedule. Pure: the time is a fact like any other.

use holdfast_protocol::{JobId, message::schedule::Skipped};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::verdict::LATE;

/// How long after its start a server waits for the agents: they come back spread over time, with
/// what they did meanwhile.
const COME_BACK: SignedDuration = SignedDuration::from_mins(5);
/// How long a connected agent may take to tell what it holds.
const TELL: SignedDuration = SignedDuration::from_mins(60);

/// What became of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EvaluationOutcome)]
pub enum Outcome {
    /// Not known yet.
    Pending,
    /// The agent ran it when it was due.
    Fired,
    /// The agent ran it, or a later slot in its place, once the machine was on again.
    CaughtUp,
    /// It was not to run.
    Skipped,
    /// It could not begin.
    Blocked,
    /// The host's own policy forbade it.
    Refused,
    /// It was due and never ran.
    Missed,
}

/// Why a slot did not run when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EvaluationReason)]
pub enum Reason {
    /// No agent had enrolled.
    NotEnrolled,
    /// The host was not connected.
    HostOffline,
    /// The agent was connected, but did not have the schedule yet.
    NotInForce,
    /// The agent was connected, had the schedule and did not run it.
    AgentSilent,
    /// The schedule was switched off.
    SwitchedOff,
    /// The run before it had not ended.
    StillRunning,
    /// The window was closed, and before it opened the next run was due.
    OutsideWindow,
    /// The machine was off or asleep, as its agent says.
    MachineOff,
    /// The machine was off or asleep, and a later run made up for it.
    MadeUpLater,
    /// The host's own policy forbids it.
    Policy,
}

/// What is known about a slot.
#[derive(Debug, Clone)]
pub(super) struct SlotFacts {
    /// When it starts at the latest by its schedule.
    pub(super) expected_by: Timestamp,
    pub(super) now: Timestamp,
    pub(super) server_since: Timestamp,
    pub(super) enabled: bool,
    /// The job of this very slot, if the agent told of one.
    pub(super) own: Option<SlotJob>,
    /// Why it had no job, by the agent's own word.
    pub(super) told: Option<Skipped>,
    /// The first job of a later slot of the same schedule that made up for lost time.
    pub(super) later: Option<JobId>,
    /// The run of the same schedule that was under way when the slot came due.
    pub(super) blocker: Option<Blocker>,
    pub(super) link: LinkFacts,
}

/// The job that an agent ran for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotJob {
    pub(crate) id: JobId,
    /// When the agent fired the slot, by its own clock.
    pub(crate) fired_at: Timestamp,
    /// Whether the host's policy refused it.
    pub(crate) refused: bool,
}

/// A run in whose time a slot falls. An agent leaves such a slot out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocker {
    pub(crate) job: JobId,
    /// Whether it is known to have ended. One that has not may have died with the machine.
    pub(crate) ended: bool,
}

/// How the server stands with the host.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkFacts {
    pub(super) enrolled: bool,
    pub(super) connected: bool,
    /// Records that the agent still has to tell.
    pub(super) backlog: u64,
    /// Whether the agent has the newest schedules.
    pub(super) in_force: bool,
}

/// What became of it, why, and by which job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) outcome: Outcome,
    pub(super) reason: Option<Reason>,
    pub(super) job: Option<JobId>,
}

impl Decided {
    fn without_job(outcome: Outcome, reason: Reason) -> Self {
        Self { outcome, reason: Some(reason), job: None }
    }
}

/// Decides what can be decided.
pub(super) fn decide(facts: &SlotFacts) -> Option<Decided> {
    if let Some(job) = &facts.own {
        return Some(ran(facts, job));
    }
    let told = facts.told.map(|why| left_out(why, facts.blocker));
    if let Some(told) = told.filter(|told| told.outcome != Outcome::Missed) {
        return Some(told);
    }
    if let Some(later) = facts.later {
        let reason = Some(Reason::MadeUpLater);
        return Some(Decided { outcome: Outcome::CaughtUp, reason, job: Some(later) });
    }
    if told.is_some() {
        return told;
    }
    if !facts.enabled {
        return Some(Decided::without_job(Outcome::Skipped, Reason::SwitchedOff));
    }
    if facts.now <= deadline(facts) {
        return None;
    }
    let blocker = facts.blocker.filter(|it| it.ended || facts.link.connected);
    Some(match blocker {
        Some(blocker) => blocked(Some(blocker)),
        None => Decided::without_job(Outcome::Missed, why(facts.link)),
    })
}

/// What the agent's word on a slot without a job comes to.
fn left_out(why: Skipped, blocker: Option<Blocker>) -> Decided {
    match why {
        Skipped::MachineOff => Decided::without_job(Outcome::Missed, Reason::MachineOff),
        Skipped::StillRunning => blocked(blocker),
        Skipped::OutsideWindow => Decided::without_job(Outcome::Skipped, Reason::OutsideWindow),
    }
}

fn blocked(blocker: Option<Blocker>) -> Decided {
    let reason = Some(Reason::StillRunning);
    Decided { outcome: Outcome::Blocked, reason, job: blocker.map(|blocker| blocker.job) }
}

fn ran(facts: &SlotFacts, job: &SlotJob) -> Decided {
    let (outcome, reason) = if job.refused {
        (Outcome::Refused, Some(Reason::Policy))
    } else if job.fired_at.duration_since(facts.expected_by) > LATE {
        (Outcome::CaughtUp, None)
    } else {
        (Outcome::Fired, None)
    };
    Decided { outcome, reason, job: Some(job.id) }
}

/// Until when the agent may tell of the slot.
fn deadline(facts: &SlotFacts) -> Timestamp {
    let by = |at: Timestamp, by| at.checked_add(by).unwrap_or(Timestamp::MAX);
    let patience = if facts.link.connected && facts.link.backlog > 0 { TELL } else { LATE };
    by(facts.expected_by, patience).max(by(facts.server_since, COME_BACK))
}

fn why(link: LinkFacts) -> Reason {
    if !link.enrolled {
        Reason::NotEnrolled
    } else if !link.connected {
        Reason::HostOffline
    } else if !link.in_force {
        Reason::NotInForce
    } else {
        Reason::AgentSilent
    }
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Pending,
        Self::Fired,
        Self::CaughtUp,
        Self::Skipped,
        Self::Blocked,
        Self::Refused,
        Self::Missed,
    ];

    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Fired => "fired",
            Self::CaughtUp => "caught_up",
            Self::Skipped => "skipped",
            Self::Blocked => "blocked",
            Self::Refused => "refused",
            Self::Missed => "missed",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

impl Reason {
    const ALL: [Self; 10] = [
        Self::NotEnrolled,
        Self::HostOffline,
        Self::NotInForce,
        Self::AgentSilent,
        Self::SwitchedOff,
        Self::StillRunning,
        Self::OutsideWindow,
        Self::MachineOff,
        Self::MadeUpLater,
        Self::Policy,
    ];

    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotEnrolled => "not_enrolled",
            Self::HostOffline => "host_offline",
            Self::NotInForce => "not_in_force",
            Self::AgentSilent => "agent_silent",
            Self::SwitchedOff => "switched_off",
            Self::StillRunning => "still_running",
            Self::OutsideWindow => "outside_window",
            Self::MachineOff => "machine_off",
            Self::MadeUpLater => "made_up_later",
            Self::Policy => "policy",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// What it was, in one sentence.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::NotEnrolled => "It did not run: no agent had enrolled for the host.",
            Self::HostOffline => {
                "It did not run: the host was not connected, and has told nothing."
            }
            Self::NotInForce => "It did not run: the agent did not have the schedule yet.",
            Self::AgentSilent => {
                "It did not run: the agent was connected and had the schedule, but started nothing."
            }
            Self::SwitchedOff => "It was not to run: the schedule was switched off.",
            Self::StillRunning => "It could not begin: the run before it had not ended.",
            Self::OutsideWindow => {
                "Its window was closed, and before it opened the next run was due."
            }
            Self::MachineOff => {
                "It did not run: the machine or its agent was off or asleep, as the agent says."
            }
            Self::MadeUpLater => "The machine was off or asleep; a later run made up for it.",
            Self::Policy => "The host's own policy forbade it.",
        }
    }

    /// What to do about it; empty when nothing needs to be done.
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Self::NotEnrolled => "Enrol an agent on the machine.",
            Self::HostOffline => "Start the machine or its agent; it makes up for the last run.",
            Self::NotInForce => "Look at the agent's log if it still does not take the schedule.",
            Self::AgentSilent => "Look at the agent's log and at the host's clock and time zone.",
            Self::SwitchedOff => "Switch the schedule on if it should run.",
            Self::StillRunning => "See why that run took so long; cancel it if it hangs.",
            Self::MachineOff => {
                "Leave the machine on at that time, or let the schedule make up for what it missed."
            }
            Self::MadeUpLater | Self::OutsideWindow => "",
            Self::Policy => "Change the policy file on the host, or the source group.",
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn job(number: u128) -> JobId {
        JobId::from_uuid(Uuid::from_u128(number))
    }

    /// A minute after a slot, on a server that has long been up, with a host that says nothing.
    fn quiet() -> SlotFacts {
        SlotFacts {
            expected_by: at("2026-11-21T03:00:00Z"),
            now: at("2026-11-21T03:01:00Z"),
            server_since: at("2026-11-01T00:00:00Z"),
            enabled: true,
            own: None,
            told: None,
            later: None,
            blocker: None,
            link: LinkFacts { enrolled: true, connected: true, backlog: 0, in_force: true },
        }
    }

    fn fired(at_time: &str) -> Option<SlotJob> {
        Some(SlotJob { id: job(1), fired_at: at(at_time), refused: false })
    }

    #[test]
    fn every_slot_is_decided_as_the_table_says() {
        type Change = fn(&mut SlotFacts);
        type Row = (&'static str, Change, Option<(Outcome, Option<Reason>)>);
        let late = "2026-11-21T03:15:01Z";
        assert!(at(late) > quiet().expected_by + LATE);
        let table: [Row; 23] = [
            ("a minute later", |_| {}, None),
            ("in time", |f| f.own = fired("2026-11-21T03:00:01Z"), ok(Outcome::Fired)),
            ("after sleep", |f| f.own = fired("2026-11-21T08:12:00Z"), ok(Outcome::CaughtUp)),
            ("a clock behind", |f| f.own = fired("2026-11-21T02:00:00Z"), ok(Outcome::Fired)),
            (
                "made up",
                |f| f.later = Some(job(2)),
                because(Outcome::CaughtUp, Reason::MadeUpLater),
            ),
            (
                "a word of the window",
                |f| f.told = Some(Skipped::OutsideWindow),
                because(Outcome::Skipped, Reason::OutsideWindow),
            ),
            (
                "a word of a run before it",
                |f| f.told = Some(Skipped::StillRunning),
                because(Outcome::Blocked, Reason::StillRunning),
            ),
            (
                "a word of the machine",
                |f| f.told = Some(Skipped::MachineOff),
                because(Outcome::Missed, Reason::MachineOff),
            ),
            ("off and made up", off_and_made_up, because(Outcome::CaughtUp, Reason::MadeUpLater)),
            ("not before its window opens", windowed, None),
            ("started as its window opened", fired_in_window, ok(Outcome::Fired)),
            ("switched off", |f| f.enabled = false, because(Outcome::Skipped, Reason::SwitchedOff)),
            ("refused", refused, because(Outcome::Refused, Reason::Policy)),
            ("silent", overdue, because(Outcome::Missed, Reason::AgentSilent)),
            ("offline", offline, because(Outcome::Missed, Reason::HostOffline)),
            ("not enrolled", nobody, because(Outcome::Missed, Reason::NotEnrolled)),
            ("not in force", old_config, because(Outcome::Missed, Reason::NotInForce)),
            ("still telling", telling, None),
            ("telling for an hour", tells_long, because(Outcome::Missed, Reason::AgentSilent)),
            ("server just started", just_started, None),
            ("in a run", |f| within_run(f, false), because(Outcome::Blocked, Reason::StillRunning)),
            ("in a dead run", dead_run, because(Outcome::Missed, Reason::HostOffline)),
            (
                "a minute into a run",
                |f| f.blocker = Some(Blocker { job: job(3), ended: true }),
                None,
            ),
        ];
        for (what, change, wanted) in table {
            let mut facts = quiet();
            change(&mut facts);
            let decided = decide(&facts).map(|decided| (decided.outcome, decided.reason));
            assert_eq!(decided, wanted, "{what}");
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it fills a column of the table")]
    fn ok(outcome: Outcome) -> Option<(Outcome, Option<Reason>)> {
        Some((outcome, None))
    }

    #[expect(clippy::unnecessary_wraps, reason = "it fills a column of the table")]
    fn because(outcome: Outcome, reason: Reason) -> Option<(Outcome, Option<Reason>)> {
        Some((outcome, Some(reason)))
    }

    fn refused(facts: &mut SlotFacts) {
        facts.own = fired("2026-11-21T03:00:01Z").map(|job| SlotJob { refused: true, ..job });
    }

    fn off_and_made_up(facts: &mut SlotFacts) {
        facts.told = Some(Skipped::MachineOff);
        facts.later = Some(job(2));
    }

    fn windowed(facts: &mut SlotFacts) {
        facts.expected_by = at("2026-11-21T22:00:00Z");
        facts.now = at("2026-11-21T22:01:00Z");
    }

    fn fired_in_window(facts: &mut SlotFacts) {
        windowed(facts);
        facts.own = fired("2026-11-21T22:00:10Z");
    }

    fn overdue(facts: &mut SlotFacts) {
        facts.now = at("2026-11-21T03:15:01Z");
    }

    fn offline(facts: &mut SlotFacts) {
        overdue(facts);
        facts.link.connected = false;
    }

    fn nobody(facts: &mut SlotFacts) {
        offline(facts);
        facts.link.enrolled = false;
    }

    fn old_config(facts: &mut SlotFacts) {
        overdue(facts);
        facts.link.in_force = false;
    }

    fn telling(facts: &mut SlotFacts) {
        overdue(facts);
        facts.link.backlog = 7;
    }

    fn tells_long(facts: &mut SlotFacts) {
        telling(facts);
        facts.now = at("2026-11-21T04:00:01Z");
    }

    fn within_run(facts: &mut SlotFacts, ended: bool) {
        overdue(facts);
        facts.blocker = Some(Blocker { job: job(3), ended });
    }

    fn dead_run(facts: &mut SlotFacts) {
        within_run(facts, false);
        facts.link.connected = false;
    }

    fn just_started(facts: &mut SlotFacts) {
        offline(facts);
        facts.server_since = at("2026-11-21T03:12:00Z");
    }

    #[test]
    fn words_lead_back_to_what_they_name() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_word(outcome.as_str()), Some(outcome));
        }
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.as_str()), Some(reason));
            assert!(reason.message().ends_with('.'));
        }
    }
}
