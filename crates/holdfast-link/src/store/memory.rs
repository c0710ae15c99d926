//! A store that keeps everything in memory: for tests, examples and simulations.

use std::{
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
};

use holdfast_protocol::{Payload, Seq};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{Positions, Record, Store, StoreError, Unsequenced};

/// Both halves of one end of a link, in memory.
///
/// It keeps the promises of [`Store`] for as long as the process lives, which is enough to study
/// the link and not enough to rely on it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    shelf: Mutex<Shelf>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Shelf {
    outbox: Vec<Record>,
    /// Records appended so far.
    appended: Seq,
    received: Seq,
    applied: Vec<Record>,
    messages: Vec<Unsequenced>,
    skipped: Vec<RangeInclusive<Seq>>,
    failing: bool,
}

impl MemoryStore {
    /// Appends a record to the outbox. Wake the link afterwards.
    pub fn append(&self, kind: &str, payload: Payload) -> Seq {
        let mut shelf = self.shelf();
        shelf.appended += 1;
        let seq = shelf.appended;
        let ts = Timestamp::now();
        shelf.outbox.push(Record { seq, ts, kind: kind.to_owned(), payload });
        seq
    }

    /// Every record of the peer that took effect, in the order it did.
    #[must_use]
    pub fn applied(&self) -> Vec<Record> {
        self.shelf().applied.clone()
    }

    /// Every message without number that came, in the order it did.
    #[must_use]
    pub fn messages(&self) -> Vec<Unsequenced> {
        self.shelf().messages.clone()
    }

    /// Every range of records that was declared lost.
    #[must_use]
    pub fn skipped(&self) -> Vec<RangeInclusive<Seq>> {
        self.shelf().skipped.clone()
    }

    /// Records in the outbox.
    #[must_use]
    pub fn outbox_len(&self) -> usize {
        self.shelf().outbox.len()
    }

    /// From now on every write is refused, or no longer.
    pub fn set_failing(&self, failing: bool) {
        self.shelf().failing = failing;
    }

    /// Waits until `condition` holds; it is asked again after every change.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if condition(self) {
                return;
            }
            changed.await;
        }
    }

    fn write(&self, phase: &'static str, put: impl FnOnce(&mut Shelf)) -> Result<(), StoreError> {
        {
            let mut shelf = self.shelf();
            if shelf.failing {
                return Err(StoreError::new(phase, "the store was told to fail"));
            }
            put(&mut shelf);
        }
        self.changed.notify_waiters();
        Ok(())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    async fn positions(&self) -> Result<Positions, StoreError> {
        let shelf = self.shelf();
        let next = shelf.appended + 1;
        let oldest = shelf.outbox.first().map_or(next, |record| record.seq);
        Ok(Positions { received: shelf.received, oldest, next })
    }

    async fn load(&self, after: Seq, limit: usize) -> Result<Vec<Record>, StoreError> {
        let shelf = self.shelf();
        let from = shelf.outbox.partition_point(|record| record.seq <= after);
        Ok(shelf.outbox[from..].iter().take(limit).cloned().collect())
    }

    async fn forget(&self, through: Seq) -> Result<(), StoreError> {
        self.write("forgetting acknowledged records", |shelf| {
            shelf.outbox.retain(|record| record.seq > through);
        })
    }

    async fn apply(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.write("applying records", |shelf| {
            for record in records {
                if record.seq > shelf.received {
                    shelf.received = record.seq;
                    shelf.applied.push(record);
                }
            }
        })
    }

    async fn skip(&self, missing: RangeInclusive<Seq>) -> Result<(), StoreError> {
        self.write("noting lost records", |shelf| shelf.skipped.push(missing))
    }

    async fn receive(&self, message: Unsequenced) -> Result<(), StoreError> {
        self.write("taking a message", |shelf| shelf.messages.push(message))
    }
}
