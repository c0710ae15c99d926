//! What is known about every source group, put together for its verdict.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use holdfast_protocol::HostId;
use jiff::{SignedDuration, Timestamp};

use crate::{
    store::{Error, GroupRow, GroupRuns, ScheduleRow, SeenRow, Store},
    verdict::{Facts, HostFacts, OBJECTIVE_SLACK, OBJECTIVE_UNSCHEDULED, Plan},
    view::{Calendar, Objective, ObjectiveSource},
};

/// What the store knows of the groups of some hosts.
pub(super) struct Evidence {
    runs: BTreeMap<(HostId, String), GroupRuns>,
    seen: BTreeMap<(HostId, String), SeenRow>,
}

/// The longest pause of every schedule that was asked for: looking a week ahead takes its time.
#[derive(Default)]
pub(super) struct Pauses {
    known: Mutex<BTreeMap<(String, String), SignedDuration>>,
}

/// A fleet has fewer different schedules; beyond, all are looked at again.
const PAUSES_KNOWN_MAX: usize = 10_000;

impl Evidence {
    pub(super) async fn gather(store: &Store, only: Option<&[HostId]>) -> Result<Self, Error> {
        let runs = store.group_runs(only).await?;
        let seen = store.seen_snapshots(only).await?;
        let runs = runs.into_iter().map(|runs| ((runs.host_id, runs.group.clone()), runs));
        let seen = seen.into_iter().map(|seen| ((seen.host_id, seen.group.clone()), seen));
        Ok(Self { runs: runs.collect(), seen: seen.collect() })
    }

    /// Takes the newest runs of a group out, and what is to be judged.
    pub(super) fn take(
        &mut self,
        group: &GroupRow,
        objective: &Objective,
        host: HostFacts,
        now: Timestamp,
    ) -> (Option<GroupRuns>, Facts) {
        let key = (group.host_id, group.name.clone());
        let runs = self.runs.remove(&key);
        let seen = self.seen.remove(&key);
        let newest = runs.as_ref();
        let facts = Facts {
            now,
            objective: objective.length(),
            host,
            plan: plan(group.schedule.as_ref(), now),
            last: newest.and_then(|runs| runs.telling.clone()),
            claim: newest.and_then(|runs| runs.claim.clone()),
            listed_at: seen.as_ref().map(|seen| seen.listed_at),
            seen: seen.and_then(|seen| seen.newest),
            last_run_at: newest.and_then(|runs| runs.last_run_at),
            running_since: newest.and_then(|runs| runs.running_since),
        };
        (runs, facts)
    }
}

impl Pauses {
    /// How old the newest snapshot of a group may be, and who says so.
    pub(super) fn objective(&self, group: &GroupRow, now: Timestamp) -> Objective {
        let seconds = |length: SignedDuration| length.as_secs().unsigned_abs();
        if let Some(set) = group.objective_seconds {
            return Objective { seconds: set, source: ObjectiveSource::Set };
        }
        let pause = group.schedule.as_ref().and_then(|schedule| self.of(schedule, now));
        match pause {
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

    fn of(&self, schedule: &ScheduleRow, now: Timestamp) -> Option<SignedDuration> {
        let key = (schedule.cron.clone(), schedule.time_zone.clone());
        if let Some(pause) = self.known().get(&key) {
            return Some(*pause);
        }
        let calendar = Calendar::parse(&schedule.cron, &schedule.time_zone, now).ok()?;
        let pause = calendar.longest_pause(now);
        let mut known = self.known();
        if known.len() >= PAUSES_KNOWN_MAX {
            known.clear();
        }
        known.insert(key, pause);
        Some(pause)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(String, String), SignedDuration>> {
        self.known.lock().expect("nothing panics while holding it")
    }
}

fn plan(schedule: Option<&ScheduleRow>, now: Timestamp) -> Plan {
    let Some(schedule) = schedule else { return Plan::OnRequest };
    if !schedule.enabled {
        return Plan::Paused;
    }
    let Ok(calendar) = Calendar::parse(&schedule.cron, &schedule.time_zone, now) else {
        return Plan::OnRequest;
    };
    // A slot at this very moment is the previous one.
    let just_after = now.saturating_add(SignedDuration::from_millis(1)).unwrap_or(now);
    let previous = calendar.last_before(just_after);
    // Nobody owes a run for a slot before the schedule was as it is.
    Plan::Due {
        previous: previous.filter(|slot| *slot >= schedule.changed_at),
        next: calendar.next_after(now),
    }
}

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
