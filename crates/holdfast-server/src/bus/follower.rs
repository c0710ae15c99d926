//! Who reads the logs of jobs as they grow, and is told when there is more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use holdfast_protocol::JobId;
use tokio::sync::Notify;

use super::{Bus, lock};

/// The followers of each job's log.
pub(super) type Followers = Mutex<BTreeMap<JobId, Vec<Arc<Mark>>>>;

/// What has grown since one follower last looked.
#[derive(Default)]
pub(super) struct Mark {
    grown: Mutex<BTreeSet<JobId>>,
    more: Notify,
}

/// One reader of the logs of some jobs. Dropped, it follows none.
pub(crate) struct Follower {
    bus: Bus,
    mark: Arc<Mark>,
}

impl Bus {
    /// Notes that a job's log has grown. Costs nothing where nobody follows it.
    pub(crate) fn touch_log(&self, job: JobId) {
        for mark in lock(&self.inner.followers).get(&job).into_iter().flatten() {
            lock(&mark.grown).insert(job);
            mark.more.notify_one();
        }
    }

    /// A reader that follows no log yet.
    pub(crate) fn follower(&self) -> Follower {
        Follower { bus: self.clone(), mark: Arc::default() }
    }
}

impl Follower {
    /// Follows a job's log from here on. Following it twice is following it.
    pub(crate) fn follow(&self, job: JobId) {
        let mut followers = lock(&self.bus.inner.followers);
        let marks = followers.entry(job).or_default();
        if !marks.iter().any(|mark| Arc::ptr_eq(mark, &self.mark)) {
            marks.push(Arc::clone(&self.mark));
        }
    }

    /// Follows a job's log no longer.
    pub(crate) fn leave(&self, job: JobId) {
        let mut followers = lock(&self.bus.inner.followers);
        let Some(marks) = followers.get_mut(&job) else { return };
        marks.retain(|mark| !Arc::ptr_eq(mark, &self.mark));
        if marks.is_empty() {
            followers.remove(&job);
        }
        lock(&self.mark.grown).remove(&job);
    }

    /// Waits until followed logs have grown, and tells which.
    ///
    /// # Cancel safety
    /// Safe: what has grown is taken only when it is told.
    pub(crate) async fn grown(&self) -> BTreeSet<JobId> {
        loop {
            let grown = self.take();
            if !grown.is_empty() {
                return grown;
            }
            self.mark.more.notified().await;
        }
    }

    /// Which followed logs have grown since this was last asked or told.
    pub(crate) fn take(&self) -> BTreeSet<JobId> {
        std::mem::take(&mut *lock(&self.mark.grown))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        lock(&self.bus.inner.followers).retain(|_, marks| {
            marks.retain(|mark| !Arc::ptr_eq(mark, &self.mark));
            !marks.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use uuid::Uuid;

    use super::*;

    fn job(number: u128) -> JobId {
        JobId::from_uuid(Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn a_follower_hears_of_its_logs_only_and_of_each_once() {
        let bus = Bus::default();
        let (ours, theirs) = (bus.follower(), bus.follower());
        ours.follow(job(1));
        ours.follow(job(1));
        theirs.follow(job(2));
        let touching = async {
            bus.touch_log(job(2));
            tokio::task::yield_now().await;
            bus.touch_log(job(1));
            bus.touch_log(job(1));
        };
        let (grown, ()) = tokio::join!(ours.grown(), touching);
        assert_eq!(grown, BTreeSet::from([job(1)]));
        assert_eq!(ours.grown().now_or_never(), None);
    }

    #[test]
    fn who_leaves_or_goes_is_forgotten() {
        let bus = Bus::default();
        let (one, other) = (bus.follower(), bus.follower());
        one.follow(job(1));
        other.follow(job(1));
        bus.touch_log(job(1));
        one.leave(job(1));
        assert_eq!(one.grown().now_or_never(), None);
        assert_eq!(other.grown().now_or_never(), Some(BTreeSet::from([job(1)])));
        drop(other);
        assert!(lock(&bus.inner.followers).is_empty());
    }
}
