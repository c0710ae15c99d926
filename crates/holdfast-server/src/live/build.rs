//! Putting a host's view together from its rows and its presence.

use std::collections::BTreeMap;

use holdfast_protocol::{HostId, JobId, message::job::Status};
use jiff::{SignedDuration, Timestamp};

use super::{Live, Presence};
use crate::{
    metrics,
    store::{Error, GroupRow, HostRow, LatestBackup},
    view::{Calendar, GroupView, HostState, HostView, LastBackup, Overview, ScheduleView},
};

/// How late a scheduled backup may be before its host counts as at risk: a long backup still runs.
const GRACE: SignedDuration = SignedDuration::from_hours(6);
/// How old the last good backup of a group without a schedule may be.
const UNSCHEDULED_AGE_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The views of these hosts, or of all, by name.
pub(super) async fn hosts(live: &Live, only: Option<&[HostId]>) -> Result<Vec<HostView>, Error> {
    let store = live.store();
    let rows = store.hosts(only).await?;
    let mut parts = Parts {
        groups: by_host(store.groups(only).await?, |group| group.host_id),
        latest: by_host(store.latest_backups(only, false).await?, |backup| backup.host_id),
        running: running_jobs(live, only).await?,
        now: Timestamp::now(),
    };
    let state = live.state();
    let view = |row: HostRow| {
        let presence = state.presence.get(&row.id);
        parts.host(row, presence)
    };
    Ok(rows.into_iter().map(view).collect())
}

/// The fleet in seven numbers.
pub(super) async fn overview(live: &Live) -> Result<Overview, Error> {
    let good = live.store().latest_backups(None, true).await?;
    let good = by_host(good, |backup| backup.host_id);
    let latest = live.store().latest_backups(None, false).await?;
    let latest = by_host(latest, |backup| backup.host_id);
    let now = Timestamp::now();
    let mut overview = Overview::default();
    for host in live.hosts().await? {
        overview.hosts_total += 1;
        overview.hosts_online += u64::from(host.state == HostState::Online);
        let backups = good.get(&host.id).map_or(&[][..], Vec::as_slice);
        let ended = latest.get(&host.id).map_or(&[][..], Vec::as_slice);
        match protection(&host, backups, ended, now) {
            Protection::Protected => overview.protected += 1,
            Protection::AtRisk => overview.at_risk += 1,
            Protection::Never => overview.never += 1,
        }
    }
    overview.jobs_queued = live.store().count_jobs(&[Status::Queued]).await?;
    overview.jobs_running = live.store().count_jobs(&[Status::Running, Status::Paused]).await?;
    Ok(overview)
}

#[derive(Debug, PartialEq, Eq)]
enum Protection {
    Protected,
    AtRisk,
    Never,
}

/// A host is protected when every one of its groups is: a good backup, not too old, and not followed
/// by a bad one.
fn protection(
    host: &HostView,
    good: &[LatestBackup],
    ended: &[LatestBackup],
    now: Timestamp,
) -> Protection {
    if good.is_empty() {
        return Protection::Never;
    }
    // A clock that is ahead must not make an old backup look fresh: the earlier time counts.
    let fine = |group: &GroupView| {
        let of_group = |backup: &&LatestBackup| backup.group == group.name;
        let fresh = good.iter().find(of_group).is_some_and(|backup| {
            backup.finished_at.min(backup.ended_at) >= wanted_since(group, now)
        });
        fresh && ended.iter().find(of_group).is_none_or(|last| is_good(last.status))
    };
    let all = !host.groups.is_empty() && host.groups.iter().all(fine);
    if all { Protection::Protected } else { Protection::AtRisk }
}

/// The moment after which a group's last good backup must have ended.
fn wanted_since(group: &GroupView, now: Timestamp) -> Timestamp {
    let scheduled = group.schedule.as_ref().filter(|schedule| schedule.enabled);
    let due = scheduled.and_then(|schedule| {
        let calendar = Calendar::parse(&schedule.cron, &schedule.time_zone, now).ok()?;
        calendar.last_before(now.saturating_sub(GRACE).ok()?)
    });
    due.unwrap_or_else(|| now.saturating_sub(UNSCHEDULED_AGE_MAX).unwrap_or(Timestamp::MIN))
}

pub(super) fn is_good(status: Status) -> bool {
    matches!(status, Status::Succeeded | Status::Partial)
}

/// Tells the metrics what they forgot while the server was down.
pub(super) async fn note_successes(live: &Live) -> Result<(), Error> {
    let names = live.store().hosts(None).await?;
    let names: BTreeMap<HostId, String> = names.into_iter().map(|row| (row.id, row.name)).collect();
    for backup in live.store().latest_backups(None, true).await? {
        if let Some(name) = names.get(&backup.host_id) {
            metrics::last_success(name, &backup.group, backup.finished_at);
        }
    }
    Ok(())
}

async fn running_jobs(
    live: &Live,
    only: Option<&[HostId]>,
) -> Result<BTreeMap<HostId, Vec<JobId>>, Error> {
    let mut running: BTreeMap<HostId, Vec<JobId>> = BTreeMap::new();
    for (host, job) in live.store().running_jobs(only).await? {
        running.entry(host).or_default().push(job);
    }
    Ok(running)
}

fn by_host<T>(rows: Vec<T>, host: impl Fn(&T) -> HostId) -> BTreeMap<HostId, Vec<T>> {
    let mut map: BTreeMap<HostId, Vec<T>> = BTreeMap::new();
    for row in rows {
        map.entry(host(&row)).or_default().push(row);
    }
    map
}

struct Parts {
    groups: BTreeMap<HostId, Vec<GroupRow>>,
    latest: BTreeMap<HostId, Vec<LatestBackup>>,
    running: BTreeMap<HostId, Vec<JobId>>,
    now: Timestamp,
}

impl Parts {
    fn host(&mut self, row: HostRow, presence: Option<&Presence>) -> HostView {
        let groups = self.groups.remove(&row.id).unwrap_or_default();
        let groups: Vec<GroupView> =
            groups.into_iter().map(|group| group_view(group, self.now)).collect();
        let latest = self.latest.remove(&row.id).unwrap_or_default();
        HostView {
            state: host_state(&row, presence),
            last_seen_at: presence.map(|presence| presence.last_heard).or(row.last_seen_at),
            connected_since: presence.map(|presence| presence.since),
            next_backup_at: groups.iter().filter_map(next_at).min(),
            last_backup: latest.into_iter().max_by_key(|backup| backup.ended_at).map(last_backup),
            running_jobs: self.running.remove(&row.id).unwrap_or_default(),
            reconnects: row.sessions.saturating_sub(1),
            queue_depth: presence.map_or(0, |presence| presence.queue_depth),
            clock_offset_ms: presence.and_then(|presence| presence.clock_offset_ms),
            id: row.id,
            name: row.name,
            agent_version: row.agent_version,
            restic_version: row.restic_version,
            hostname: row.hostname,
            os: row.os,
            arch: row.arch,
            time_zone: row.time_zone,
            created_at: row.created_at,
            groups,
        }
    }
}

fn host_state(row: &HostRow, presence: Option<&Presence>) -> HostState {
    match (presence, row.incarnation) {
        (Some(_), _) => HostState::Online,
        (None, Some(_)) => HostState::Offline,
        (None, None) => HostState::Pending,
    }
}

fn next_at(group: &GroupView) -> Option<Timestamp> {
    group.schedule.as_ref().and_then(|schedule| schedule.next_at)
}

fn last_backup(backup: LatestBackup) -> LastBackup {
    LastBackup {
        job_id: backup.job_id,
        group: backup.group,
        status: backup.status,
        finished_at: backup.finished_at,
        snapshot_id: backup.snapshot_id,
    }
}

fn group_view(row: GroupRow, now: Timestamp) -> GroupView {
    let schedule = row.schedule.map(|schedule| {
        let calendar = Calendar::parse(&schedule.cron, &schedule.time_zone, now).ok();
        let due = calendar.as_ref().filter(|_| schedule.enabled);
        ScheduleView {
            id: schedule.id,
            next_at: due.and_then(|calendar| calendar.next_after(now)),
            in_words: calendar.map(|calendar| calendar.in_words()).unwrap_or_default(),
            cron: schedule.cron,
            time_zone: schedule.time_zone,
            enabled: schedule.enabled,
        }
    });
    GroupView {
        name: row.name,
        repository_id: row.repository_id,
        repository_name: row.repository_name,
        includes: row.includes,
        excludes: row.excludes,
        schedule,
    }
}
