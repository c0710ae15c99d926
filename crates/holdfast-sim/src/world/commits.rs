//! Transactions: submitted, committed in order, refused, or lost with the process.

use std::time::Duration;

use holdfast_link::{StoreError, session::Event};
use rand::Rng;

use super::{Answer, Happening, World, drive::config_update};
use crate::{
    agent::{AgentChange, Taken},
    body::{CommandId, RecordId},
    disk::Ticket,
    network::{ConnId, Side},
    scenario::Place,
    server::{ServerChange, Verdict},
};

/// Who waits for a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Admit(ConnId),
    Append(RecordId),
    Apply(ConnId, Side),
    Boot(usize),
    Command(usize, CommandId),
    Configure(usize),
    Done(usize, CommandId),
    Forget(ConnId, Side),
    Intend(usize, CommandId),
    Nothing,
}

impl World {
    pub(super) fn submit_agent(&mut self, agent: usize, change: AgentChange, purpose: Purpose) {
        let ticket = self.agents[agent].disk.submit(change);
        let life = self.agents[agent].life;
        let slow = self.agents[agent].slow_until > self.now;
        self.plan_commit(Place::Agent(agent), life, ticket, purpose, slow);
    }

    pub(super) fn submit_server(&mut self, change: ServerChange, purpose: Purpose) {
        let ticket = self.server.disk.submit(change);
        let (life, slow) = (self.server.life, self.server.slow_until > self.now);
        self.plan_commit(Place::Server, life, ticket, purpose, slow);
    }

    fn plan_commit(
        &mut self,
        place: Place,
        life: u64,
        ticket: Ticket,
        purpose: Purpose,
        slow: bool,
    ) {
        self.purposes.insert((place, ticket), purpose);
        let (low, high) = self.scenario.commit;
        let mut takes = self.rng.random_range(low..=high);
        if slow {
            takes += Duration::from_millis(self.rng.random_range(50..800));
        }
        let free_at = self.disk_free_at.get(&place).copied().unwrap_or_default();
        // Commits that wait together are one group: only the first pays in full.
        let at = if free_at > self.now { free_at + takes / 16 } else { self.now + takes };
        self.disk_free_at.insert(place, at);
        self.at(at, Happening::Commit(place, life, ticket));
    }

    pub(super) fn commit(&mut self, place: Place, life: u64, ticket: Ticket) {
        let (current, refused) = match place {
            Place::Agent(agent) => {
                let agent = &mut self.agents[agent];
                (agent.life, std::mem::take(&mut agent.refuse_next))
            }
            Place::Server => (self.server.life, std::mem::take(&mut self.server.refuse_next)),
        };
        if current != life {
            return;
        }
        let purpose = self.purposes.remove(&(place, ticket)).unwrap_or(Purpose::Nothing);
        if refused {
            return self.commit_refused(place, ticket, purpose);
        }
        match place {
            Place::Agent(agent) => {
                if let Some((_, taken)) = self.agents[agent].disk.commit(ticket) {
                    self.committed_on_agent(agent, purpose, &taken);
                }
            }
            Place::Server => {
                if let Some((_, verdict)) = self.server.disk.commit(ticket) {
                    self.committed_on_server(purpose, verdict);
                }
            }
        }
    }

    /// The disk said no: nothing happened, and whoever asked is told so.
    fn commit_refused(&mut self, place: Place, ticket: Ticket, purpose: Purpose) {
        let there = match place {
            Place::Agent(agent) => self.agents[agent].disk.refuse(ticket),
            Place::Server => self.server.disk.refuse(ticket),
        };
        if !there {
            return;
        }
        match purpose {
            Purpose::Admit(conn) => self.refuse(conn, "busy", false),
            Purpose::Apply(conn, side) | Purpose::Forget(conn, side) => {
                let error = StoreError::new("committing", "the disk refused");
                self.feed(conn, side, Event::StoreFailed(error));
            }
            // An agent that cannot note a process start or end is beyond use: it starts again.
            Purpose::Boot(agent) | Purpose::Done(agent, _) | Purpose::Intend(agent, _) => {
                self.kill(Place::Agent(agent), Duration::from_secs(1), 0, false);
            }
            // Whoever wrote the record, the command or the configuration was told "no".
            Purpose::Append(..)
            | Purpose::Command(..)
            | Purpose::Configure(_)
            | Purpose::Nothing => {}
        }
    }

    fn committed_on_agent(&mut self, agent: usize, purpose: Purpose, taken: &Taken) {
        match purpose {
            Purpose::Append(id) => {
                self.history.recorded.entry(agent).or_default().push(id);
            }
            Purpose::Apply(conn, side) => self.feed(conn, side, Event::Applied),
            Purpose::Boot(_) => self.recover(agent),
            Purpose::Done(_, command) => self.job_done(agent, command),
            Purpose::Forget(conn, side) => self.feed(conn, side, Event::Forgotten),
            Purpose::Intend(_, command) => self.spawn(agent, command),
            Purpose::Admit(_) | Purpose::Command(..) | Purpose::Configure(_) | Purpose::Nothing => {
            }
        }
        for command in &taken.commands {
            self.plan_start(agent, *command);
        }
        self.wake_agent(agent);
    }

    fn committed_on_server(&mut self, purpose: Purpose, verdict: Verdict) {
        match (purpose, verdict) {
            (Purpose::Admit(conn), Verdict::Admitted(epoch)) => self.admitted(conn, epoch),
            (Purpose::Admit(conn), Verdict::Cloned) => self.refuse(conn, "cloned_identity", true),
            (Purpose::Admit(conn), _) => self.refuse(conn, "stale_boot", true),
            (Purpose::Apply(conn, side), Verdict::Fenced) => {
                let error = StoreError::new("applying", "a newer session has taken over");
                self.feed(conn, side, Event::StoreFailed(error));
            }
            (Purpose::Apply(conn, side), _) => self.feed(conn, side, Event::Applied),
            (Purpose::Forget(conn, side), _) => self.feed(conn, side, Event::Forgotten),
            (Purpose::Command(agent, command), _) => {
                self.history.commanded.insert(command, agent);
                self.wake_server(agent, || Event::Wake);
            }
            (Purpose::Configure(agent), _) => {
                let version = self.server.disk.durable().agents[agent].config;
                self.wake_server(agent, || Event::Send(config_update(version)));
            }
            _ => {}
        }
    }

    fn wake_agent(&mut self, agent: usize) {
        if let Some(conn) = self.agents[agent].conn {
            let answer = Box::new(Answer::Event(Event::Wake));
            self.after(Duration::ZERO, Happening::Answer(conn, Side::Agent, answer));
        }
    }

    fn wake_server(&mut self, agent: usize, event: impl Fn() -> Event) {
        let live: Vec<ConnId> = self
            .ends
            .iter()
            .filter(|((_, side), end)| *side == Side::Server && end.agent == agent)
            .map(|((conn, _), _)| *conn)
            .collect();
        for conn in live {
            self.feed(conn, Side::Server, event());
        }
    }
}
