//! Schedules: set as a whole by the server, fired by the agent alone.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{HostId, JobId, ScheduleId};

/// `schedule.set`: all schedules of a host, replacing what it had. An empty list disables all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Rises with every change; a lower one than the version in force is ignored.
    pub version: i64,
    /// The schedules.
    pub schedules: Vec<Schedule>,
}

/// When to run which source groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Five-field cron.
    pub cron_expr: String,
    /// IANA name of the zone the cron expression is read in.
    pub time_zone: String,
    /// A disabled schedule is kept and does not fire.
    pub enabled: bool,
    /// Names of the source groups to back up, one job each.
    #[serde(default)]
    pub source_groups: Vec<String>,
    /// How exactly its slots are kept.
    #[serde(default, skip_serializing_if = "Timing::is_default")]
    pub timing: Timing,
}

/// How exactly a schedule's slots are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// A slot starts at its nominal time and up to this much later, by the host and the schedule
    /// but always the same, so that a fleet does not come all at once.
    pub jitter_seconds: u32,
    /// The only time of the day in which a slot may start; outside it a slot waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Whether the latest of the slots that went by while the machine was off is made up for.
    pub catch_up: bool,
}

impl Default for Timing {
    fn default() -> Self {
        Self { jitter_seconds: 0, window: None, catch_up: true }
    }
}

impl Timing {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// How much after its nominal time a slot of `schedule` starts on `host`: always the same, and
    /// for each host another, so that a fleet with one schedule does not come all at once.
    #[must_use]
    pub fn delay(&self, host: HostId, schedule: ScheduleId) -> SignedDuration {
        let seed = host.as_uuid().as_u128() ^ schedule.as_uuid().as_u128().rotate_left(64);
        // Ids of one minute look alike: their bits must all count before the rest is taken.
        let mixed =
            (seed ^ (seed >> 64)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 64;
        let span = u128::from(self.jitter_seconds) + 1;
        SignedDuration::from_secs(i64::try_from(mixed % span).unwrap_or(0))
    }
}

/// A part of the day, by the clock of the schedule's zone. It may go over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first minute of the day in it, 0 to 1439.
    pub from_minute: u16,
    /// The first minute of the day that is no longer in it.
    pub until_minute: u16,
}

impl Window {
    /// Whether the minute of the day `minute` is in it.
    #[must_use]
    pub fn contains(&self, minute: u16) -> bool {
        let (from, until) = (self.from_minute, self.until_minute);
        if from <= until {
            (from..until).contains(&minute)
        } else {
            minute >= from || minute < until
        }
    }
}

/// `schedule.ack`: this version is stored on the agent and in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The version now in force.
    pub version: i64,
    /// When it was put in force, by the agent's clock.
    pub applied_at: Timestamp,
}

/// `schedule.fire`: a slot came due and the agent started these jobs on its own, or left it out;
/// and what it did with those before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fire {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The slot's nominal time.
    pub scheduled_at: Timestamp,
    /// The jobs, one per source group; ids are [`JobId::of_slot`]. None when the slot was left out.
    #[serde(default)]
    pub job_ids: Vec<JobId>,
    /// How many slots before this one went by without jobs of their own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u32,
    /// The newest of them, at most [`PASSED_MAX`], oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<Passed>,
    /// Why the slot was left out; absent when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
}

/// How many slots that went by one message names.
pub const PASSED_MAX: usize = 100;

impl Fire {
    /// The word that a slot started these jobs.
    #[must_use]
    pub fn new(schedule_id: ScheduleId, scheduled_at: Timestamp, job_ids: Vec<JobId>) -> Self {
        Self { schedule_id, scheduled_at, job_ids, missed: 0, passed: Vec::new(), skipped: None }
    }
}

/// A slot that went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Its nominal time.
    pub scheduled_at: Timestamp,
    /// Why it had no jobs.
    pub why: Skipped,
}

/// Why a slot was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// The machine was off when it was due, and the schedule does not make up for that.
    MachineOff,
    /// The job of an earlier slot had not ended.
    StillRunning,
    /// The window was closed, and before it opened the next slot came due.
    OutsideWindow,
}

impl Skipped {
    /// The word on the wire and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MachineOff => "machine_off",
            Self::StillRunning => "still_running",
            Self::OutsideWindow => "outside_window",
        }
    }

    /// The reason named by `word`, if there is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::MachineOff, Self::StillRunning, Self::OutsideWindow]
            .into_iter()
            .find(|why| why.as_str() == word)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_word_that_leads_back_to_it() {
        for word in ["machine_off", "still_running", "outside_window"] {
            let why = Skipped::from_word(word).unwrap();
            assert_eq!(serde_json::to_string(&why).unwrap(), format!("\"{word}\""));
        }
        assert_eq!(Skipped::from_word("tired"), None);
    }

    #[test]
    fn a_window_may_go_over_midnight() {
        let night = Window { from_minute: 22 * 60, until_minute: 6 * 60 };
        assert!(night.contains(23 * 60) && night.contains(0) && night.contains(6 * 60 - 1));
        assert!(!night.contains(6 * 60) && !night.contains(12 * 60));
        let day = Window { from_minute: 8 * 60, until_minute: 17 * 60 };
        assert!(day.contains(8 * 60) && !day.contains(17 * 60));
    }
}
