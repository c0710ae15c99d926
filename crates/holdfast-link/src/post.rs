//! What the application has handed over and the driver has not taken yet.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{
    session::{CloseReason, Dropped, Lanes},
    store::Unsequenced,
};

/// Withdrawals that may wait. One that is forgotten costs a progress bar one stale step.
const WITHDRAWN_MAX: usize = 256;

/// The slot between the application's threads and the one task that drives the session.
///
/// It is not a queue: everything in it is bounded by the overflow table, and handing over never
/// waits. It outlives sessions, so what is handed over while the link is down goes with the next one.
#[derive(Debug, Default)]
pub(crate) struct Post {
    parcel: Mutex<Parcel>,
    /// What found no room in lanes that have been taken since.
    dropped: Mutex<Dropped>,
    arrived: Notify,
}

/// Everything handed over since the driver last looked.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) lanes: Lanes,
    pub(crate) withdrawn: BTreeSet<(String, String)>,
    pub(crate) wake: bool,
    pub(crate) close: Option<CloseReason>,
}

impl Post {
    pub(crate) fn wake(&self) {
        self.hand_over(|parcel| parcel.wake = true);
    }

    pub(crate) fn send(&self, message: Unsequenced) {
        self.hand_over(|parcel| parcel.lanes.push(message));
    }

    /// Takes back what waits under this kind and key, here and in the session.
    pub(crate) fn withdraw(&self, kind: &str, key: &str) {
        self.hand_over(|parcel| {
            parcel.lanes.withdraw(kind, key);
            parcel.withdrawn.insert((kind.to_owned(), key.to_owned()));
            if parcel.withdrawn.len() > WITHDRAWN_MAX {
                parcel.withdrawn.pop_first();
            }
        });
    }

    /// The first reason given stays.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.hand_over(|parcel| {
            parcel.close.get_or_insert(reason);
        });
    }

    /// Puts back what a session could not send; what has been handed over since counts as newer.
    pub(crate) fn put_back(&self, unsent: Lanes) {
        self.hand_over(|parcel| {
            let newer = std::mem::replace(&mut parcel.lanes, unsent);
            self.count(newer.dropped());
            for message in newer.into_messages() {
                parcel.lanes.push(message);
            }
        });
    }

    pub(crate) fn take(&self) -> Parcel {
        let parcel = std::mem::take(&mut *self.parcel());
        self.count(parcel.lanes.dropped());
        parcel
    }

    /// What found no room, in sessions that have ended and on the way to the present one.
    pub(crate) fn dropped(&self) -> Dropped {
        let waiting = self.parcel().lanes.dropped();
        let mut dropped = *self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.add(waiting);
        dropped
    }

    fn count(&self, dropped: Dropped) {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).add(dropped);
    }

    /// Waits until something has been handed over since the last wait.
    ///
    /// # Cancel safety
    /// Safe: a notice that was not taken stays.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn hand_over(&self, put: impl FnOnce(&mut Parcel)) {
        put(&mut self.parcel());
        self.arrived.notify_one();
    }

    fn parcel(&self) -> MutexGuard<'_, Parcel> {
        // Nothing under this lock can leave a parcel half-made, so a panic elsewhere is no reason to
        // stop talking.
        self.parcel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
