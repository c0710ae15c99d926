//! Putting a host's view together from its rows and its presence.

use std::collections::BTreeMap;

use holdfast_protocol::{HostId, JobId, dialect::Dialect, message::job::Status};
use jiff::Timestamp;

use super::{
    Live, Presence,
    evidence::{Evidence, Plans, host_facts},
};
use crate::{
    api::foreign,
    auth::Scope,
    metrics,
    store::{Error, GroupRow, HostRow, LatestBackup, ScheduleRow},
    verdict::{HostFacts, Standing, judge, judge_host},
    view::{GroupView, HostState, HostView, LastBackup, Overview, ScheduleView},
};

/// The views of these hosts, or of all, by name.
pub(super) async fn hosts(live: &Live, only: Option<&[HostId]>) -> Result<Vec<HostView>, Error> {
    let store = live.store();
    let rows = store.hosts(only).await?;
    let mut parts = Parts {
        plans: live.plans(),
        evidence: Evidence::gather(store, only).await?,
        groups: by_host(store.groups(only).await?, |group| group.host_id),
        running: running_jobs(live, only).await?,
        now: store.now(),
    };
    let state = live.state();
    let view = |row: HostRow| {
        let presence = state.presence.get(&row.id);
        parts.host(row, presence)
    };
    Ok(rows.into_iter().map(view).collect())
}

/// The fleet in numbers.
pub(super) async fn overview(live: &Live, scope: &Scope) -> Result<Overview, Error> {
    let mut overview = Overview::default();
    for host in live.hosts_in(scope).await {
        overview.hosts_total += 1;
        overview.hosts_online += u64::from(host.state == HostState::Online);
        let counter = match host.verdict.standing {
            Standing::Protected => &mut overview.protected,
            Standing::Paused => &mut overview.paused,
            Standing::AtRisk => &mut overview.at_risk,
            Standing::Stale => &mut overview.stale,
            Standing::Never => &mut overview.never,
        };
        *counter += 1;
    }
    overview.jobs_queued = live.store().count_open_jobs(&[Status::Queued], scope).await?;
    overview.jobs_running =
        live.store().count_open_jobs(&[Status::Running, Status::Paused], scope).await?;
    Ok(overview)
}

pub(super) fn is_good(status: Status) -> bool {
    matches!(status, Status::Succeeded | Status::Partial)
}

/// Tells the metrics what they forgot while the server was down.
pub(super) async fn note_successes(live: &Live) -> Result<(), Error> {
    for backup in live.store().good_backups().await? {
        metrics::last_success(&backup.host_name, &backup.group, backup.finished_at);
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

struct Parts<'a> {
    plans: &'a Plans,
    evidence: Evidence,
    groups: BTreeMap<HostId, Vec<GroupRow>>,
    running: BTreeMap<HostId, Vec<JobId>>,
    now: Timestamp,
}

impl Parts<'_> {
    fn host(&mut self, row: HostRow, presence: Option<&Presence>) -> HostView {
        let groups = self.groups.remove(&row.id).unwrap_or_default();
        let facts = host_facts(row.incarnation.is_some(), presence, row.last_seen_at);
        let groups: Vec<GroupView> =
            groups.into_iter().map(|group| self.group(group, facts)).collect();
        let judged = groups.iter().map(|group| (group.name.as_str(), &group.verdict));
        HostView {
            state: host_state(&row, presence),
            dialect: row.dialect.map(Dialect::as_str),
            capabilities: foreign::words(row.dialect),
            verdict: judge_host(facts.enrolled, judged),
            last_seen_at: facts.last_seen_at,
            connected_since: presence.map(|presence| presence.since),
            next_backup_at: groups.iter().filter_map(next_at).min(),
            last_backup: newest_backup(&groups),
            running_jobs: self.running.remove(&row.id).unwrap_or_default(),
            reconnects: row.sessions.saturating_sub(1),
            queue_depth: presence.map_or(0, |presence| presence.queue_depth),
            clock_offset_ms: facts.clock_offset_ms,
            id: row.id,
            name: row.name,
            host_group: row.host_group,
            labels: row.labels,
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

    fn group(&mut self, row: GroupRow, host: HostFacts) -> GroupView {
        let (runs, objective, facts) = self.evidence.take(&row, self.plans, host, self.now);
        GroupView {
            verdict: judge(&facts),
            last_backup: runs.and_then(|runs| runs.ended).map(last_backup),
            schedule: row.schedule.map(|schedule| schedule_view(schedule, self.plans, self.now)),
            objective_seconds: objective.seconds,
            objective_source: objective.source,
            name: row.name,
            repository_id: row.repository_id,
            repository_name: row.repository_name,
            includes: row.includes,
            excludes: row.excludes,
            options: row.options,
            retention: row.retention,
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

fn newest_backup(groups: &[GroupView]) -> Option<LastBackup> {
    let backups = groups.iter().filter_map(|group| group.last_backup.as_ref());
    backups.max_by_key(|backup| backup.finished_at).cloned()
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

fn schedule_view(schedule: ScheduleRow, plans: &Plans, now: Timestamp) -> ScheduleView {
    let plan = plans.of(&schedule, now);
    let due = plan.as_ref().filter(|_| schedule.enabled);
    ScheduleView {
        id: schedule.id,
        next_at: due.and_then(|plan| plan.calendar.next_after(now)),
        in_words: plan.map(|plan| plan.in_words.clone()).unwrap_or_default(),
        cron: schedule.cron,
        time_zone: schedule.time_zone,
        enabled: schedule.enabled,
        jitter_seconds: schedule.timing.jitter_seconds,
        window: schedule.timing.window.map(Into::into),
        catch_up: schedule.timing.catch_up,
    }
}
