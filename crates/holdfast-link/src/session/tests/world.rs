//! The small world the session tests live in. It is all one thread and one clock: what a test does
//! not do does not happen.

use std::{collections::VecDeque, ops::RangeInclusive, time::Duration};

use holdfast_protocol::{
    Class, Envelope, Incarnation, Instance, Payload, Seq, SessionId,
    message::link::{Facts, Hello},
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    clock::Moment,
    session::{Action, Admitted, Config, Ended, Event, Introduction, Loss, Notice, Role, Session},
    store::{Positions, Record, Unsequenced},
};

/// How far the world's agents are told to spread their redials.
pub(super) const REDIAL_SPREAD: Duration = Duration::from_secs(8);

/// A promise of the store that a disk can be made to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Answers before anything is written.
    AnswersEarly,
    /// Forgets records when they are loaded, not when they are acknowledged.
    ForgetsUnasked,
    /// Remembers only in memory how far the peer has come.
    LosesPosition,
    /// Numbers records from 1 again after a cut.
    RestartsNumbers,
}

/// What survives a session.
#[derive(Debug, Default, Clone)]
pub(super) struct Disk {
    pub(super) flaw: Option<Flaw>,
    pub(super) outbox: Vec<Record>,
    pub(super) appended: Seq,
    pub(super) received: Seq,
    pub(super) applied: Vec<u64>,
    pub(super) messages: Vec<Unsequenced>,
    pub(super) skipped: Vec<RangeInclusive<Seq>>,
}

impl Disk {
    pub(super) fn append(&mut self, payload: Payload) -> Seq {
        self.appended += 1;
        let (seq, ts, kind) = (self.appended, Timestamp::UNIX_EPOCH, "job.finished".to_owned());
        self.outbox.push(Record { seq, ts, kind, payload });
        seq
    }

    pub(super) fn positions(&self) -> Positions {
        let next = self.appended + 1;
        let oldest = self.outbox.first().map_or(next, |record| record.seq);
        Positions { received: self.received, oldest, next }
    }

    fn load(&mut self, after: Seq, limit: usize) -> Vec<Record> {
        let wanted = self.outbox.iter().filter(|record| record.seq > after);
        let records: Vec<_> = wanted.take(limit).cloned().collect();
        if self.flaw == Some(Flaw::ForgetsUnasked) {
            self.outbox.retain(|record| !records.contains(record));
        }
        records
    }

    /// The machine starts again.
    fn restart(&mut self) {
        match self.flaw {
            Some(Flaw::LosesPosition) => self.received = 0,
            Some(Flaw::RestartsNumbers) => self.appended = 0,
            Some(Flaw::AnswersEarly | Flaw::ForgetsUnasked) | None => {}
        }
    }

    fn apply(&mut self, records: Vec<Record>) {
        if self.flaw == Some(Flaw::AnswersEarly) {
            return;
        }
        for record in records {
            assert!(record.seq > self.received, "a session never hands over what is applied");
            self.received = record.seq;
            self.applied.push(record.payload.parse().unwrap_or(u64::MAX));
        }
    }
}

/// One end: a session, its disk, and the frames on their way to the other end.
pub(super) struct End {
    pub(super) session: Session,
    pub(super) disk: Disk,
    /// Frames on their way to the other end.
    pub(super) out: VecDeque<Envelope>,
    /// Every frame ever given to the wire in this session.
    pub(super) sent: Vec<Envelope>,
    pub(super) notices: Vec<Notice>,
    pub(super) ended: Option<Ended>,
    pub(super) close_code: Option<u16>,
    /// The disk does nothing until this is lifted.
    pub(super) disk_held: bool,
    /// The transport takes nothing until this is lifted.
    pub(super) wire_held: bool,
    work: VecDeque<Action>,
    unwritten: bool,
}

impl End {
    fn new(session: Session, disk: Disk) -> Self {
        Self {
            session,
            disk,
            out: VecDeque::new(),
            sent: Vec::new(),
            notices: Vec::new(),
            ended: None,
            close_code: None,
            disk_held: false,
            wire_held: false,
            work: VecDeque::new(),
            unwritten: false,
        }
    }

    pub(super) fn kinds(&self) -> Vec<&str> {
        self.sent.iter().map(|frame| frame.kind.as_str()).collect()
    }

    pub(super) fn ended(&self) -> &'static str {
        self.ended.as_ref().map_or("not", Ended::code)
    }

    /// Carries out what the session wants. `true` when something was done.
    fn pump(&mut self, now: Moment) -> bool {
        let mut busy = false;
        while let Some(action) = self.session.poll_action() {
            busy = true;
            self.carry_out(action, now);
        }
        if !self.disk_held
            && let Some(action) = self.work.pop_front()
        {
            let event = self.finish(action);
            self.session.handle(event, now);
            busy = true;
        }
        if !self.wire_held && std::mem::take(&mut self.unwritten) {
            self.session.handle(Event::Written, now);
            busy = true;
        }
        busy
    }

    fn carry_out(&mut self, action: Action, now: Moment) {
        match action {
            Action::Admit(hello) => self.session.handle(self.admit(&hello), now),
            Action::Close { code, .. } => self.close_code = Some(code),
            Action::End(ended) => self.ended = Some(ended),
            Action::Heartbeat => {
                let payload = Payload::of(&());
                self.session.handle(Event::Heartbeat { ts: Timestamp::UNIX_EPOCH, payload }, now);
            }
            Action::Notice(notice) => self.notices.push(notice),
            Action::Opened(_) => assert!(self.session.is_live()),
            Action::Send(frame) => {
                assert!(!self.unwritten, "one frame at a time");
                let envelope = frame.into_envelope(Timestamp::UNIX_EPOCH);
                // An ack is a promise: what it covers is on the disk already.
                assert!(envelope.ack.unwrap_or(0) <= self.disk.received);
                self.sent.push(envelope.clone());
                self.out.push_back(envelope);
                self.unwritten = true;
            }
            work => self.work.push_back(work),
        }
    }

    fn admit(&self, hello: &Hello) -> Event {
        assert_eq!(hello.facts.hostname, "box");
        Event::Admitted(Box::new(Admitted {
            session_id: SessionId::from_uuid(Uuid::from_u128(1)),
            epoch: hello.epoch + 1,
            positions: self.disk.positions(),
            redial_spread: REDIAL_SPREAD,
            server_time: Timestamp::UNIX_EPOCH,
        }))
    }

    fn finish(&mut self, action: Action) -> Event {
        match action {
            Action::Apply(records) => {
                self.disk.apply(records);
                Event::Applied
            }
            Action::Forget { through } => {
                self.disk.outbox.retain(|record| record.seq > through);
                Event::Forgotten
            }
            Action::Load { after, limit } => {
                Event::Loaded { after, records: self.disk.load(after, limit) }
            }
            Action::Receive(message) => {
                self.disk.messages.push(message);
                Event::Received
            }
            Action::Skip(missing) => {
                self.disk.skipped.push(missing);
                Event::Skipped
            }
            other => unreachable!("not store work: {other:?}"),
        }
    }
}

/// An agent, a server and what is between them.
pub(super) struct World {
    pub(super) now: Moment,
    pub(super) config: Config,
    pub(super) agent: End,
    pub(super) server: End,
}

impl World {
    /// Both ends connected, nothing said yet.
    pub(super) fn new() -> Self {
        Self::with(Config::default(), Disk::default(), Disk::default())
    }

    pub(super) fn with(config: Config, agent: Disk, server: Disk) -> Self {
        let now = Moment::after_origin(Duration::from_secs(1000));
        let agent_session = Session::agent(config.clone(), agent.positions(), introduction(), now);
        let server_session = Session::server(config.clone(), now);
        Self {
            now,
            config,
            agent: End::new(agent_session, agent),
            server: End::new(server_session, server),
        }
    }

    /// Both ends live and at rest.
    pub(super) fn live() -> Self {
        let mut world = Self::new();
        world.settle();
        assert!(world.agent.session.is_live() && world.server.session.is_live());
        world
    }

    pub(super) fn end(&mut self, role: Role) -> &mut End {
        match role {
            Role::Agent => &mut self.agent,
            Role::Server => &mut self.server,
        }
    }

    /// Appends `count` numbered records at one end and wakes its session.
    pub(super) fn append(&mut self, role: Role, count: u64) {
        let now = self.now;
        let end = self.end(role);
        for _ in 0..count {
            let number = end.disk.appended + 1;
            end.disk.append(Payload::of(&number));
        }
        end.session.handle(Event::Wake, now);
    }

    pub(super) fn handle(&mut self, role: Role, event: Event) {
        let now = self.now;
        self.end(role).session.handle(event, now);
    }

    /// Lets both ends work without delivering anything.
    pub(super) fn pump(&mut self) {
        while self.agent.pump(self.now) | self.server.pump(self.now) {}
    }

    /// Delivers one frame to `role`, if its peer has one under way and it reads.
    pub(super) fn deliver(&mut self, role: Role) -> bool {
        let now = self.now;
        if !self.end(role).session.wants_input() {
            return false;
        }
        let peer = match role {
            Role::Agent => Role::Server,
            Role::Server => Role::Agent,
        };
        let Some(frame) = self.end(peer).out.pop_front() else { return false };
        // Over the text form, so that everything here is also a test of the wire.
        self.end(role).session.handle(Event::from_text(&frame.to_json()), now);
        true
    }

    /// Works and delivers until nothing moves.
    pub(super) fn settle(&mut self) {
        loop {
            self.pump();
            if !(self.deliver(Role::Agent) | self.deliver(Role::Server)) {
                return;
            }
        }
    }

    /// Lets `time` pass, with every timer on its moment.
    pub(super) fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        self.settle();
        loop {
            let deadlines = [self.agent.session.deadline(), self.server.session.deadline()];
            let Some(next) = deadlines.into_iter().flatten().min().filter(|next| *next <= until)
            else {
                break;
            };
            let before = self.now;
            self.now = self.now.max(next);
            self.agent.session.handle(Event::Tick, self.now);
            self.server.session.handle(Event::Tick, self.now);
            self.settle();
            let after = [self.agent.session.deadline(), self.server.session.deadline()];
            assert!(
                self.now > before || after != deadlines,
                "a deadline that has passed must lead somewhere"
            );
        }
        self.now = until;
    }

    /// Cuts the power of one end: store work that is not finished never will be.
    pub(super) fn power_cut(&mut self, role: Role) {
        let end = self.end(role);
        end.work.clear();
        end.disk.restart();
        self.reconnect();
    }

    /// Cuts the connection; what is under way is lost. A new one is opened on the same disks.
    pub(super) fn reconnect(&mut self) {
        for role in [Role::Agent, Role::Server] {
            self.handle(role, Event::Lost(Loss::Closed { code: None, reason: String::new() }));
            let now = self.now;
            let end = self.end(role);
            // The driver finishes store work before the next session begins.
            while end.pump(now) {}
            for action in std::mem::take(&mut end.work) {
                end.finish(action);
            }
        }
        let mut next = Self::with(
            self.config.clone(),
            std::mem::take(&mut self.agent.disk),
            std::mem::take(&mut self.server.disk),
        );
        next.now = self.now;
        next.agent.session = Session::agent(
            self.config.clone(),
            next.agent.disk.positions(),
            introduction(),
            self.now,
        );
        next.server.session = Session::server(self.config.clone(), self.now);
        *self = next;
    }
}

fn introduction() -> Introduction {
    Introduction {
        incarnation: Incarnation::from_uuid(Uuid::from_u128(7)),
        boot: 1,
        instance: Instance::from_uuid(Uuid::from_u128(8)),
        epoch: 0,
        capabilities: Vec::new(),
        facts: Facts { hostname: "box".to_owned(), ..Facts::default() },
    }
}

pub(super) fn message(class: Class, kind: &str, key: &str) -> Unsequenced {
    let (key, kind) = (key.to_owned(), kind.to_owned());
    Unsequenced { class, key, ts: Timestamp::UNIX_EPOCH, kind, payload: Payload::of(&1) }
}

/// A frame made by hand.
pub(super) fn frame(text: &str) -> Event {
    let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
    value["ts"] = "2026-11-21T10:00:00Z".into();
    Event::from_text(&value.to_string())
}

pub(super) fn dense(count: u64) -> Vec<u64> {
    (1..=count).collect()
}
