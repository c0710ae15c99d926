//! What changed, between the store and those who show it.
//!
//! The bus carries names of things, not their content: whoever listens reads the newest state from
//! the store. So it cannot overflow, and nothing is told twice when it changed twice.

mod follower;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use holdfast_protocol::{
    HostId, JobId,
    message::job::{Heartbeat, Progress},
};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

pub(crate) use follower::Follower;
use follower::Followers;

/// A clone is another handle to the same bus.
#[derive(Clone, Default)]
pub(crate) struct Bus {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    changes: Mutex<Changes>,
    changed: Notify,
    heartbeats: Mutex<BTreeMap<HostId, Heard>>,
    /// The newest epoch of each host that has connected, so that what a fenced session still says
    /// is not heard. Records are fenced by the store itself.
    epochs: Mutex<BTreeMap<HostId, u64>>,
    heard: Notify,
    /// Hosts whose configuration changed by what their own agents told.
    owed: Mutex<BTreeSet<HostId>>,
    /// Raised when somebody's access may have ended.
    access: watch::Sender<u64>,
    followers: Followers,
}

/// What changed since the last look.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) hosts: BTreeSet<HostId>,
    pub(crate) removed: BTreeSet<HostId>,
    pub(crate) jobs: BTreeSet<JobId>,
    /// The newest progress of each job, and the host that reported it.
    pub(crate) progress: BTreeMap<JobId, (HostId, Progress)>,
}

/// A host's newest heartbeat.
pub(crate) struct Heard {
    pub(crate) heartbeat: Heartbeat,
    pub(crate) at: Timestamp,
}

/// Progress of this many jobs waits at most; a fleet has fewer jobs running at once.
const PROGRESS_WAITING: usize = 100_000;

impl Bus {
    pub(crate) fn touch_host(&self, host: HostId) {
        self.change(|changes| changes.hosts.insert(host));
    }

    pub(crate) fn remove_host(&self, host: HostId) {
        self.change(|changes| changes.removed.insert(host));
    }

    pub(crate) fn touch_job(&self, job: JobId) {
        self.change(|changes| changes.jobs.insert(job));
    }

    pub(crate) fn progress(&self, host: HostId, progress: Progress) {
        self.change(|changes| {
            if changes.progress.len() < PROGRESS_WAITING {
                changes.progress.insert(progress.job_id, (host, progress));
            }
        });
    }

    pub(crate) fn heartbeat(&self, host: HostId, heartbeat: Heartbeat, at: Timestamp) {
        lock(&self.inner.heartbeats).insert(host, Heard { heartbeat, at });
        self.inner.heard.notify_one();
    }

    /// Notes that a newer session has the host.
    pub(crate) fn fence(&self, host: HostId, epoch: u64) {
        let mut epochs = lock(&self.inner.epochs);
        let newest = epochs.entry(host).or_default();
        *newest = epoch.max(*newest);
    }

    /// Whether `epoch` still is the host's newest.
    pub(crate) fn is_current(&self, host: HostId, epoch: u64) -> bool {
        lock(&self.inner.epochs).get(&host).is_none_or(|newest| *newest == epoch)
    }

    /// Waits until there is something to take. One task listens.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken here.
    pub(crate) async fn changed(&self) {
        self.inner.changed.notified().await;
    }

    pub(crate) fn take_changes(&self) -> Changes {
        std::mem::take(&mut *lock(&self.inner.changes))
    }

    /// As [`changed`](Self::changed), for heartbeats.
    pub(crate) async fn heard(&self) {
        self.inner.heard.notified().await;
    }

    pub(crate) fn take_heartbeats(&self) -> BTreeMap<HostId, Heard> {
        std::mem::take(&mut *lock(&self.inner.heartbeats))
    }

    /// Notes that a host has to be told its configuration again.
    pub(crate) fn owe_config(&self, host: HostId) {
        lock(&self.inner.owed).insert(host);
    }

    pub(crate) fn take_owed_configs(&self) -> BTreeSet<HostId> {
        std::mem::take(&mut *lock(&self.inner.owed))
    }

    /// Notes that a user, an API token or a sign-in was changed or removed.
    pub(crate) fn touch_access(&self) {
        self.inner.access.send_modify(|count| *count += 1);
    }

    /// Tells whenever somebody's access may have ended.
    pub(crate) fn access(&self) -> watch::Receiver<u64> {
        self.inner.access.subscribe()
    }

    fn change<T>(&self, note: impl FnOnce(&mut Changes) -> T) {
        note(&mut lock(&self.inner.changes));
        self.inner.changed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while holding it")
}
