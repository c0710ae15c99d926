//! What happened in a world, as an observer outside of it saw it; what the checkers judge.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_link::Moment;
use holdfast_protocol::Seq;

use crate::{
    body::{CommandId, RecordId},
    network::{ConnId, Side},
};

/// A broken promise. The first one ends the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant of `ARCHITECTURE.md` that does not hold.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
    /// When, in milliseconds of simulated time.
    pub at_ms: u128,
}

/// A question that somebody asked over a live session.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) conn: ConnId,
    pub(crate) side: Side,
    pub(crate) due: Moment,
    pub(crate) settled: bool,
}

/// The observer's notes.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Every record that anybody ever tried to write, by writer.
    pub(crate) submitted: BTreeSet<RecordId>,
    /// Records whose append was answered with "on disk", by agent.
    pub(crate) recorded: BTreeMap<usize, Vec<RecordId>>,
    /// Commands whose transaction was answered, and whose they are.
    pub(crate) commanded: BTreeMap<CommandId, usize>,
    /// Process starts by command.
    pub(crate) spawns: BTreeMap<CommandId, u32>,
    /// What each position carried when it was first seen on the wire.
    pub(crate) wire: BTreeMap<(usize, Side, Seq), String>,
    /// Questions by ticket.
    pub(crate) asked: BTreeMap<u64, Asked>,
    pub(crate) dials: BTreeMap<usize, Vec<Moment>>,
    pub(crate) process_starts: BTreeMap<usize, u32>,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) frames: u64,
    pub(crate) sessions: u64,
    pub(crate) violation: Option<Violation>,
}

impl History {
    pub(crate) fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Keeps the first broken promise; what follows from it would only confuse.
    pub(crate) fn break_promise(&mut self, invariant: &'static str, now: Moment, what: String) {
        self.violation.get_or_insert(Violation {
            invariant,
            what,
            at_ms: now.since_origin().as_millis(),
        });
    }
}
