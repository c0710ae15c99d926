//! Which of the waiting jobs may start now. Pure.

use std::{collections::BTreeMap, time::Duration};

use holdfast_protocol::{JobId, RepositoryId};
use jiff::Timestamp;

use crate::state::{Entry, Stage, Wanted};

/// How much may run at once, and how long a job may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Jobs in all.
    pub jobs_max: usize,
    /// Jobs on one repository. More would compete for the same line and the same locks.
    pub jobs_per_repository_max: usize,
    /// How long a job waits for the configuration it was made for.
    pub config_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { jobs_max: 2, jobs_per_repository_max: 1, config_wait: Duration::from_secs(120) }
    }
}

/// The jobs of `entries`, which is in the order they came, that may start beside `running`.
///
/// First come, first run; but a job that must wait (for its repository, or for a configuration
/// newer than `config_version`, or for the time of its next try) does not hold up those behind it
/// that need not.
pub(super) fn ready(
    entries: &[Entry],
    running: &BTreeMap<JobId, RepositoryId>,
    config_version: i64,
    limits: Limits,
    now: Timestamp,
) -> Vec<Entry> {
    let mut busy: Vec<RepositoryId> = running.values().copied().collect();
    let mut ready = Vec::new();
    let may_start = |entry: &&Entry| may_ever_start(entry, config_version) && entry.is_due(now);
    for entry in entries.iter().filter(may_start) {
        let repository = entry.run.repository_id;
        let beside = busy.iter().filter(|other| **other == repository).count();
        let is_running = running.contains_key(&entry.job_id());
        if is_running || busy.len() >= limits.jobs_max || beside >= limits.jobs_per_repository_max {
            continue;
        }
        busy.push(repository);
        ready.push(entry.clone());
    }
    ready
}

/// When the first of the jobs that wait for their next try may begin.
pub(super) fn next_try_at(entries: &[Entry], now: Timestamp) -> Option<Timestamp> {
    let waiting = entries.iter().filter(|it| it.stage == Stage::Received && !it.is_due(now));
    waiting.filter_map(|entry| entry.again).map(|again| again.not_before).min()
}

/// The jobs that wait for a configuration newer than `config_version`.
pub(super) fn waiting_for_config(entries: &[Entry], config_version: i64) -> Vec<JobId> {
    let waits = |entry: &&Entry| {
        entry.stage == Stage::Received && entry.run.config_version > config_version
    };
    entries.iter().filter(waits).map(Entry::job_id).collect()
}

fn may_ever_start(entry: &Entry, config_version: i64) -> bool {
    entry.stage == Stage::Received
        && entry.wanted == Wanted::Run
        && entry.run.config_version <= config_version
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::message::{command::Run, job::Operation};
    use uuid::Uuid;

    use super::*;
    use crate::state::Again;

    fn repository(number: u128) -> RepositoryId {
        RepositoryId::from_uuid(Uuid::from_u128(number))
    }

    fn job(number: u128) -> JobId {
        JobId::from_uuid(Uuid::from_u128(number))
    }

    fn entry(number: u64, on: u128) -> Entry {
        let run = Run {
            config_version: 1,
            tag: "etc".to_owned(),
            includes: vec!["/etc".to_owned()],
            ..Run::new(job(u128::from(number)), Operation::Backup, repository(on))
        };
        let (stage, wanted) = (Stage::Received, Wanted::Run);
        Entry { order: number, run, slot: None, stage, wanted, again: None }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn started(entries: &[Entry], running: &[(u128, u128)]) -> Vec<JobId> {
        let running = running.iter().map(|(id, on)| (job(*id), repository(*on))).collect();
        let ready = ready(entries, &running, 1, Limits::default(), at(100));
        ready.iter().map(Entry::job_id).collect()
    }

    #[test]
    fn first_come_first_run_with_one_job_per_repository_and_two_in_all() {
        let entries = [entry(1, 10), entry(2, 10), entry(3, 20), entry(4, 30)];
        assert_eq!(started(&entries, &[]), [job(1), job(3)]);
        assert_eq!(started(&entries[1..], &[(1, 10)]), [job(3)]);
        assert_eq!(started(&entries, &[(1, 10), (3, 20)]), []);
    }

    #[test]
    fn what_must_wait_does_not_hold_up_the_rest() {
        let newer = Entry { run: Run { config_version: 2, ..entry(1, 10).run }, ..entry(1, 10) };
        let held = Entry { wanted: Wanted::Pause, ..entry(2, 20) };
        let gone = Entry { stage: Stage::Intent, ..entry(3, 30) };
        let entries = [newer, held, gone, entry(4, 10)];
        assert_eq!(started(&entries, &[]), [job(4)]);
        assert_eq!(waiting_for_config(&entries, 1), [job(1)]);
        assert_eq!(waiting_for_config(&entries, 2), []);
    }

    #[test]
    fn a_later_try_waits_for_its_time_and_for_no_clock_that_was_set_back() {
        let again = |since, not_before| {
            let (since, not_before) = (at(since), at(not_before));
            let again = Some(Again { first: job(9), attempt: 2, since, not_before });
            Entry { again, ..entry(1, 10) }
        };
        assert_eq!(started(&[again(40, 101)], &[]), []);
        assert_eq!(next_try_at(&[again(40, 101), again(40, 120)], at(100)), Some(at(101)));
        assert_eq!(started(&[again(40, 100)], &[]), [job(1)]);
        assert_eq!(started(&[again(5000, 9000)], &[]), [job(1)], "the clock was set back");
        assert_eq!(next_try_at(&[again(40, 100)], at(100)), None);
        assert_eq!(started(&[again(40, 101), entry(2, 10)], &[]), [job(2)]);
    }
}
