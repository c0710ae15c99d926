//! A disk with a memory of what was synced: commits take time, and a crash decides their fate.

use std::collections::VecDeque;

/// A state that lives on a disk, and the changes on their way to it.
///
/// Changes become durable one after the other, in the order in which they were submitted, as in a
/// store with one writer.
#[derive(Debug)]
pub(crate) struct Disk<S: State> {
    durable: S,
    pending: VecDeque<(Ticket, S::Change)>,
    next_ticket: Ticket,
}

/// Names one submitted change.
pub(crate) type Ticket = u64;

/// What can be kept on a [`Disk`].
pub(crate) trait State: Clone {
    /// One transaction.
    type Change: Clone;
    /// What a transaction gives back when it is committed.
    type Receipt;

    /// Does all of `change` or, when it does not belong here any more, nothing.
    fn apply(&mut self, change: &Self::Change) -> Self::Receipt;
}

impl<S: State> Disk<S> {
    pub(crate) fn new(durable: S) -> Self {
        Self { durable, pending: VecDeque::new(), next_ticket: 1 }
    }

    /// What a power cut right now would leave.
    pub(crate) fn durable(&self) -> &S {
        &self.durable
    }

    /// For planting: reaches around the rules.
    pub(crate) fn durable_mut(&mut self) -> &mut S {
        &mut self.durable
    }

    /// What the state will be once everything submitted is durable. Reading this for the wire is
    /// the planted bug `send-before-sync`.
    pub(crate) fn hoped_for(&self) -> S {
        let mut state = self.durable.clone();
        for (_, change) in &self.pending {
            state.apply(change);
        }
        state
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn submit(&mut self, change: S::Change) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.pending.push_back((ticket, change));
        ticket
    }

    /// The oldest change becomes durable. `None` when `ticket` is not the oldest: it died in a
    /// crash.
    pub(crate) fn commit(&mut self, ticket: Ticket) -> Option<(S::Change, S::Receipt)> {
        let (_, change) = self.pending.pop_front_if(|(oldest, _)| *oldest == ticket)?;
        let receipt = self.durable.apply(&change);
        Some((change, receipt))
    }

    /// The oldest change is refused by the disk: nothing of it happened.
    pub(crate) fn refuse(&mut self, ticket: Ticket) -> bool {
        self.pending.pop_front_if(|(oldest, _)| *oldest == ticket).is_some()
    }

    /// The process dies. The first `kept` changes had reached the disk although nobody was told.
    pub(crate) fn crash(&mut self, kept: usize) {
        let survivors: Vec<S::Change> =
            self.pending.drain(..).take(kept).map(|(_, change)| change).collect();
        for change in survivors {
            self.durable.apply(&change);
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The change that a crash would find half-way.
    pub(crate) fn under_way(&self) -> Option<&S::Change> {
        self.pending.front().map(|(_, change)| change)
    }
}
