//! Schedules: set as a whole by the server, fired by the agent alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, ScheduleId};

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
}

/// `schedule.ack`: this version is stored on the agent and in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The version now in force.
    pub version: i64,
    /// When it was put in force, by the agent's clock.
    pub applied_at: Timestamp,
}

/// `schedule.fire`: a slot came due and the agent started these jobs on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fire {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The slot's nominal time.
    pub scheduled_at: Timestamp,
    /// The jobs, one per source group; ids are [`JobId::of_slot`].
    #[serde(default)]
    pub job_ids: Vec<JobId>,
}
