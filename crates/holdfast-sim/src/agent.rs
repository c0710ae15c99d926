//! The agent of the simulated world: its disk, and the jobs it runs.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_link::{Moment, Positions, Record, backoff::Backoff};
use holdfast_protocol::{Incarnation, Payload, Seq};

use crate::{
    body::{Body, CommandId, RecordId},
    disk::{Disk, State},
    network::ConnId,
};

/// An agent: what survives is on its disk, everything else dies with the process.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) disk: Disk<AgentState>,
    pub(crate) incarnation: Incarnation,
    /// Rises with every start of the process; what happens for an older one is void.
    pub(crate) life: u64,
    pub(crate) up: bool,
    pub(crate) frozen_until: Moment,
    pub(crate) slow_until: Moment,
    pub(crate) refuse_next: bool,
    pub(crate) unreachable_until: Moment,
    pub(crate) late_until: Moment,
    pub(crate) conn: Option<ConnId>,
    pub(crate) backoff: Backoff,
    pub(crate) opened_at: Option<Moment>,
    /// Jobs whose process runs; they die with the agent.
    pub(crate) running: BTreeSet<CommandId>,
    /// The newest configuration taken.
    pub(crate) config: u64,
}

/// What an agent keeps on disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentState {
    pub(crate) boot: u64,
    pub(crate) epoch: u64,
    pub(crate) outbox: BTreeMap<Seq, Record>,
    pub(crate) next: Seq,
    pub(crate) received: Seq,
    pub(crate) journal: BTreeMap<CommandId, Stage>,
}

/// How far a command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Received,
    Intended,
    Done,
}

/// One transaction of the agent.
#[derive(Debug, Clone)]
pub(crate) enum AgentChange {
    Append(Body),
    Apply(Vec<Record>),
    Boot,
    Done { command: CommandId, result: Option<Body> },
    Forget(Seq),
    Intend(CommandId),
    TakeEpoch(u64),
}

impl AgentState {
    pub(crate) fn positions(&self) -> Positions {
        Positions {
            received: self.received,
            oldest: self.outbox.keys().next().copied().unwrap_or(self.next),
            next: self.next,
        }
    }

    pub(crate) fn append(&mut self, body: Body) {
        let record = Record {
            seq: self.next,
            ts: jiff::Timestamp::UNIX_EPOCH,
            kind: body.kind().to_owned(),
            payload: Payload::of(&body),
        };
        self.outbox.insert(self.next, record);
        self.next += 1;
    }

    fn take(&mut self, record: &Record) -> Option<CommandId> {
        if record.seq <= self.received {
            return None;
        }
        self.received = record.seq;
        let body: Body = record.payload.parse().expect("only our own bodies are in this world");
        let command = body.command?;
        // A command that comes again is known by its id and is not run again.
        if self.journal.contains_key(&command) {
            return None;
        }
        self.journal.insert(command, Stage::Received);
        self.append(Body::answer(command));
        Some(command)
    }
}

/// What a committed transaction has brought.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Commands seen for the first time.
    pub(crate) commands: Vec<CommandId>,
}

impl State for AgentState {
    type Change = AgentChange;
    type Receipt = Taken;

    fn apply(&mut self, change: &AgentChange) -> Taken {
        let mut taken = Taken::default();
        match change {
            AgentChange::Append(body) => self.append(*body),
            AgentChange::Apply(records) => {
                taken.commands = records.iter().filter_map(|record| self.take(record)).collect();
            }
            AgentChange::Boot => self.boot += 1,
            AgentChange::Done { command, result } => {
                self.journal.insert(*command, Stage::Done);
                if let Some(result) = result {
                    self.append(*result);
                }
            }
            AgentChange::Forget(through) => self.outbox.retain(|seq, _| seq > through),
            AgentChange::Intend(command) => {
                self.journal.insert(*command, Stage::Intended);
            }
            AgentChange::TakeEpoch(epoch) => self.epoch = self.epoch.max(*epoch),
        }
        taken
    }
}

/// The end of a job, as the agent reports it.
pub(crate) fn result(id: RecordId, command: CommandId) -> Body {
    Body { id, command: Some(command), tick: None, version: None }
}
