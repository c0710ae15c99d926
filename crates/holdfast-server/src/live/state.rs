//! The view in memory, and the texts of its updates.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use holdfast_protocol::{
    HostId, JobId,
    dialect::Ability,
    message::job::{Operation, Status},
};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ENDED_JOBS, Presence};
use crate::{
    alert::State as AlertState,
    store::JobRow,
    view::{AlertView, HostBrief, HostState, HostView, JobErrorView, JobView, ProgressView},
};

/// Hosts in one text of a snapshot.
const HOSTS_PER_PART: usize = 500;

#[derive(Default)]
pub(super) struct State {
    rev: u64,
    hosts: BTreeMap<HostId, HostView>,
    jobs: BTreeMap<JobId, JobView>,
    /// The open ones among them, by host, and the ended ones, oldest first: an event must not look
    /// through all jobs of the fleet.
    open: BTreeMap<HostId, BTreeSet<JobId>>,
    ended: BTreeSet<(Timestamp, JobId)>,
    running: usize,
    online: usize,
    /// Those that are not resolved.
    alerts: BTreeMap<Uuid, AlertView>,
    progress: BTreeMap<JobId, Shown>,
    /// Whose progress waits to be told, and from when on.
    waiting: BTreeSet<(Instant, JobId)>,
    snapshot: Option<Arc<[Utf8Bytes]>>,
    pub(super) presence: BTreeMap<HostId, Presence>,
    /// What could not be read when it changed.
    pub(super) stale: BTreeSet<HostId>,
    pub(super) stale_jobs: BTreeSet<JobId>,
}

/// A job's newest progress, and what the browsers have seen of it.
struct Shown {
    newest: ProgressView,
    told_at: Option<Instant>,
    /// Its place among those that wait.
    waits_for: Option<Instant>,
}

/// What the live socket says of the fleet. What has a `rev` comes with a higher one than all before
/// it; beside these there is a `ping` now and then.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind")]
#[schema(as = FleetEvent)]
pub(crate) enum Update<'a> {
    /// Hosts of the snapshot that comes behind it. The first part has the number 1.
    #[serde(rename = "snapshot.part")]
    Part {
        number: usize,
        #[schema(value_type = Vec<HostBrief>)]
        hosts: Vec<HostBrief<'a>>,
    },
    /// Everything: these hosts, and those of the parts before it.
    #[serde(rename = "snapshot")]
    Snapshot {
        rev: u64,
        /// How many parts came before it.
        parts: usize,
        #[schema(value_type = Vec<HostBrief>)]
        hosts: Vec<HostBrief<'a>>,
        #[schema(value_type = Vec<JobView>)]
        jobs: Vec<&'a JobView>,
        #[schema(value_type = Vec<AlertView>)]
        alerts: Vec<&'a AlertView>,
    },
    /// An alert that is new or has changed.
    #[serde(rename = "alert")]
    Alert {
        rev: u64,
        #[schema(value_type = AlertView)]
        alert: &'a AlertView,
    },
    /// A host that is new or has changed, or of which something has that is not told here.
    #[serde(rename = "host")]
    Host {
        rev: u64,
        #[schema(value_type = HostBrief)]
        host: &'a HostBrief<'a>,
    },
    /// A host that is gone.
    #[serde(rename = "host.removed")]
    HostRemoved {
        rev: u64,
        #[schema(value_type = Uuid)]
        host_id: HostId,
    },
    /// A job that is new or has changed.
    #[serde(rename = "job")]
    Job {
        rev: u64,
        #[schema(value_type = JobView)]
        job: &'a JobView,
    },
    /// How far a job is that was told before.
    #[serde(rename = "job.progress")]
    Progress {
        rev: u64,
        #[schema(value_type = Uuid)]
        job_id: JobId,
        #[schema(value_type = ProgressView)]
        progress: &'a ProgressView,
    },
}

impl Update<'_> {
    fn text(&self) -> Utf8Bytes {
        serde_json::to_string(self).expect("views have a JSON form").into()
    }
}

impl State {
    /// Everything, in as many texts as it takes: a browser reads each at a time of its own, and
    /// each has its own time to arrive.
    pub(super) fn snapshot(&mut self) -> Arc<[Utf8Bytes]> {
        if let Some(snapshot) = &self.snapshot {
            return Arc::clone(snapshot);
        }
        let mut hosts: Vec<&HostView> = self.hosts.values().collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        let mut parts = hosts.chunks(HOSTS_PER_PART).map(briefs);
        let last = parts.next_back().unwrap_or_default();
        let part = |(number, hosts)| Update::Part { number, hosts }.text();
        let mut texts: Vec<_> = (1..).zip(parts).map(part).collect();
        let mut jobs: Vec<&JobView> = self.jobs.values().collect();
        jobs.sort_by_key(|job| std::cmp::Reverse((job.created_at, job.id)));
        let mut alerts: Vec<&AlertView> = self.alerts.values().collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse((alert.severity, alert.first_seen_at)));
        let parts = texts.len();
        texts.push(Update::Snapshot { rev: self.rev, parts, hosts: last, jobs, alerts }.text());
        let snapshot = Arc::from(texts);
        self.snapshot = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// Puts a host in; the update for the browsers, when it differs from what they have.
    pub(super) fn set_host(&mut self, host: HostView) -> Option<Utf8Bytes> {
        if self.hosts.get(&host.id) == Some(&host) {
            return None;
        }
        let rev = self.next_rev();
        let text = Update::Host { rev, host: &host.brief() }.text();
        let online = |host: &HostView| usize::from(host.state == HostState::Online);
        self.online += online(&host);
        let before = self.hosts.insert(host.id, host);
        self.online -= before.as_ref().map_or(0, online);
        Some(text)
    }

    pub(super) fn remove_host(&mut self, host: HostId) -> Option<Utf8Bytes> {
        self.presence.remove(&host);
        let gone = self.hosts.remove(&host)?;
        self.online -= usize::from(gone.state == HostState::Online);
        let rev = self.next_rev();
        Some(Update::HostRemoved { rev, host_id: host }.text())
    }

    /// Puts an alert in, or takes it out when it is resolved; the update for the browsers, when it
    /// differs from what they have.
    pub(super) fn set_alert(&mut self, alert: AlertView) -> Option<Utf8Bytes> {
        let over = alert.state == AlertState::Resolved;
        let known = self.alerts.get(&alert.id);
        if known == Some(&alert) || (over && known.is_none()) {
            return None;
        }
        let rev = self.next_rev();
        let text = Update::Alert { rev, alert: &alert }.text();
        if over {
            self.alerts.remove(&alert.id);
        } else {
            self.alerts.insert(alert.id, alert);
        }
        Some(text)
    }

    pub(super) fn alert_ids(&self) -> BTreeSet<Uuid> {
        self.alerts.keys().copied().collect()
    }

    pub(super) fn alerts(&self) -> Vec<AlertView> {
        self.alerts.values().cloned().collect()
    }

    pub(super) fn hosts(&self) -> Vec<HostView> {
        self.hosts.values().cloned().collect()
    }

    pub(super) fn all_hosts(&self) -> impl Iterator<Item = &HostView> {
        self.hosts.values()
    }

    pub(super) fn set_job(&mut self, job: JobView) -> Option<Utf8Bytes> {
        if job.status.is_terminal() {
            self.drop_progress(job.id);
        }
        if self.jobs.get(&job.id) == Some(&job) {
            return None;
        }
        let rev = self.next_rev();
        let text = Update::Job { rev, job: &job }.text();
        self.put_job(job);
        self.drop_oldest_ended();
        Some(text)
    }

    /// Only progress of a job that runs on the host that reports it counts.
    pub(super) fn note_progress(&mut self, host: HostId, job: JobId, progress: ProgressView) {
        let Some(view) = self.jobs.get_mut(&job) else { return };
        if view.host_id != host || !is_active(view.status) {
            return;
        }
        view.progress = Some(progress.clone());
        self.snapshot = None;
        let known = self.progress.get(&job);
        let told_at = known.and_then(|shown| shown.told_at);
        let waits_for = known.and_then(|shown| shown.waits_for).unwrap_or_else(|| {
            told_at.map_or_else(Instant::now, |at| at + super::PROGRESS_INTERVAL)
        });
        self.waiting.insert((waits_for, job));
        let waits_for = Some(waits_for);
        self.progress.insert(job, Shown { newest: progress, told_at, waits_for });
    }

    fn drop_progress(&mut self, job: JobId) {
        let waits_for = self.progress.remove(&job).and_then(|shown| shown.waits_for);
        if let Some(at) = waits_for {
            self.waiting.remove(&(at, job));
        }
    }

    /// When the next waiting progress may be told.
    pub(super) fn next_flush(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// The progress of all jobs whose turn it is.
    pub(super) fn take_progress(&mut self, now: Instant) -> Vec<Utf8Bytes> {
        let mut updates = Vec::new();
        while let Some((at, job)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&(at, job));
            let rev = self.next_rev();
            let Some(shown) = self.progress.get_mut(&job) else { continue };
            let update = Update::Progress { rev, job_id: job, progress: &shown.newest };
            updates.push(update.text());
            shown.waits_for = None;
            shown.told_at = Some(now);
        }
        updates
    }

    /// A stored job with what is known about it in memory.
    pub(super) fn job_view(&self, row: JobRow) -> JobView {
        let progress = self.progress.get(&row.id).filter(|_| is_active(row.status));
        let host_online = self.presence.contains_key(&row.host_id);
        let open = !row.status.is_terminal() && !row.cancel_requested;
        let can_pause = row.dialect.is_none_or(|dialect| dialect.can(Ability::Pause));
        let result = row.stats.clone().filter(|_| row.operation != Operation::Backup);
        JobView {
            id: row.id,
            pausable: open && host_online && row.status == Status::Running && can_pause,
            cancellable: open,
            repository_id: row.repository_id,
            parameters: row.parameters,
            result,
            retry_of: row.retry_of,
            retried_by: row.retried_by,
            not_before: row.not_before.filter(|_| row.status == Status::Queued),
            waiting_for: row.waiting_for,
            host_online,
            host_id: row.host_id,
            host_name: row.host_name,
            operation: row.operation,
            group: row.group,
            status: row.status,
            cause: row.cause,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            exit_code: row.exit_code,
            snapshot_id: row.snapshot_id,
            attempt: row.attempt,
            error: row.error.map(|error| JobErrorView {
                code: error.code,
                message: error.message,
                action: error.action,
            }),
            stats: row.stats,
            progress: progress.map(|shown| shown.newest.clone()),
            cancel_requested: row.cancel_requested,
        }
    }

    pub(super) fn open_jobs_of(&self, host: HostId) -> impl Iterator<Item = JobId> {
        self.open.get(&host).into_iter().flatten().copied()
    }

    /// Hosts, hosts online, jobs that run.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.hosts.len(), self.online, self.running)
    }

    /// Hosts whose next due time has passed, whose verdict time alone has changed, or that could
    /// not be read when they changed.
    pub(super) fn take_due(&mut self, now: Timestamp) -> BTreeSet<HostId> {
        let mut due = std::mem::take(&mut self.stale);
        let passed = |host: &&HostView| {
            let moments = [host.next_backup_at, host.verdict.until];
            moments.into_iter().flatten().any(|at| at < now)
        };
        due.extend(self.hosts.values().filter(passed).map(|host| host.id));
        due
    }

    fn put_job(&mut self, job: JobView) {
        self.take_job(job.id);
        self.running += usize::from(is_active(job.status));
        if job.status.is_terminal() {
            self.ended.insert((job.created_at, job.id));
        } else {
            self.open.entry(job.host_id).or_default().insert(job.id);
        }
        self.jobs.insert(job.id, job);
    }

    fn take_job(&mut self, job: JobId) {
        let Some(job) = self.jobs.remove(&job) else { return };
        self.running -= usize::from(is_active(job.status));
        self.ended.remove(&(job.created_at, job.id));
        if let Some(open) = self.open.get_mut(&job.host_id) {
            open.remove(&job.id);
            if open.is_empty() {
                self.open.remove(&job.host_id);
            }
        }
    }

    fn drop_oldest_ended(&mut self) {
        while self.ended.len() > ENDED_JOBS as usize {
            let Some((_, oldest)) = self.ended.pop_first() else { break };
            self.take_job(oldest);
        }
    }

    fn next_rev(&mut self) -> u64 {
        self.snapshot = None;
        self.rev += 1;
        self.rev
    }
}

fn briefs<'a>(hosts: &[&'a HostView]) -> Vec<HostBrief<'a>> {
    hosts.iter().map(|host| host.brief()).collect()
}

pub(super) fn is_active(status: Status) -> bool {
    matches!(status, Status::Running | Status::Paused)
}
