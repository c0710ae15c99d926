//! What is going on right now: the fleet as people see it, kept up to date in memory.
//!
//! The store is the truth; the live view is read from it again wherever something changed. To that
//! comes what is never stored: who is connected, and how far each job is. Every update is written
//! as text once and handed to all browsers; a browser that starts gets a snapshot and every update
//! after it, without a gap.

mod build;
mod evidence;
mod feed;
mod list;
pub(crate) mod logs;
mod narrow;
mod presence;
pub(crate) mod state;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use holdfast_protocol::{HostId, JobId};
use jiff::{Timestamp, tz::TimeZone};
use tokio::{sync::broadcast, time::Instant};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Scope,
    bus::{Bus, Changes},
    metrics,
    store::{Error, JobFilter, Store},
    view::{Days, HostView, JobPage, JobView, Overview, days::first_day},
};

pub use feed::{FeedEnd, Subscription};
pub(crate) use list::{HostQuery, HostSort};
pub(crate) use logs::Logs;
pub(crate) use narrow::Narrow;
pub(crate) use presence::Presence;
use state::State;

/// The live view. A clone is another handle to the same one.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    state: Mutex<State>,
    updates: broadcast::Sender<Utf8Bytes>,
    plans: evidence::Plans,
    /// Held while changes are taken in, so that whoever waits for it sees all that was before.
    turn: tokio::sync::Mutex<()>,
}

/// A browser that is this many updates behind is too slow, and starts again with a snapshot.
const UPDATES_WAITING: usize = 1024;
/// Ended jobs that the view keeps.
const ENDED_JOBS: u32 = 50;
/// Progress of one job is told at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// The least time between two looks at what has changed. A change after a quiet time is shown at
/// once; in a storm of them each look reads what many hosts need in a few questions, and one host
/// that changes ten times is read once.
const REST: Duration = Duration::from_millis(50);
/// How often due times that have passed are looked for.
const TICK_INTERVAL: Duration = Duration::from_secs(30);

impl Live {
    /// Reads the whole fleet from the store.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn load(store: Store) -> Result<Self, Error> {
        let (updates, _) = broadcast::channel(UPDATES_WAITING);
        let plans = evidence::Plans::default();
        let inner = Inner {
            store,
            state: Mutex::default(),
            updates,
            plans,
            turn: tokio::sync::Mutex::default(),
        };
        let live = Self { inner: Arc::new(inner) };
        let hosts = build::hosts(&live, None).await?;
        build::note_successes(&live).await?;
        let jobs = live.store().recent_jobs(ENDED_JOBS).await?;
        let alerts = live.store().active_alerts(live.store().now()).await?;
        let mut state = live.state();
        hosts.into_iter().for_each(|host| drop(state.set_host(host)));
        for row in jobs {
            let view = state.job_view(row);
            drop(state.set_job(view));
        }
        alerts.into_iter().for_each(|alert| drop(state.set_alert(alert)));
        drop(state);
        Ok(live)
    }

    /// Keeps the view up to date until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let bus: Bus = self.store().bus().clone();
        let mut tick = tokio::time::interval(TICK_INTERVAL);
        let mut rested = Instant::now();
        loop {
            let flush = self.state().next_flush();
            let flush_at = flush.unwrap_or_else(|| Instant::now() + TICK_INTERVAL);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = changed_after(&bus, rested) => {
                    self.catch_up().await;
                    rested = Instant::now() + REST;
                }
                () = tokio::time::sleep_until(flush_at), if flush.is_some() => {}
                _ = tick.tick() => self.look().await,
            }
            self.flush_progress();
        }
    }

    /// Brings the view up to date with what has changed, and with what time alone has changed.
    pub(crate) async fn look(&self) {
        self.look_for_due();
        self.catch_up().await;
    }

    /// Takes in what has changed so far; also what somebody else is just taking in.
    async fn catch_up(&self) {
        let _turn = self.inner.turn.lock().await;
        let changes = self.store().bus().take_changes();
        self.take(changes).await;
    }

    /// The same for whoever may be gone before it is done: changes that were taken from the bus
    /// and not taken in would be missing for ever.
    async fn catch_up_for_good(&self) {
        let live = self.clone();
        let done = tokio::spawn(async move { live.look().await }).await;
        if let Err(error) = done {
            tracing::error!(%error, "the live view could not catch up");
        }
    }

    /// The fleet as it is, and everything that happens from here on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        // Both under one lock: no update falls between them.
        let mut state = self.state();
        Subscription::new(state.snapshot(), self.inner.updates.subscribe())
    }

    /// One host.
    ///
    /// # Errors
    /// [`Error::HostNotFound`] and [`Error::Database`].
    pub async fn host(&self, host: HostId) -> Result<HostView, Error> {
        let found = build::hosts(self, Some(&[host])).await?;
        found.into_iter().next().ok_or_else(|| Error::HostNotFound { host: host.to_string() })
    }

    /// A page of jobs, newest first.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] and [`Error::Database`].
    pub async fn jobs(&self, filter: &JobFilter) -> Result<JobPage, Error> {
        let (rows, next) = self.store().jobs(filter).await?;
        let state = self.state();
        Ok(JobPage { jobs: rows.into_iter().map(|row| state.job_view(row)).collect(), next })
    }

    /// One job.
    ///
    /// # Errors
    /// [`Error::JobNotFound`] and [`Error::Database`].
    pub async fn job(&self, job: JobId) -> Result<JobView, Error> {
        let row = self.store().job(job).await?;
        Ok(self.state().job_view(row))
    }

    /// How the last `days` days of each host went, in the days of `zone`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn days(&self, days: u16, zone: &TimeZone) -> Result<Days, Error> {
        self.days_of(&Scope::All, days, zone).await
    }

    /// The same, of the hosts within `scope`.
    pub(crate) async fn days_of(
        &self,
        scope: &Scope,
        days: u16,
        zone: &TimeZone,
    ) -> Result<Days, Error> {
        let from = first_day(self.store().now(), zone, days);
        let since =
            from.to_zoned(zone.clone()).map_or(Timestamp::UNIX_EPOCH, |day| day.timestamp());
        let mut told = Days::gather(self.store().backup_slices(since).await?, from, days, zone);
        let theirs = self.store().hosts_in(scope).await?;
        told.hosts.retain(|host, _| theirs.hold(*host));
        Ok(told)
    }

    /// The fleet in numbers.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn overview(&self) -> Result<Overview, Error> {
        self.overview_of(&Scope::All).await
    }

    /// The hosts of some host groups in numbers.
    pub(crate) async fn overview_of(&self, scope: &Scope) -> Result<Overview, Error> {
        build::overview(self, scope).await
    }

    /// The fleet's standing in Prometheus' text form.
    pub(crate) async fn numbers(&self) -> Result<String, Error> {
        let repositories = self.store().repositories().await?;
        let (hosts, alerts) = {
            let state = self.state();
            (state.hosts(), state.alerts())
        };
        Ok(metrics::fleet::render(&hosts, &repositories, &alerts))
    }

    /// All hosts as people see them right now.
    pub(crate) fn hosts_now(&self) -> Vec<HostView> {
        self.state().hosts()
    }

    /// Shows the alerts as they are at `now`.
    pub(crate) async fn refresh_alerts(&self, now: Timestamp) -> Result<(), Error> {
        let active = self.store().active_alerts(now).await?;
        let gone = {
            let ids = active.iter().map(|alert| alert.id).collect();
            self.state().alert_ids().difference(&ids).copied().collect::<Vec<_>>()
        };
        let mut changed = active;
        for id in gone {
            changed.push(self.store().alert(id, now).await?);
        }
        let mut state = self.state();
        for alert in changed {
            let update = state.set_alert(alert);
            self.publish(update);
        }
        Ok(())
    }

    /// Notes that a host's agent has connected.
    pub(crate) fn connected(&self, host: HostId, at: Timestamp) {
        self.state().presence.insert(host, Presence::new(at));
        self.touch_with_jobs(host);
    }

    /// Notes that a host's agent is gone; says when it was last heard.
    pub(crate) fn disconnected(&self, host: HostId) -> Option<Timestamp> {
        let gone = self.state().presence.remove(&host);
        self.touch_with_jobs(host);
        gone.map(|presence| presence.last_heard)
    }

    /// Notes a heartbeat. Only what people can see to have changed is told on.
    pub(crate) fn heard(&self, host: HostId, queue_depth: u64, offset_ms: i64, at: Timestamp) {
        let visible = match self.state().presence.get_mut(&host) {
            Some(presence) => presence.hear(queue_depth, offset_ms, at),
            None => false,
        };
        if visible {
            self.store().bus().touch_host(host);
        }
    }

    /// Whether a host has an open job that is not among `active`. Cheap, so that only a heartbeat
    /// that looks wrong asks the store.
    pub(crate) fn misses_jobs(&self, host: HostId, active: &[JobId]) -> bool {
        self.state().open_jobs_of(host).any(|job| !active.contains(&job))
    }

    /// Records that a connected host still has to tell; `None` when it is not connected.
    pub(crate) fn backlog(&self, host: HostId) -> Option<u64> {
        self.state().presence.get(&host).map(|presence| presence.queue_depth)
    }

    pub(crate) fn host_count(&self) -> usize {
        self.state().counts().0
    }

    /// When every connected host was last heard.
    pub(crate) fn last_heard(&self) -> Vec<(HostId, Timestamp)> {
        let state = self.state();
        state.presence.iter().map(|(host, presence)| (*host, presence.last_heard)).collect()
    }

    fn touch_with_jobs(&self, host: HostId) {
        let bus = self.store().bus();
        bus.touch_host(host);
        self.state().open_jobs_of(host).for_each(|job| bus.touch_job(job));
    }

    async fn take(&self, changes: Changes) {
        for host in &changes.removed {
            let update = self.state().remove_host(*host);
            self.publish(update);
        }
        let hosts: Vec<HostId> = changes.hosts.difference(&changes.removed).copied().collect();
        for part in hosts.chunks(500) {
            match build::hosts(self, Some(part)).await {
                Ok(views) => views.into_iter().for_each(|view| self.show_host(view)),
                Err(error) => self.retry_later(&error, part),
            }
        }
        for job in changes.jobs {
            self.refresh_job(job).await;
        }
        let mut state = self.state();
        for (job, (host, progress)) in changes.progress {
            state.note_progress(host, job, progress.into());
        }
        let (total, online, running) = state.counts();
        metrics::fleet(total, online, running);
    }

    async fn refresh_job(&self, job: JobId) {
        match self.store().job(job).await {
            Ok(row) => {
                let mut state = self.state();
                let view = state.job_view(row);
                note_success(&view);
                let update = state.set_job(view);
                self.publish(update);
            }
            Err(error) => {
                tracing::error!(%job, %error, "the live view misses a job for now");
                self.state().stale_jobs.insert(job);
            }
        }
    }

    fn show_host(&self, view: HostView) {
        let mut state = self.state();
        let update = state.set_host(view);
        self.publish(update);
    }

    fn retry_later(&self, error: &Error, hosts: &[HostId]) {
        tracing::error!(%error, "the live view could not be refreshed");
        self.state().stale.extend(hosts);
    }

    fn look_for_due(&self) {
        let bus = self.store().bus();
        let due = self.state().take_due(self.store().now());
        due.into_iter().for_each(|host| bus.touch_host(host));
        let jobs = std::mem::take(&mut self.state().stale_jobs);
        jobs.into_iter().for_each(|job| bus.touch_job(job));
    }

    fn flush_progress(&self) {
        let mut state = self.state();
        for update in state.take_progress(Instant::now()) {
            // Nobody listening is fine.
            let _ = self.inner.updates.send(update);
        }
    }

    fn publish(&self, update: Option<Utf8Bytes>) {
        if let Some(update) = update {
            let _ = self.inner.updates.send(update);
        }
    }

    fn plans(&self) -> &evidence::Plans {
        &self.inner.plans
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().expect("nothing panics while holding it")
    }
}

/// Waits for a change, and until `rested`.
///
/// # Cancel safety
/// As [`Bus::changed`].
async fn changed_after(bus: &Bus, rested: Instant) {
    tokio::time::sleep_until(rested).await;
    bus.changed().await;
}

fn note_success(job: &JobView) {
    if let Some(at) = job.finished_at.filter(|_| build::is_good(job.status)) {
        metrics::last_success(&job.host_name, &job.group, at);
    }
}
