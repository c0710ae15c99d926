//! A gate that is always open.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use holdfast_protocol::{
    SessionId,
    message::link::{Hello, Reject},
};
use uuid::Uuid;

use super::{Admission, Gate, Mailbox};
use crate::{session::Ended, store::Store};

/// Lets anyone in, to one and the same store. For examples and tests: a real gate picks the store
/// by who calls, and raises the epoch in it.
#[derive(Debug, Default)]
pub struct OpenGate<S> {
    store: Arc<S>,
    epoch: AtomicU64,
}

impl<S: Store> OpenGate<S> {
    /// A gate in front of `store`.
    #[must_use]
    pub fn new(store: Arc<S>) -> Self {
        Self { store, epoch: AtomicU64::new(0) }
    }
}

impl<S: Store> Gate for OpenGate<S> {
    type Store = S;

    async fn admit(&self, _hello: Hello) -> Result<Admission<S>, Reject> {
        Ok(Admission {
            session_id: SessionId::from_uuid(Uuid::new_v4()),
            epoch: self.epoch.fetch_add(1, Ordering::Relaxed) + 1,
            store: Arc::clone(&self.store),
            states: Vec::new(),
            redial_spread: Duration::from_secs(2),
        })
    }

    async fn opened(&self, _mailbox: Mailbox) {}

    async fn closed(&self, _session_id: SessionId, _ended: &Ended) {}
}
