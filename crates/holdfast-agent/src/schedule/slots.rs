//! Which slots are due. Pure: the time is an argument.
//!
//! A slot is named by its nominal time. After downtime or sleep at most one slot per schedule is
//! made up for, the latest: a backup brings the host up to date however many were missed.

use std::collections::BTreeMap;

use holdfast_protocol::{
    HostId, JobId, ScheduleId,
    message::schedule::{PASSED_MAX, Passed, Schedule, Set, Skipped},
};
use jiff::{SignedDuration, Timestamp};

use super::cron::Rule;
use crate::state::{Firing, Mark, Settings, Slot};

/// The latest slot of `rule` after `since` and not after `now`.
///
/// Looking back is done by looking forward from an ever earlier time, because the same search then
/// decides for every slot, also where the clock jumps: croner's two directions need not agree
/// there.
#[must_use]
pub fn latest_due(rule: &Rule, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let mut reach = SignedDuration::from_hours(2);
    loop {
        let from = now.checked_sub(reach).map_or(since, |from| from.max(since));
        if let Some(slot) = last_between(rule, from, now) {
            return Some(slot);
        }
        if from <= since {
            return None;
        }
        reach = reach.saturating_mul(8);
    }
}

fn last_between(rule: &Rule, after: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let due = |after| rule.next_after(after).filter(|slot| *slot <= now);
    std::iter::successors(due(after), |slot| due(*slot)).last()
}

/// The marks that `set` should have at `now`, given those it had.
///
/// A schedule that is new, was edited or was disabled starts at `now`: its past is nobody's debt.
/// A mark in the future comes from a clock that was wrong; it is pulled back, or the schedule would
/// be silent until then.
#[must_use]
pub fn settle(
    set: &Set,
    marks: &BTreeMap<ScheduleId, Mark>,
    now: Timestamp,
) -> BTreeMap<ScheduleId, Mark> {
    let enabled = set.schedules.iter().filter(|schedule| schedule.enabled);
    let mark = |schedule: &Schedule| match marks.get(&schedule.id) {
        Some(mark) if mark.belongs_to(schedule) => {
            Mark { fired_through: mark.fired_through.min(now), ..mark.clone() }
        }
        _ => Mark::new(schedule, now),
    };
    enabled.map(|schedule| (schedule.id, mark(schedule))).collect()
}

/// Whether a slot of `schedule` may start at `now`, by the clock of the schedule's zone.
#[must_use]
pub fn is_open(schedule: &Schedule, rule: &Rule, now: Timestamp) -> bool {
    let Some(window) = schedule.timing.window else { return true };
    window.contains(rule.minute_of_day(now))
}

/// Why the slot at `scheduled_at` is left out at `now`, if it is: a schedule that does not make up
/// for lost time starts a slot on time or not at all. Waiting for the window to open is on time.
#[must_use]
pub fn left_out(
    schedule: &Schedule,
    rule: &Rule,
    due_at: Timestamp,
    now: Timestamp,
) -> Option<Skipped> {
    let late = now.duration_since(due_at) > LATE && is_open(schedule, rule, due_at);
    (late && !schedule.timing.catch_up).then_some(Skipped::MachineOff)
}

/// A slot that starts later than this was not started on time.
const LATE: SignedDuration = SignedDuration::from_mins(10);

/// The slots that lie between `since` and `slot`, both left out, and how many they are: of many
/// only the newest are named.
///
/// Somebody looks every half minute, so one that could have started went by because the machine, or
/// the agent on it, was off or asleep.
#[must_use]
pub fn passed_between(
    schedule: &Schedule,
    rule: &Rule,
    since: Timestamp,
    (slot, by): (Timestamp, SignedDuration),
) -> (u32, Vec<Passed>) {
    const COUNTED_MAX: usize = 10_000;
    let due = |after| rule.next_after(after).filter(|due| *due < slot);
    let between = std::iter::successors(due(since), |due_at| due(*due_at)).take(COUNTED_MAX);
    let between: Vec<Timestamp> = between.collect();
    let why = |scheduled_at: Timestamp| {
        let starts_at = scheduled_at.saturating_add(by).unwrap_or(Timestamp::MAX);
        let is_open = is_open(schedule, rule, starts_at);
        if is_open { Skipped::MachineOff } else { Skipped::OutsideWindow }
    };
    let newest = &between[between.len().saturating_sub(PASSED_MAX)..];
    let passed = newest.iter().map(|at| Passed { scheduled_at: *at, why: why(*at) }).collect();
    (u32::try_from(between.len()).unwrap_or(u32::MAX), passed)
}

/// The jobs of one slot of `schedule`: one per source group that the configuration knows.
#[must_use]
pub fn firing(
    host: HostId,
    schedule: &Schedule,
    scheduled_at: Timestamp,
    settings: &Settings,
) -> Firing {
    let run = |(index, name): (usize, &String)| {
        let Some(group) = settings.group(name) else {
            tracing::warn!(group = %name, "a schedule names a source group that does not exist");
            return None;
        };
        let job = JobId::of_slot_group(host, schedule.id, scheduled_at, 1, index, name);
        Some(group.run(job, settings.config_version()))
    };
    Firing {
        slot: Slot { schedule_id: schedule.id, scheduled_at },
        mark: Mark::new(schedule, scheduled_at),
        runs: schedule.source_groups.iter().enumerate().filter_map(run).collect(),
        missed: 0,
        passed: Vec::new(),
        skipped: None,
    }
}

#[cfg(test)]
mod tests;
