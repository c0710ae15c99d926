//! What the people and programs of this world do: write records, give commands, run jobs.

use std::time::Duration;

use holdfast_link::{
    Moment, Unsequenced,
    session::{Event, Question},
};
use holdfast_protocol::{Class, Payload};
use jiff::Timestamp;
use rand::Rng;

use super::{Happening, Purpose, Work, World};
use crate::{
    agent::{AgentChange, Stage, result},
    body::{Body, CommandId},
    history::Asked,
    network::Side,
    plant::Plant,
    server::ServerChange,
};

const PROGRESS: &str = "job.progress";

/// How long a process may stand still, and find out only then that a question has waited too long.
const PATIENCE: Duration = Duration::from_secs(120);

impl World {
    pub(super) fn plan_work(&mut self) {
        let until = self.scenario.heal_at.since_origin().as_millis() as u64;
        for _ in 0..self.scenario.records {
            let agent = self.rng.random_range(0..self.agents.len());
            let at = self.rng.random_range(0..until);
            // Records come in bursts: a job's end, its snapshots, its sizes.
            for extra in 0..self.rng.random_range(1..4) {
                self.plan_at(at + extra, Work::Record(agent));
            }
        }
        for _ in 0..self.scenario.commands {
            let agent = self.rng.random_range(0..self.agents.len());
            let at = self.rng.random_range(0..until);
            self.plan_at(at, Work::Command(agent));
            if self.rng.random_bool(0.3) {
                self.plan_at(at + 5, Work::Configure(agent));
            }
        }
        for _ in 0..self.scenario.asks {
            let agent = self.rng.random_range(0..self.agents.len());
            let side = if self.rng.random_bool(0.5) { Side::Agent } else { Side::Server };
            let at = self.rng.random_range(0..until);
            self.plan_at(at, Work::Ask(agent, side));
        }
    }

    /// Somebody asks over the session there is, if there is one.
    fn ask(&mut self, agent: usize, side: Side) {
        let Some(conn) = self.agents[agent].conn else { return };
        if !self.ends.contains_key(&(conn, side)) {
            return;
        }
        let ticket = self.next_question;
        self.next_question += 1;
        let timeout = Duration::from_millis(self.rng.random_range(100..60_000));
        let due = self.now + timeout + PATIENCE;
        self.history.asked.insert(ticket, Asked { conn, side, due, settled: false });
        let question = Question {
            ticket,
            kind: "echo".to_owned(),
            ts: Timestamp::UNIX_EPOCH,
            payload: Payload::of(&ticket),
            timeout,
        };
        self.feed(conn, side, Event::Ask(question));
    }

    fn plan_at(&mut self, at_ms: u64, work: Work) {
        self.work_left += 1;
        self.at(Moment::ORIGIN + Duration::from_millis(at_ms), Happening::Work(work));
    }

    pub(super) fn work(&mut self, work: Work) {
        self.work_left -= 1;
        match work {
            Work::Record(agent) if self.agents[agent].up => {
                let id = self.new_record_id();
                let change = AgentChange::Append(Body::plain(id));
                self.submit_agent(agent, change, Purpose::Append(id));
            }
            Work::Command(agent) if self.server.up => {
                let command = self.next_command;
                self.next_command += 1;
                let id = self.new_record_id();
                let change = ServerChange::Command { agent, command, id };
                self.submit_server(change, Purpose::Command(agent, command));
            }
            Work::Configure(agent) if self.server.up => {
                let change = ServerChange::Configure { agent };
                self.submit_server(change, Purpose::Configure(agent));
            }
            Work::Ask(agent, side) => self.ask(agent, side),
            Work::Record(_) | Work::Command(_) | Work::Configure(_) => {}
        }
    }

    pub(super) fn plan_start(&mut self, agent: usize, command: CommandId) {
        let delay = Duration::from_millis(self.rng.random_range(1..300));
        let life = self.agents[agent].life;
        self.after(delay, Happening::Start(agent, life, command));
    }

    pub(super) fn start_job(&mut self, index: usize, life: u64, command: CommandId) {
        let agent = &self.agents[index];
        if agent.life == life && agent.up {
            self.submit_agent(index, AgentChange::Intend(command), Purpose::Intend(index, command));
        }
    }

    /// The intent is on disk: now, and only now, the process starts.
    pub(super) fn spawn(&mut self, index: usize, command: CommandId) {
        *self.history.spawns.entry(command).or_default() += 1;
        self.agents[index].running.insert(command);
        let life = self.agents[index].life;
        let takes = Duration::from_millis(self.rng.random_range(50..30_000));
        self.after(takes, Happening::Finish(index, life, command));
        self.after(Duration::from_millis(40), Happening::Progress(index, life, command, 1));
    }

    pub(super) fn report_progress(
        &mut self,
        index: usize,
        life: u64,
        command: CommandId,
        tick: u64,
    ) {
        let agent = &self.agents[index];
        if agent.life != life || !agent.running.contains(&command) {
            return;
        }
        if let Some(conn) = agent.conn {
            self.feed(conn, Side::Agent, Event::Send(progress(command, tick)));
        }
        let pause = Duration::from_millis(self.rng.random_range(200..1_500));
        self.after(pause, Happening::Progress(index, life, command, tick + 1));
    }

    pub(super) fn finish_job(&mut self, index: usize, life: u64, command: CommandId) {
        if self.agents[index].life != life || !self.agents[index].running.remove(&command) {
            return;
        }
        if let Some(conn) = self.agents[index].conn {
            let (kind, key) = (PROGRESS.to_owned(), command.to_string());
            self.feed(conn, Side::Agent, Event::Withdraw { kind, key });
        }
        self.write_end(index, command);
    }

    /// The end of the job and the record that tells of it are one transaction.
    fn write_end(&mut self, index: usize, command: CommandId) {
        let id = self.new_record_id();
        let apart = self.scenario.plant == Some(Plant::ResultApart);
        let result = (!apart).then(|| result(id, command));
        self.submit_agent(
            index,
            AgentChange::Done { command, result },
            Purpose::Done(index, command),
        );
    }

    pub(super) fn job_done(&mut self, index: usize, command: CommandId) {
        if self.scenario.plant == Some(Plant::ResultApart) {
            let id = self.new_record_id();
            let change = AgentChange::Append(result(id, command));
            self.submit_agent(index, change, Purpose::Append(id));
        }
    }

    /// A process has started again: what the journal says was under way is decided now.
    pub(super) fn recover(&mut self, index: usize) {
        let open: Vec<(CommandId, Stage)> = self.agents[index]
            .disk
            .durable()
            .journal
            .iter()
            .filter(|(_, stage)| **stage != Stage::Done)
            .map(|(command, stage)| (*command, *stage))
            .collect();
        for (command, stage) in open {
            match stage {
                Stage::Intended if self.scenario.plant != Some(Plant::RunAgain) => {
                    // Its process may have run: what it did is unknown, and it is not run again.
                    self.write_end(index, command);
                }
                _ => self.plan_start(index, command),
            }
        }
        let life = self.agents[index].life;
        let wait = Duration::from_millis(self.rng.random_range(0..2_000));
        self.after(wait, Happening::Dial(index, life));
    }
}

fn progress(command: CommandId, tick: u64) -> Unsequenced {
    Unsequenced {
        class: Class::Progress,
        key: command.to_string(),
        ts: Timestamp::UNIX_EPOCH,
        kind: PROGRESS.to_owned(),
        payload: Payload::of(&Body::progress(command, tick)),
    }
}
