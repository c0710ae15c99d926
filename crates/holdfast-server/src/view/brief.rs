//! A host as the live socket tells it: what lists and the overview show of it.
//!
//! A browser has the whole fleet, so each word here is sent ten thousand times at once. What only
//! the host's own page shows, the page asks for.

use std::collections::BTreeMap;

use holdfast_protocol::{HostId, JobId, RepositoryId, message::job::Status};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{GroupView, HostState, HostView, JobStatus, LastBackup, ScheduleView};
use crate::verdict::{Standing, Verdict};

/// A host in brief. Everything in it is as in the host itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostBrief<'a> {
    /// Its id.
    #[schema(value_type = Uuid)]
    id: HostId,
    /// Its name.
    name: &'a str,
    /// The host group it is in; empty for none.
    host_group: &'a str,
    /// What people noted about it.
    #[schema(value_type = BTreeMap<String, String>)]
    labels: &'a BTreeMap<String, String>,
    /// Whether its agent is connected.
    state: HostState,
    /// The other system's words that its agent speaks; absent for Holdfast's own agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    dialect: Option<&'static str>,
    /// Only where the host's agent speaks another system's words; Holdfast's own can everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    capabilities: Option<&'a [&'static str]>,
    /// How well it is protected.
    #[schema(value_type = Verdict)]
    verdict: &'a Verdict,
    /// When the agent was last heard, when something about the host last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at: Option<Timestamp>,
    /// Since when the agent is connected; absent when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_since: Option<Timestamp>,
    /// restic's version on the host; empty when none was found.
    restic_version: &'a str,
    /// The machine's own name.
    hostname: &'a str,
    /// `linux`, `windows`, `darwin`, …
    os: &'a str,
    /// `amd64`, `arm64`, …
    arch: &'a str,
    /// Its source groups, by name.
    #[schema(value_type = Vec<GroupBrief>)]
    groups: Vec<GroupBrief<'a>>,
    /// The backup that ended last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BackupBrief>)]
    last_backup: Option<BackupBrief<'a>>,
    /// When the next scheduled backup is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_backup_at: Option<Timestamp>,
    /// Jobs that run or are paused.
    #[schema(value_type = Vec<Uuid>)]
    running_jobs: &'a [JobId],
}

/// A source group in brief.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupBrief<'a> {
    /// Its name.
    name: &'a str,
    /// Where its snapshots go.
    #[schema(value_type = Uuid)]
    repository_id: RepositoryId,
    /// That repository's name.
    repository_name: &'a str,
    /// How well it is protected.
    verdict: VerdictBrief,
    /// When it is backed up on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ScheduleBrief>)]
    schedule: Option<ScheduleBrief<'a>>,
}

/// How well a source group is protected; why it is not better is told in the host's verdict.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerdictBrief {
    /// The answer in one word.
    standing: Standing,
}

/// When a source group is backed up next.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleBrief<'a> {
    /// IANA name of the zone its times are meant in.
    time_zone: &'a str,
    /// When it fires next; absent when disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
}

/// The backup of a host that ended last, in brief.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupBrief<'a> {
    /// The job.
    #[schema(value_type = Uuid)]
    job_id: JobId,
    /// The source group.
    group: &'a str,
    /// How it ended.
    #[schema(value_type = JobStatus)]
    status: Status,
    /// When it ended, by the agent's clock.
    finished_at: Timestamp,
}

impl HostView {
    /// The host in brief.
    #[must_use]
    pub fn brief(&self) -> HostBrief<'_> {
        HostBrief {
            id: self.id,
            name: &self.name,
            host_group: &self.host_group,
            labels: &self.labels,
            state: self.state,
            dialect: self.dialect,
            capabilities: self.dialect.map(|_| self.capabilities.as_slice()),
            verdict: &self.verdict,
            last_seen_at: self.last_seen_at,
            connected_since: self.connected_since,
            restic_version: &self.restic_version,
            hostname: &self.hostname,
            os: &self.os,
            arch: &self.arch,
            groups: self.groups.iter().map(group).collect(),
            last_backup: self.last_backup.as_ref().map(backup),
            next_backup_at: self.next_backup_at,
            running_jobs: &self.running_jobs,
        }
    }
}

fn group(group: &GroupView) -> GroupBrief<'_> {
    GroupBrief {
        name: &group.name,
        repository_id: group.repository_id,
        repository_name: &group.repository_name,
        verdict: VerdictBrief { standing: group.verdict.standing },
        schedule: group.schedule.as_ref().map(schedule),
    }
}

fn schedule(schedule: &ScheduleView) -> ScheduleBrief<'_> {
    ScheduleBrief { time_zone: &schedule.time_zone, next_at: schedule.next_at }
}

fn backup(backup: &LastBackup) -> BackupBrief<'_> {
    BackupBrief {
        job_id: backup.job_id,
        group: &backup.group,
        status: backup.status,
        finished_at: backup.finished_at,
    }
}
