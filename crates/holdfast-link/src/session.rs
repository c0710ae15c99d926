//! The conversation as a pure state machine: one [`Session`] is one connected life of a link.
//!
//! Nothing here waits, opens anything, asks for the time or rolls dice. Whoever drives a session
//! calls [`Session::handle`] with what has happened and the time, carries out what
//! [`Session::poll_action`] gives until it gives nothing, and comes back at the latest at
//! [`Session::deadline`] with [`Event::Tick`]. The same events at the same times always give the
//! same actions, so a world of sessions can be simulated and every run replayed.
//!
//! What must outlive the session (records, positions) is in the [`Store`](crate::Store); the
//! session only knows how far both ends are. When it ends, the driver finishes the store work that
//! is under way, and a new session starts from the store's positions.
//!
//! ```text
//! Handshaking --hello/welcome--> Live --stop, goaway, close--> Draining --bye--> Ended
//! ```

mod action;
mod conversation;
mod event;
mod handshake;
mod inbox;
mod leaving;
mod liveness;
mod outbox;
mod overflow;
mod rate;
mod request;
mod writer;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

pub use action::{Action, Ended, Frame, Notice, Opened, Violation};
pub use event::{Admitted, CloseReason, Event, Introduction, Loss, Unreadable};
use holdfast_protocol::{Class, FRAME_SIZE_MAX, Payload, Seq, message::link::Ping};
pub use overflow::Dropped;
pub(crate) use overflow::Lanes;
pub(crate) use rate::Meter;
pub use rate::Rate;
pub(crate) use request::ASKED_MAX;
pub use request::{Outcome, Question, Request, RequestError};

use self::{
    inbox::Inbox, leaving::Drain, liveness::Liveness, outbox::Outbox, overflow::Pace,
    request::Requests, writer::Turn,
};
use crate::{
    clock::Moment,
    close_code,
    store::{Positions, Record, Unsequenced},
};

/// The times and bounds of a session.
#[derive(Debug, Clone)]
pub struct Config {
    /// How often each side shows life. The server's value is in force on both sides.
    ///
    /// Common proxies cut an idle WebSocket after 60 s, so a third of that keeps the road open.
    pub heartbeat_interval: Duration,
    /// How long the peer may be silent: two lost heartbeats, and a little. What follows (timers,
    /// the end of the session, whoever has to be told) has 2 s until the promised 50.
    pub silence_max: Duration,
    /// How long no part of a frame may leave. A frame itself may take longer, so that a large one
    /// passes on a slow line.
    pub write_max: Duration,
    /// How long the greeting may take.
    pub handshake_max: Duration,
    /// How long leaving in good order may take.
    pub drain_max: Duration,
    /// How long an ack may wait for a frame to ride on.
    pub ack_delay: Duration,
    /// How often progress of one thing may be sent.
    pub progress_interval: Duration,
    /// After how long without any ack unacknowledged records are sent again.
    pub stall_max: Duration,
    /// How much may be unacknowledged.
    pub window: Window,
    /// The largest frame that is read, in bytes; at most [`FRAME_SIZE_MAX`]. A larger one ends the
    /// session.
    pub frame_max: usize,
    /// How fast the peer may talk; `None` for as fast as it likes.
    pub rate: Option<Rate>,
    /// This session's place in the 10 % by which heartbeats are spread, from 0 to 1. Draw it anew
    /// for every session.
    pub jitter: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(20),
            silence_max: Duration::from_secs(48),
            write_max: Duration::from_secs(10),
            handshake_max: Duration::from_secs(10),
            drain_max: Duration::from_secs(5),
            ack_delay: Duration::from_millis(50),
            progress_interval: Duration::from_secs(1),
            stall_max: Duration::from_secs(60),
            window: Window::default(),
            frame_max: FRAME_SIZE_MAX,
            rate: None,
            jitter: 0.5,
        }
    }
}

/// How much may be on its way without an ack. Both ends must use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Records.
    pub records: usize,
    /// Bytes of bodies; the record that crosses the line still goes.
    pub bytes: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { records: 256, bytes: 1024 * 1024 }
    }
}

/// Which end of the link a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Dials, says hello, sends heartbeats.
    Agent,
    /// Accepts, says welcome, sends pings.
    Server,
}

/// What a session has seen. For metrics and checkers; nothing decides by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that came.
    pub frames: u64,
    /// Records that came a second time and were dropped.
    pub duplicates: u64,
    /// Records that came too early and were dropped.
    pub early: u64,
    /// Messages without number of a kind this build does not know.
    pub unknown: u64,
    /// Times unacknowledged records were sent again.
    pub resent: u64,
    /// Answers that nobody waited for any more.
    pub late: u64,
}

/// One connected life of a link, from either end.
#[derive(Debug)]
pub struct Session {
    role: Role,
    config: Config,
    phase: Phase,
    now: Moment,
    began_at: Moment,
    positions: Positions,
    /// Server: the peer's `received` and `oldest`, once its hello has come.
    hello: Option<(Seq, Seq)>,
    /// Server: how far agents are to be spread when this server goes away.
    redial_spread: Duration,
    outbox: Outbox,
    inbox: Inbox,
    liveness: Liveness,
    meter: Meter,
    lanes: Lanes,
    pace: Pace,
    requests: Requests,
    /// Actions that are due in any case, in order.
    queue: VecDeque<Action>,
    /// Words of greeting and goodbye that wait for the wire.
    greeting: VecDeque<Frame>,
    pong: Option<Ping>,
    ping: bool,
    nonce: u64,
    expect: bool,
    opening_states: usize,
    burst: u32,
    turn: Turn,
    drain: Option<Drain>,
    /// The session ends as soon as what is in `greeting` is written.
    closing: Option<(Ended, u16)>,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshaking,
    Live,
    Draining,
    Ended,
}

impl Session {
    /// The agent's end. The connection is open; the hello goes out first.
    #[must_use]
    pub fn agent(
        config: Config,
        positions: Positions,
        introduction: Introduction,
        now: Moment,
    ) -> Self {
        let mut session = Self::new(Role::Agent, config, positions, now);
        session.say_hello(introduction);
        session
    }

    /// The server's end. It learns from the hello who is there, and where its own store stands from
    /// [`Event::Admitted`].
    #[must_use]
    pub fn server(config: Config, now: Moment) -> Self {
        Self::new(Role::Server, config, Positions { received: 0, oldest: 1, next: 1 }, now)
    }

    fn new(role: Role, config: Config, positions: Positions, now: Moment) -> Self {
        Self {
            role,
            phase: Phase::Handshaking,
            now,
            began_at: now,
            positions,
            hello: None,
            redial_spread: Duration::ZERO,
            outbox: Outbox::new(config.window),
            inbox: Inbox::new(config.window),
            liveness: Liveness::new(&config, now),
            meter: Meter::new(config.rate),
            lanes: Lanes::default(),
            pace: Pace::new(config.progress_interval),
            requests: Requests::default(),
            queue: VecDeque::new(),
            greeting: VecDeque::new(),
            pong: None,
            ping: false,
            nonce: 0,
            expect: false,
            opening_states: 0,
            burst: 0,
            turn: Turn::Request,
            drain: None,
            closing: None,
            counts: Counts::default(),
            config,
        }
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The greeting is complete and the session has not ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::Draining)
    }

    /// [`Action::End`] has been given out or is about to be.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Whether the driver should read from the connection.
    ///
    /// It should not while the store is behind with messages, or the peer talks too fast: the peer
    /// then conflates its own, and memory stays bounded here. Silence is not held against it
    /// meanwhile.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.inbox.has_room() && self.meter.opens_at() <= self.now
    }

    /// What this session has seen so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the time for the frame on its way is over, unless [`Event::Flowing`] is said first.
    #[must_use]
    pub fn is_writing_too_long(&self, now: Moment) -> bool {
        self.liveness.write_deadline().is_some_and(|due| due <= now)
    }

    /// Messages that found no room so far.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.lanes.dropped()
    }

    /// Everything this session holds in memory, in messages. For checkers of the memory bound.
    #[must_use]
    pub fn held(&self) -> usize {
        let streams = self.outbox.held() + self.inbox.held();
        streams + self.lanes.len() + self.requests.held() + self.greeting.len()
    }

    /// The peer has every record of ours up to here, durably.
    #[must_use]
    pub fn acked(&self) -> Seq {
        self.outbox.acked()
    }

    /// We have every record of the peer up to here, durably.
    #[must_use]
    pub fn received(&self) -> Seq {
        self.inbox.received()
    }

    /// The messages without number that did not get out, for the next session.
    pub fn into_unsent(self) -> impl Iterator<Item = Unsequenced> {
        self.into_lanes().into_messages()
    }

    pub(crate) fn into_lanes(self) -> Lanes {
        self.lanes
    }

    /// Takes what has happened at `now`. Time never runs backwards here, whatever is passed.
    pub fn handle(&mut self, event: Event, now: Moment) {
        let held_up = !self.wants_input();
        self.now = self.now.max(now);
        if self.is_ended() {
            return;
        }
        self.note_resumed(held_up);
        if let Err(violation) = self.dispatch(event) {
            let code = violation.close_code();
            self.end(Ended::Violation(violation), code);
        }
        self.check_deadlines();
        self.check_drain();
    }

    /// The next thing to do; `None` until something happens or [`Session::deadline`] comes.
    ///
    /// It acts at the time of the last [`Session::handle`]: whoever has waited in between says
    /// [`Event::Tick`] first.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some((ticket, outcome)) = self.requests.poll_outcome() {
            return Some(Action::Settle { ticket, outcome });
        }
        if let Some(action) = self.queue.pop_front() {
            return Some(action);
        }
        if self.is_ended() {
            return None;
        }
        self.poll_store().or_else(|| self.poll_send())
    }

    /// When [`Event::Tick`] is due if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        if self.is_ended() {
            return None;
        }
        if matches!(self.phase, Phase::Handshaking) {
            let handshake = self.began_at + self.config.handshake_max;
            return [Some(handshake), self.liveness.write_deadline()].into_iter().flatten().min();
        }
        let idle = !self.liveness.is_writing();
        [
            self.wants_input().then(|| self.liveness.silence_deadline()),
            Some(self.meter.opens_at()).filter(|opens_at| *opens_at > self.now),
            self.liveness.write_deadline(),
            self.liveness.beat_deadline(),
            self.outbox.stall_deadline(self.config.stall_max),
            self.drain.map(|drain| drain.deadline),
            self.requests.deadline(),
            // What only waits for the wire needs no clock: the wire says when it is free.
            self.inbox.ack_due().filter(|_| idle),
            self.lanes.progress_deadline(&self.pace).filter(|_| idle && self.starts_new()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn dispatch(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Abandon { ticket } => self.requests.abandon(ticket),
            Event::Answer { id, kind, bytes, result } => {
                self.requests.give(id, &kind, bytes, result);
            }
            Event::Ask(question) => self.handle_ask(question),
            Event::Admitted(admitted) => self.handle_admitted(&admitted),
            Event::Alive => self.handle_alive(),
            Event::Applied => self.handle_applied(),
            Event::Close(reason) => self.handle_close(reason),
            Event::Flowing => self.liveness.write_goes_on(self.now),
            Event::Forgotten => self.outbox.forgotten(),
            Event::Frame(frame) => self.handle_frame(frame)?,
            Event::Heartbeat { ts, payload } => self.handle_heartbeat(ts, payload),
            Event::Loaded { after, records } => self.handle_loaded(after, records),
            Event::Lost(loss) => self.handle_lost(loss),
            Event::Received => self.inbox.delivered(),
            Event::Refused(reject) => self.refuse(reject),
            Event::Send(message) => self.lanes.push(message),
            Event::Skipped => self.inbox.skipped(),
            Event::Stop => self.handle_stop(),
            Event::StoreFailed(error) => self.end(Ended::Store(error), close_code::INTERNAL),
            Event::Tick => {}
            Event::Unreadable(unreadable) => return Err(Violation::Unreadable(unreadable)),
            Event::Wake => self.outbox.wake(),
            Event::Withdraw { kind, key } => self.lanes.withdraw(&kind, &key),
            Event::Written => self.handle_written(),
        }
        Ok(())
    }

    fn handle_ask(&mut self, question: Question) {
        if self.is_live() && self.starts_new() {
            self.requests.ask(question, self.now);
        } else {
            self.requests.turn_down(question.ticket);
        }
    }

    fn handle_applied(&mut self) {
        self.inbox.applied(self.now, self.config.ack_delay);
        if self.drain.is_some() {
            self.inbox.hurry(self.now);
        }
    }

    fn handle_loaded(&mut self, after: Seq, records: Vec<Record>) {
        if !self.outbox.loaded(after, records) {
            let error = crate::StoreError::new(
                "reading the outbox",
                format!("the records after {after} are not dense"),
            );
            self.end(Ended::Store(error), close_code::INTERNAL);
        }
    }

    fn handle_heartbeat(&mut self, ts: jiff::Timestamp, payload: Payload) {
        let kind = "heartbeat".to_owned();
        let class = Class::Heartbeat;
        self.lanes.push(Unsequenced { class, key: String::new(), ts, kind, payload });
    }

    fn handle_written(&mut self) {
        self.liveness.write_ended();
        if self.greeting.is_empty()
            && let Some((ended, code)) = self.closing.take()
        {
            self.end(ended, code);
        }
    }

    fn check_deadlines(&mut self) {
        if self.is_ended() {
            return;
        }
        if self.liveness.write_deadline().is_some_and(|due| due <= self.now) {
            return self.end(Ended::Stalled, close_code::TIMED_OUT);
        }
        if matches!(self.phase, Phase::Handshaking) {
            if self.began_at + self.config.handshake_max <= self.now {
                self.end(Ended::HandshakeTimedOut, close_code::TIMED_OUT);
            }
            return;
        }
        if self.wants_input() && self.liveness.silence_deadline() <= self.now {
            let silence_max = self.liveness.silence_max();
            return self.end(Ended::Silent { silence_max }, close_code::TIMED_OUT);
        }
        if self.drain.is_some_and(|drain| drain.deadline <= self.now) {
            return self.end_drain();
        }
        if self.outbox.stall_deadline(self.config.stall_max).is_some_and(|due| due <= self.now) {
            self.counts.resent += 1;
            self.outbox.send_again(self.now);
        }
        self.requests.expire(self.now);
        if self.liveness.poll_beat(self.now) {
            self.show_life();
        }
    }

    fn show_life(&mut self) {
        match self.role {
            Role::Agent => self.queue.push_back(Action::Heartbeat),
            Role::Server => self.ping = true,
        }
    }

    fn poll_store(&mut self) -> Option<Action> {
        if !self.has_met() {
            return None;
        }
        if let Some(missing) = self.inbox.poll_skip() {
            return Some(Action::Skip(missing));
        }
        if let Some(batch) = self.inbox.poll_apply() {
            return Some(Action::Apply(batch));
        }
        if let Some(message) = self.poll_delivery() {
            return Some(Action::Receive(message));
        }
        if let Some(through) = self.outbox.poll_forget() {
            return Some(Action::Forget { through });
        }
        if !self.starts_new() {
            return None;
        }
        self.outbox.poll_load().map(|(after, limit)| Action::Load { after, limit })
    }

    fn poll_delivery(&mut self) -> Option<Unsequenced> {
        let held_up = !self.wants_input();
        let message = self.inbox.poll_delivery()?;
        self.note_resumed(held_up);
        Some(message)
    }

    /// Reading was held up on our account and no longer is: the peer's silence counts from now.
    fn note_resumed(&mut self, held_up: bool) {
        if held_up && self.wants_input() {
            self.liveness.heard(self.now);
        }
    }

    /// Both ends know each other's positions.
    fn has_met(&self) -> bool {
        self.is_live()
    }

    /// Ends once what waits in `greeting` is written; the write deadline bounds the wait.
    fn finish_after_writing(&mut self, ended: Ended, code: u16) {
        self.closing = Some((ended, code));
    }

    /// Closes the connection and ends.
    fn end(&mut self, ended: Ended, code: u16) {
        if self.is_ended() {
            return;
        }
        let reason = brief(&ended);
        self.queue.push_back(Action::Close { code, reason });
        self.finish(ended);
    }

    fn finish(&mut self, ended: Ended) {
        self.phase = Phase::Ended;
        self.requests.lose();
        self.queue.push_back(Action::End(ended));
    }
}

/// At most 64 characters of a peer's word, for logs and errors.
fn short(kind: &str) -> String {
    kind.chars().take(64).collect()
}

/// A close frame holds at most 123 bytes of reason, in whole characters.
fn brief(ended: &Ended) -> String {
    let mut text = match ended {
        // Paths and database errors are nobody else's business.
        Ended::Store(_) => "the store failed".to_owned(),
        other => other.to_string(),
    };
    text.truncate(text.floor_char_boundary(120));
    text
}
