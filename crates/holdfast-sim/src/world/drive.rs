//! The driver of this world: turns what happens into events of a session, and its actions into what
//! will happen.

use std::time::Duration;

use holdfast_link::{
    Session, Unsequenced,
    session::{
        Action, Admitted, CloseReason, Ended, Event, Frame, Introduction, Loss, Opened, Request,
        Unreadable,
    },
};
use holdfast_protocol::{
    Class, Instance, Payload, SessionId,
    message::link::{Facts, Hello, Reject},
};
use jiff::Timestamp;
use rand::Rng;
use uuid::Uuid;

use super::{Answer, End, Happening, Purpose, Wire, World};
use crate::{
    agent::AgentChange,
    body::Body,
    checker,
    history::Asked,
    network::{ConnId, Fate, Side},
    plant::Plant,
    scenario::Place,
    server::{Rules, ServerChange},
};

/// After this long a session has proven stable, as in the real driver.
const STABLE_AFTER: Duration = Duration::from_secs(30);

impl World {
    pub(super) fn dial(&mut self, index: usize, life: u64) {
        let now = self.now;
        let agent = &mut self.agents[index];
        if !agent.up || agent.life != life || agent.conn.is_some() {
            return;
        }
        if !agent.disk.is_idle() {
            // What the last session left under way is finished first: positions come from the disk.
            return self.after(Duration::from_millis(1), Happening::Dial(index, life));
        }
        self.history.dials.entry(index).or_default().push(now);
        let unreachable = agent.unreachable_until > now || !self.server.up;
        let latency = self.latency(index);
        if self.server.frozen_until > now {
            // The kernel takes the connection, and nobody answers.
            return self.redial(index, Duration::from_secs(15), None);
        }
        if unreachable {
            let found_out =
                if self.rng.random_bool(0.3) { Duration::from_secs(15) } else { latency };
            return self.redial(index, found_out, None);
        }
        let conn = self.network.open(index);
        self.agents[index].conn = Some(conn);
        self.after(latency * 2, Happening::Connect(index, life, conn));
    }

    /// Plans the next dial: after what the server asked for, or by backoff.
    fn redial(&mut self, index: usize, found_out: Duration, asked: Option<Duration>) {
        let random = self.rng.random();
        let agent = &mut self.agents[index];
        let wait = match asked {
            Some(after) => after,
            None if self.scenario.plant == Some(Plant::NoBackoff) => Duration::ZERO,
            None => agent.backoff.advance(random),
        };
        let life = agent.life;
        self.after(found_out + wait, Happening::Dial(index, life));
    }

    pub(super) fn connect(&mut self, index: usize, life: u64, conn: ConnId) {
        let agent = &self.agents[index];
        if agent.life != life || agent.conn != Some(conn) {
            return;
        }
        if !self.server.up || self.server.drops_at_once_until > self.now {
            self.agents[index].conn = None;
            self.network.forget(conn);
            return self.redial(index, Duration::ZERO, None);
        }
        let instance = Instance::from_uuid(Uuid::from_u128(u128::from(life)));
        self.open_ends(conn, index, instance, false);
    }

    /// Opens both ends of a connection. A copy of the machine says what is on the agent's disk, but
    /// is another process.
    pub(super) fn open_ends(&mut self, conn: ConnId, agent: usize, instance: Instance, copy: bool) {
        let state = self.agents[agent].disk.durable();
        let introduction = Introduction {
            incarnation: self.agents[agent].incarnation,
            boot: state.boot,
            instance,
            epoch: state.epoch,
            capabilities: Vec::new(),
            facts: Facts::default(),
        };
        let positions = state.positions();
        let (ours, theirs) = (self.config(), self.config());
        let session = Session::agent(ours, positions, introduction, self.now);
        self.open_end(conn, Side::Agent, End::new(session, agent, copy));
        let session = Session::server(theirs, self.now);
        self.open_end(conn, Side::Server, End::new(session, agent, copy));
    }

    fn open_end(&mut self, conn: ConnId, side: Side, end: End) {
        self.ends.insert((conn, side), end);
        self.feed(conn, side, Event::Tick);
    }

    pub(super) fn tick(&mut self, conn: ConnId, side: Side) {
        let now = self.now;
        let Some(end) = self.ends.get_mut(&(conn, side)) else { return };
        if end.tick_at.take_if(|due| *due <= now).is_some() {
            self.feed(conn, side, Event::Tick);
        }
    }

    pub(super) fn arrive(&mut self, conn: ConnId, side: Side, wire: Wire) {
        match wire {
            Wire::Frame(mut frame) => {
                if self.scenario.plant == Some(Plant::NoGapCheck) {
                    self.close_gap(conn, side, &mut frame);
                }
                if self.scenario.plant == Some(Plant::AnswersCrossed) {
                    self.cross_answer(conn, side, &mut frame);
                }
                self.feed(conn, side, Event::Frame(frame));
            }
            Wire::Rubbish => {
                self.feed(conn, side, Event::Unreadable(Unreadable::NotAnEnvelope));
            }
            Wire::Closed { code } => {
                let loss = Loss::Closed { code, reason: String::new() };
                self.feed(conn, side, Event::Lost(loss));
            }
        }
    }

    /// The planted bug: whatever comes next is taken for the next one.
    fn close_gap(&mut self, conn: ConnId, side: Side, frame: &mut holdfast_protocol::Envelope) {
        let Some(end) = self.ends.get_mut(&(conn, side)) else { return };
        let Some(seq) = frame.seq else { return };
        let next = end.last_seq.unwrap_or_else(|| end.session.received()) + 1;
        frame.seq = Some(seq.min(next));
        end.last_seq = Some(end.last_seq.unwrap_or(0).max(seq.min(next)));
    }

    /// The planted bug: an answer goes to whoever has waited longest.
    fn cross_answer(&self, conn: ConnId, side: Side, frame: &mut holdfast_protocol::Envelope) {
        let waits = |asked: &Asked| !asked.settled && (asked.conn, asked.side) == (conn, side);
        let longest = self.history.asked.iter().find(|(_, asked)| waits(asked));
        if let (Some(id), Some((ticket, _))) = (&mut frame.in_reply_to, longest) {
            *id = ticket.to_string();
        }
    }

    pub(super) fn answer(&mut self, conn: ConnId, side: Side, answer: Answer) {
        let event = match answer {
            Answer::Event(event) => event,
            Answer::Load { after, limit } => {
                let records = self.read_outbox(conn, side, after, limit);
                Event::Loaded { after, records }
            }
        };
        self.feed(conn, side, event);
    }

    fn read_outbox(
        &self,
        conn: ConnId,
        side: Side,
        after: u64,
        limit: usize,
    ) -> Vec<holdfast_link::Record> {
        let Some(end) = self.ends.get(&(conn, side)) else { return Vec::new() };
        let hasty = self.scenario.plant == Some(Plant::SendBeforeSync);
        let outbox = match side {
            Side::Agent if hasty => self.agents[end.agent].disk.hoped_for().outbox,
            Side::Agent => {
                return read(&self.agents[end.agent].disk.durable().outbox, after, limit);
            }
            Side::Server if hasty => {
                self.server.disk.hoped_for().agents.swap_remove(end.agent).outbox
            }
            Side::Server => {
                return read(&self.server.disk.durable().agents[end.agent].outbox, after, limit);
            }
        };
        read(&outbox, after, limit)
    }

    /// Tells a session something and does all it wants.
    pub(super) fn feed(&mut self, conn: ConnId, side: Side, event: Event) {
        let Some(mut end) = self.ends.remove(&(conn, side)) else { return };
        end.session.handle(event, self.now);
        while let Some(action) = end.session.poll_action() {
            self.perform(conn, side, &mut end, action);
        }
        if let Err(what) = checker::memory::check(&end.session) {
            self.violate("I10", what);
        }
        if !end.session.is_ended() {
            self.plan_tick(conn, side, &mut end);
            self.ends.insert((conn, side), end);
        } else if let Err(what) = checker::answers::ended(&self.history, conn, side) {
            self.violate("requests", what);
        }
    }

    fn plan_tick(&mut self, conn: ConnId, side: Side, end: &mut End) {
        // A deadline in the past is due now.
        let due = end.session.deadline().map(|at| at.max(self.now));
        if due != end.tick_at
            && let Some(at) = due
        {
            self.at(at, Happening::Tick(conn, side));
        }
        end.tick_at = due;
    }

    fn perform(&mut self, conn: ConnId, side: Side, end: &mut End, action: Action) {
        if end.copy && side == Side::Agent {
            return self.perform_copy(conn, end, action);
        }
        match action {
            Action::Admit(hello) => self.admit(conn, end.agent, &hello),
            Action::Answer { id, request } => self.answer_later(conn, side, id, request),
            Action::Settle { ticket, outcome } => {
                let judged = checker::answers::settled(&mut self.history, ticket, &outcome);
                if let Err(what) = judged {
                    self.violate("requests", what);
                }
            }
            Action::Apply(records) => self.apply(conn, side, end, records),
            Action::Close { code, .. } => self.close(conn, side, end.agent, Some(code)),
            Action::End(ended) => self.end(conn, side, end.agent, &ended),
            Action::Forget { through } => self.forget(conn, side, end.agent, through),
            Action::Heartbeat => {
                let payload = Payload::of(&Body::config(self.agents[end.agent].config));
                self.tell_soon(conn, side, Event::Heartbeat { ts: Timestamp::UNIX_EPOCH, payload });
            }
            Action::Load { after, limit } => {
                let delay = Duration::from_micros(self.rng.random_range(20..2_000));
                let answer = Box::new(Answer::Load { after, limit });
                self.after(delay, Happening::Answer(conn, side, answer));
            }
            Action::Notice(notice) => self.heed(&notice),
            Action::Opened(opened) => self.opened(conn, side, end, &opened),
            Action::Receive(message) => self.receive(conn, side, end.agent, &message),
            Action::Send(frame) => self.send(conn, side, end, frame),
            Action::Skip(missing) => {
                self.violate("I4", format!("records {missing:?} were declared missing"));
                self.tell_soon(conn, side, Event::Skipped);
            }
        }
    }

    /// The application thinks for a while and says what it was asked.
    fn answer_later(&mut self, conn: ConnId, side: Side, id: String, request: Request) {
        let Request { kind, payload, .. } = request;
        let bytes = payload.as_str().len();
        let thinks = Duration::from_millis(self.rng.random_range(0..20_000));
        let answer = Event::Answer { id, kind, bytes, result: Ok(payload) };
        self.after(thinks, Happening::Answer(conn, side, Box::new(Answer::Event(answer))));
    }

    /// I9: a copy has nothing to do here but to greet and to be told no.
    fn perform_copy(&mut self, conn: ConnId, end: &mut End, action: Action) {
        match action {
            Action::Send(frame) => self.send(conn, Side::Agent, end, frame),
            Action::Close { code, .. } => self.close(conn, Side::Agent, end.agent, Some(code)),
            Action::Opened(_) => {
                self.violate("I9", format!("a copy of agent {} was let in", end.agent));
            }
            _ => {}
        }
    }

    pub(super) fn tell_soon(&mut self, conn: ConnId, side: Side, event: Event) {
        let answer = Box::new(Answer::Event(event));
        self.after(Duration::ZERO, Happening::Answer(conn, side, answer));
    }

    fn admit(&mut self, conn: ConnId, agent: usize, hello: &Hello) {
        let (boot, instance, rules) = (hello.boot, hello.instance, self.rules());
        let change = ServerChange::Admit { agent, boot, instance, rules };
        self.submit_server(change, Purpose::Admit(conn));
    }

    /// The admission is on disk: older sessions of this agent go, the new one is told.
    pub(super) fn admitted(&mut self, conn: ConnId, epoch: u64) {
        let Some(end) = self.ends.get_mut(&(conn, Side::Server)) else { return };
        end.epoch = epoch;
        let agent = end.agent;
        if self.scenario.plant != Some(Plant::NoFencing) {
            self.fence_others(conn, agent);
        }
        let admitted = Admitted {
            session_id: SessionId::from_uuid(Uuid::from_u128(u128::from(epoch))),
            epoch,
            positions: self.server.disk.durable().agents[agent].positions(),
            redial_spread: Duration::from_secs(2),
            server_time: Timestamp::UNIX_EPOCH,
        };
        self.feed(conn, Side::Server, Event::Admitted(Box::new(admitted)));
    }

    fn fence_others(&mut self, conn: ConnId, agent: usize) {
        let others: Vec<ConnId> = self
            .ends
            .iter()
            .filter(|((id, side), end)| *side == Side::Server && *id != conn && end.agent == agent)
            .map(|((id, _), _)| *id)
            .collect();
        for other in others {
            self.feed(other, Side::Server, Event::Close(CloseReason::Fenced));
        }
    }

    pub(super) fn refuse(&mut self, conn: ConnId, code: &str, fatal: bool) {
        let reject = Reject {
            code: code.to_owned(),
            message: "refused".to_owned(),
            retry_after_ms: None,
            fatal,
        };
        self.feed(conn, Side::Server, Event::Refused(reject));
    }

    fn apply(&mut self, conn: ConnId, side: Side, end: &End, records: Vec<holdfast_link::Record>) {
        let hasty = self.scenario.plant == Some(Plant::AckBeforeSync);
        let purpose = if hasty { Purpose::Nothing } else { Purpose::Apply(conn, side) };
        match side {
            Side::Agent => {
                self.submit_agent(end.agent, AgentChange::Apply(records), purpose);
            }
            Side::Server => {
                let (agent, epoch, rules) = (end.agent, end.epoch, self.rules());
                let change = ServerChange::Apply { agent, epoch, records, rules };
                self.submit_server(change, purpose);
            }
        }
        if hasty {
            self.tell_soon(conn, side, Event::Applied);
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            fenced: self.scenario.plant != Some(Plant::NoFencing),
            tells_copies: self.scenario.plant != Some(Plant::CopyLetIn),
        }
    }

    fn forget(&mut self, conn: ConnId, side: Side, agent: usize, through: u64) {
        let purpose = Purpose::Forget(conn, side);
        match side {
            Side::Agent => self.submit_agent(agent, AgentChange::Forget(through), purpose),
            Side::Server => {
                self.submit_server(ServerChange::Forget { agent, through }, purpose);
            }
        }
    }

    fn opened(&mut self, conn: ConnId, side: Side, end: &mut End, opened: &Opened) {
        match side {
            Side::Agent => {
                let agent = &mut self.agents[end.agent];
                agent.opened_at = Some(self.now);
                self.submit_agent(
                    end.agent,
                    AgentChange::TakeEpoch(opened.epoch),
                    Purpose::Nothing,
                );
            }
            Side::Server => {
                self.history.sessions += 1;
                let version = self.server.disk.durable().agents[end.agent].config;
                self.tell_soon(conn, side, Event::Send(config_update(version)));
            }
        }
    }

    fn receive(&mut self, conn: ConnId, side: Side, agent: usize, message: &Unsequenced) {
        if let Ok(body) = message.payload.parse::<Body>() {
            match (side, body.version, body.command) {
                (Side::Agent, Some(version), _) => {
                    let known = &mut self.agents[agent].config;
                    *known = version.max(*known);
                }
                (Side::Server, Some(version), _) => self.mend_config(conn, agent, version),
                (Side::Server, _, Some(command)) => self.check_progress(agent, command),
                _ => {}
            }
        }
        self.tell_soon(conn, side, Event::Received);
    }

    /// A state is not acknowledged. Should a middle box have lost it, the version in the heartbeat
    /// tells, and the server says it again.
    fn mend_config(&mut self, conn: ConnId, agent: usize, version: u64) {
        let current = self.server.disk.durable().agents[agent].config;
        if version < current {
            self.tell_soon(conn, Side::Server, Event::Send(config_update(current)));
        }
    }

    /// I6: nothing of a job is shown after its end. A middle box that plays old frames again can do
    /// that to any protocol without a number on each frame, so there it is not held against ours.
    fn check_progress(&mut self, agent: usize, command: u64) {
        let ends = self.server.disk.durable().agents[agent].commands.get(&command).copied();
        let meddled = self.scenario.middle_box.is_some() || self.now < self.meddled_until;
        if ends.is_some_and(|ends| ends > 0) && !meddled {
            self.violate("I6", format!("progress of command {command} came after its end"));
        }
    }

    fn send(&mut self, conn: ConnId, side: Side, end: &mut End, frame: Frame) {
        self.history.frames += 1;
        if let Err((invariant, what)) = checker::durability::check(self, end.agent, side, &frame) {
            self.violate(invariant, what);
        }
        if self.scenario.plant == Some(Plant::ForgetAtSend)
            && let Some(seq) = frame.seq
        {
            self.forget_at_once(side, end.agent, seq);
        }
        let envelope = frame.into_envelope(Timestamp::UNIX_EPOCH);
        let delay = self.latency(end.agent);
        match self.network.write(conn, side, self.now, delay) {
            Fate::Arrives(at) => self.carry(conn, side, end.agent, at, envelope),
            Fate::Swallowed => {}
            Fate::Hangs => return,
        }
        let written = Duration::from_micros(self.rng.random_range(5..300));
        let answer = Box::new(Answer::Event(Event::Written));
        self.after(written, Happening::Answer(conn, side, answer));
    }

    fn forget_at_once(&mut self, side: Side, agent: usize, seq: u64) {
        match side {
            Side::Agent => self.agents[agent].disk.durable_mut().outbox.remove(&seq),
            Side::Server => self.server.disk.durable_mut().agents[agent].outbox.remove(&seq),
        };
    }

    fn close(&mut self, conn: ConnId, side: Side, agent: usize, code: Option<u16>) {
        let delay = self.latency(agent);
        if let Some(at) = self.network.shut(conn, side, self.now, delay) {
            self.at(at, Happening::Arrive(conn, side.other(), Wire::Closed { code }));
        }
    }

    fn end(&mut self, conn: ConnId, side: Side, agent: usize, ended: &Ended) {
        if let Ended::PeerAhead { .. } = ended {
            self.violate("I3", format!("{side:?} of agent {agent}: {ended}"));
        }
        if side == Side::Server {
            return;
        }
        self.agents[agent].conn = None;
        let stable = self.agents[agent]
            .opened_at
            .take()
            .is_some_and(|opened| self.now - opened >= STABLE_AFTER);
        if stable {
            self.agents[agent].backoff.reset();
        }
        // The connection is half gone; the server's half goes by itself.
        self.close(conn, side, agent, None);
        match ended {
            Ended::GoAway { after } => self.redial(agent, Duration::ZERO, Some(*after)),
            Ended::Rejected(reject) if reject.fatal => {
                self.redial(agent, Duration::ZERO, Some(Duration::from_secs(60)));
            }
            _ => self.redial(agent, Duration::ZERO, None),
        }
    }

    /// Everybody who must be told of a place's death, from the network.
    pub(super) fn drop_ends(&mut self, place: Place, silently: bool) {
        let gone: Vec<(ConnId, Side)> = self
            .ends
            .iter()
            .filter(|((_, side), end)| match place {
                Place::Agent(agent) => *side == Side::Agent && end.agent == agent,
                Place::Server => *side == Side::Server,
            })
            .map(|(key, _)| *key)
            .collect();
        for (conn, side) in gone {
            let end = self.ends.remove(&(conn, side)).expect("it was there a moment ago");
            // Whoever asked has died, too.
            self.history.asked.retain(|_, asked| (asked.conn, asked.side) != (conn, side));
            if silently {
                self.network.swallow(conn, crate::scenario::Way::Both);
                self.expect_noticed(conn, side.other());
            } else {
                self.close(conn, side, end.agent, None);
            }
        }
    }
}

fn read(
    outbox: &std::collections::BTreeMap<u64, holdfast_link::Record>,
    after: u64,
    limit: usize,
) -> Vec<holdfast_link::Record> {
    outbox.range(after + 1..).take(limit).map(|(_, record)| record.clone()).collect()
}

pub(super) fn config_update(version: u64) -> Unsequenced {
    Unsequenced {
        class: Class::State,
        key: String::new(),
        ts: Timestamp::UNIX_EPOCH,
        kind: "config.update".to_owned(),
        payload: Payload::of(&Body::config(version)),
    }
}
