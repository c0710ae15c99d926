//! The server of the simulated world: one table per agent, and the epochs that fence.

use std::collections::BTreeMap;

use holdfast_link::{Moment, Positions, Record};
use holdfast_protocol::{Instance, Payload, Seq};

use crate::{
    body::{Body, CommandId, RecordId},
    disk::{Disk, State},
};

/// The server: what survives is on its disk.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) disk: Disk<ServerState>,
    pub(crate) life: u64,
    pub(crate) up: bool,
    pub(crate) frozen_until: Moment,
    pub(crate) slow_until: Moment,
    pub(crate) refuse_next: bool,
    pub(crate) drops_at_once_until: Moment,
}

/// What the server keeps on disk.
#[derive(Debug, Clone)]
pub(crate) struct ServerState {
    pub(crate) agents: Vec<Mirror>,
}

/// One agent, as the server's database has it.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    pub(crate) epoch: u64,
    pub(crate) boot: u64,
    /// The process that was let in with `boot`.
    pub(crate) instance: Option<Instance>,
    pub(crate) outbox: BTreeMap<Seq, Record>,
    pub(crate) next: Seq,
    pub(crate) received: Seq,
    /// Every record that took effect, in the order in which it did.
    pub(crate) table: Vec<(Seq, RecordId)>,
    /// Commands and how many ends each has.
    pub(crate) commands: BTreeMap<CommandId, u32>,
    /// The version of the configuration the agent should have.
    pub(crate) config: u64,
}

/// One transaction of the server.
#[derive(Debug, Clone)]
pub(crate) enum ServerChange {
    Admit { agent: usize, boot: u64, instance: Option<Instance>, rules: Rules },
    Apply { agent: usize, epoch: u64, records: Vec<Record>, rules: Rules },
    Command { agent: usize, command: CommandId, id: RecordId },
    Configure { agent: usize },
    Forget { agent: usize, through: Seq },
}

/// Which of its rules the server keeps; all of them, unless a bug is planted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) fenced: bool,
    pub(crate) tells_copies: bool,
}

/// Whether a transaction found its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// Admitted with this epoch.
    Admitted(u64),
    /// A newer session has taken over: nothing was written.
    Fenced,
    /// A process start that is older than one already seen.
    StaleBoot,
    /// Another process with the same start: one of the two is a copy.
    Cloned,
}

impl Mirror {
    pub(crate) fn new() -> Self {
        Self {
            epoch: 0,
            boot: 0,
            instance: None,
            outbox: BTreeMap::new(),
            next: 1,
            received: 0,
            table: Vec::new(),
            commands: BTreeMap::new(),
            config: 1,
        }
    }

    pub(crate) fn positions(&self) -> Positions {
        Positions {
            received: self.received,
            oldest: self.outbox.keys().next().copied().unwrap_or(self.next),
            next: self.next,
        }
    }

    fn admit(&mut self, boot: u64, instance: Option<Instance>, rules: Rules) -> Verdict {
        if boot < self.boot {
            return Verdict::StaleBoot;
        }
        let known = self.instance.filter(|_| boot == self.boot);
        if rules.tells_copies && known.is_some() && known != instance {
            return Verdict::Cloned;
        }
        self.boot = boot;
        self.instance = instance;
        self.epoch += 1;
        Verdict::Admitted(self.epoch)
    }

    fn command(&mut self, command: CommandId, id: RecordId) {
        self.commands.insert(command, 0);
        let body = Body { id, command: Some(command), tick: None, version: None };
        let record = Record {
            seq: self.next,
            ts: jiff::Timestamp::UNIX_EPOCH,
            kind: "command.run".to_owned(),
            payload: Payload::of(&body),
        };
        self.outbox.insert(self.next, record);
        self.next += 1;
    }

    fn take(&mut self, record: &Record, rules: Rules) {
        // Without fencing the writer trusts the position of its own session, as a store does that
        // reads the position once when the session starts.
        if record.seq <= self.received && rules.fenced {
            return;
        }
        self.received = self.received.max(record.seq);
        let body: Body = record.payload.parse().expect("only our own bodies are in this world");
        self.table.push((record.seq, body.id));
        if record.kind == "job.finished"
            && let Some(ends) = body.command.and_then(|command| self.commands.get_mut(&command))
        {
            *ends += 1;
        }
    }
}

impl State for ServerState {
    type Change = ServerChange;
    type Receipt = Verdict;

    fn apply(&mut self, change: &ServerChange) -> Verdict {
        match change {
            ServerChange::Admit { agent, boot, instance, rules } => {
                return self.agents[*agent].admit(*boot, *instance, *rules);
            }
            ServerChange::Apply { agent, epoch, records, rules } => {
                let mirror = &mut self.agents[*agent];
                if *epoch != mirror.epoch && rules.fenced {
                    return Verdict::Fenced;
                }
                for record in records {
                    mirror.take(record, *rules);
                }
            }
            ServerChange::Command { agent, command, id } => {
                self.agents[*agent].command(*command, *id);
            }
            ServerChange::Configure { agent } => self.agents[*agent].config += 1,
            ServerChange::Forget { agent, through } => {
                self.agents[*agent].outbox.retain(|seq, _| seq > through);
            }
        }
        Verdict::Done
    }
}
