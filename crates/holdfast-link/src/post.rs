//! What the application has handed over and the driver has not taken yet.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use holdfast_protocol::Payload;
use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};

use crate::{
    session::{ASKED_MAX, CloseReason, Dropped, Lanes, Outcome, Question, RequestError},
    store::Unsequenced,
};

/// Withdrawals that may wait. One that is forgotten costs a progress bar one stale step.
const WITHDRAWN_MAX: usize = 256;

/// The slot between the application's threads and the one task that drives the session.
///
/// It is not a queue: everything in it is bounded by the overflow table, and handing over never
/// waits. It outlives sessions, so what is handed over while the link is down goes with the next
/// one.
#[derive(Debug, Default)]
pub(crate) struct Post {
    parcel: Mutex<Parcel>,
    /// What found no room in lanes that have been taken since.
    dropped: Mutex<Dropped>,
    asks: Mutex<Asks>,
    arrived: Notify,
}

/// Questions on their way to the session. They are taken only while there is one, because whoever
/// asks waits for an answer.
#[derive(Debug, Default)]
struct Asks {
    open: bool,
    tickets: u64,
    waiting: Vec<Ask>,
}

/// A question, and who waits for the answer.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) question: Question,
    pub(crate) asker: oneshot::Sender<Outcome>,
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

    /// Asks the peer and waits for the answer.
    ///
    /// # Cancel safety
    /// Safe: nobody waits for the answer then.
    pub(crate) async fn ask(&self, kind: &str, payload: Payload, timeout: Duration) -> Outcome {
        let answer = {
            let mut asks = self.asks();
            if !asks.open {
                return Err(RequestError::NotConnected);
            }
            if asks.waiting.len() >= ASKED_MAX {
                return Err(RequestError::TooMany);
            }
            asks.tickets += 1;
            let (ticket, kind, ts) = (asks.tickets, kind.to_owned(), Timestamp::now());
            let (asker, answer) = oneshot::channel();
            let question = Question { ticket, kind, ts, payload, timeout };
            asks.waiting.push(Ask { question, asker });
            answer
        };
        self.arrived.notify_one();
        answer.await.unwrap_or(Err(RequestError::Lost))
    }

    pub(crate) fn take_asks(&self) -> Vec<Ask> {
        std::mem::take(&mut self.asks().waiting)
    }

    /// Whether there is a session to ask. Whoever still waits when there no longer is hears of it.
    pub(crate) fn set_open(&self, open: bool) {
        let mut asks = self.asks();
        asks.open = open;
        asks.waiting.clear();
    }

    fn asks(&self) -> MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
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
        // Nothing under this lock can leave a parcel half-made, so a panic elsewhere is no reason
        // to stop talking.
        self.parcel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
