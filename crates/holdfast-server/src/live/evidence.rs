//! What is known about every source group, put together for its verdict.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use holdfast_protocol::{HostId, message::schedule::Timing};
use jiff::{SignedDuration, Timestamp};

use crate::{
    store::{self, Error, GroupRow, GroupRuns, ScheduleRow, SeenRow, Store},
    verdict::{Facts, HostFacts, LATE, OBJECTIVE_SLACK, OBJECTIVE_UNSCHEDULED, Plan, Upkeep},
    view::{Calendar, Objective, ObjectiveSource},
};

/// What the store knows of the groups of some hosts.
pub(super) struct Evidence {
    runs: BTreeMap<(HostId, String), GroupRuns>,
    seen: BTreeMap<(HostId, String), SeenRow>,
    upkeep: store::Upkeep,
}

/// Every plan that was asked for, read: reading one, and looking a week ahead, takes its time.
#[derive(Default)]
pub(super) struct Plans {
    known: Mutex<BTreeMap<(String, String), Arc<KnownPlan>>>,
}

/// What a cron expression in a zone means.
pub(super) struct KnownPlan {
    pub(super) calendar: Calendar,
    pub(super) in_words: String,
    longest_pause: SignedDuration,
}

/// A fleet has fewer different schedules; beyond, all are looked at again.
const PLANS_KNOWN_MAX: usize = 10_000;

impl Evidence {
    pub(super) async fn gather(store: &Store, only: Option<&[HostId]>) -> Result<Self, Error> {
        let runs = store.group_runs(only).await?;
        let seen = store.seen_snapshots(only).await?;
        let runs = runs.into_iter().map(|runs| ((runs.host_id, runs.group.clone()), runs));
        let seen = seen.into_iter().map(|seen| ((seen.host_id, seen.group.clone()), seen));
        let upkeep = store.upkeep(only).await?;
        Ok(Self { runs: runs.collect(), seen: seen.collect(), upkeep })
    }

    /// How the repository of a group is kept.
    fn upkeep(&self, group: &GroupRow) -> Upkeep {
        let kept = self.upkeep.repositories.get(&group.repository_id);
        Upkeep {
            check_failed: kept.and_then(|kept| kept.check_failed.clone()),
            unpruned: kept.and_then(|kept| kept.unpruned),
            low_room: self.upkeep.low_room.get(&(group.host_id, group.repository_id)).copied(),
        }
    }

    /// Takes the newest runs of a group out, its objective, and what is to be judged.
    pub(super) fn take(
        &mut self,
        group: &GroupRow,
        plans: &Plans,
        host: HostFacts,
        now: Timestamp,
    ) -> (Option<GroupRuns>, Objective, Facts) {
        let key = (group.host_id, group.name.clone());
        let runs = self.runs.remove(&key);
        let seen = self.seen.remove(&key);
        let newest = runs.as_ref();
        let objective = plans.objective(group, now);
        let facts = Facts {
            now,
            objective: objective.length(),
            host,
            plan: plans.due(group.schedule.as_ref(), now),
            last: newest.and_then(|runs| runs.telling.clone()),
            ran: newest.and_then(|runs| runs.ran.clone()),
            claim: newest.and_then(|runs| runs.claim.clone()),
            listed_at: seen.as_ref().map(|seen| seen.listed_at),
            seen: seen.and_then(|seen| seen.newest),
            last_run_at: newest.and_then(|runs| runs.last_run_at),
            running_since: newest.and_then(|runs| runs.running_since),
            upkeep: self.upkeep(group),
        };
        (runs, objective, facts)
    }
}

impl Plans {
    /// How old the newest snapshot of a group may be, and who says so.
    pub(super) fn objective(&self, group: &GroupRow, now: Timestamp) -> Objective {
        let seconds = |length: SignedDuration| length.as_secs().unsigned_abs();
        if let Some(set) = group.objective_seconds {
            return Objective { seconds: set, source: ObjectiveSource::Set };
        }
        let plan = group.schedule.as_ref().and_then(|schedule| self.of(schedule, now));
        let leeway = group.schedule.as_ref().map(|it| leeway(&it.timing)).unwrap_or_default();
        match plan.map(|plan| plan.longest_pause.saturating_add(leeway)) {
            Some(pause) => Objective {
                seconds: seconds(pause.saturating_add(OBJECTIVE_SLACK)),
                source: ObjectiveSource::Schedule,
            },
            None => Objective {
                seconds: seconds(OBJECTIVE_UNSCHEDULED),
                source: ObjectiveSource::Default,
            },
        }
    }

    /// What a schedule means; `None` when it means nothing.
    pub(super) fn of(&self, schedule: &ScheduleRow, now: Timestamp) -> Option<Arc<KnownPlan>> {
        let key = (schedule.cron.clone(), schedule.time_zone.clone());
        if let Some(plan) = self.known().get(&key) {
            return Some(Arc::clone(plan));
        }
        let calendar = Calendar::parse(&schedule.cron, &schedule.time_zone, now).ok()?;
        let (in_words, longest_pause) = (calendar.in_words(), calendar.longest_pause(now));
        let plan = Arc::new(KnownPlan { calendar, in_words, longest_pause });
        let mut known = self.known();
        if known.len() >= PLANS_KNOWN_MAX {
            known.clear();
        }
        known.insert(key, Arc::clone(&plan));
        Some(plan)
    }

    fn due(&self, schedule: Option<&ScheduleRow>, now: Timestamp) -> Plan {
        let Some(schedule) = schedule else { return Plan::OnRequest };
        if !schedule.enabled {
            return Plan::Paused;
        }
        let Some(plan) = self.of(schedule, now) else { return Plan::OnRequest };
        let previous = previous_slot(&plan.calendar, &schedule.timing, now);
        // Nobody owes a run for a slot before the schedule was as it is.
        Plan::Due {
            previous: previous.filter(|slot| *slot >= schedule.changed_at),
            next: plan.calendar.next_after(now),
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(String, String), Arc<KnownPlan>>> {
        self.known.lock().expect("nothing panics while holding it")
    }
}

/// The newest slot that must have started by `now`. Where a slot may wait, for its jitter or for
/// its window, it is given its lateness on top of that.
fn previous_slot(calendar: &Calendar, timing: &Timing, now: Timestamp) -> Option<Timestamp> {
    let started_by = if timing.jitter_seconds == 0 && timing.window.is_none() {
        now
    } else {
        calendar.started_by(now.saturating_sub(LATE).unwrap_or(now), timing)
    };
    // A slot at this very moment is the previous one. Slots are found by whole seconds.
    calendar.last_before(started_by.saturating_add(SignedDuration::from_secs(1)).ok()?)
}

/// How much longer than by its times alone the pause between two runs may be.
fn leeway(timing: &Timing) -> SignedDuration {
    let open = timing.window.map(|window| {
        let (from, until) = (i64::from(window.from_minute), i64::from(window.until_minute));
        SignedDuration::from_mins((until - from).rem_euclid(DAY_MINUTES))
    });
    let day = SignedDuration::from_mins(DAY_MINUTES);
    let closed = open.map_or(SignedDuration::ZERO, |open| day.saturating_sub(open));
    closed.saturating_add(SignedDuration::from_secs(timing.jitter_seconds.into()))
}

const DAY_MINUTES: i64 = 24 * 60;

/// What the verdict on a host's groups has in common.
pub(super) fn host_facts(
    enrolled: bool,
    presence: Option<&super::Presence>,
    last_seen_at: Option<Timestamp>,
) -> HostFacts {
    HostFacts {
        enrolled,
        online: presence.is_some(),
        last_seen_at: presence.map(|presence| presence.last_heard).or(last_seen_at),
        clock_offset_ms: presence.and_then(|presence| presence.clock_offset_ms),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::message::schedule::Window;

    use super::*;

    #[test]
    fn a_run_owes_nothing_while_its_window_is_closed() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let calendar = Calendar::parse("0 * * * *", "UTC", at("2026-03-01T00:00:00Z")).unwrap();
        let window = Some(Window { from_minute: 22 * 60, until_minute: 6 * 60 });
        let night = Timing { window, ..Timing::default() };
        let previous =
            |now: &str, timing: &Timing| previous_slot(&calendar, timing, at(now)).unwrap();
        let noon = "2026-03-28T12:00:00Z";
        assert_eq!(previous(noon, &Timing::default()), at(noon));
        assert_eq!(previous(noon, &night), at("2026-03-28T05:00:00Z"));
        assert_eq!(previous("2026-03-28T22:14:00Z", &night), at("2026-03-28T05:00:00Z"));
        assert_eq!(previous("2026-03-28T22:15:00Z", &night), at("2026-03-28T22:00:00Z"));
        assert_eq!(leeway(&night), SignedDuration::from_hours(16));
        assert_eq!(leeway(&Timing { jitter_seconds: 60, ..night }).as_mins(), 16 * 60 + 1);
        assert_eq!(leeway(&Timing::default()), SignedDuration::ZERO);
    }
}
