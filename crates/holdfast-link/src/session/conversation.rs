//! What the peer says in a live session.

use holdfast_protocol::{
    Class, Envelope, Message, Payload, Seq,
    message::link::{ACK, BYE, EXPECT, Expect, GO_AWAY, HELLO, PING, PONG, REJECT, WELCOME},
};

use super::{
    Action, Notice, Phase, Request, Role, Session, Violation, handshake::parse, inbox::Offer,
    request::Taken, short,
};
use jiff::Timestamp;

use crate::store::{Record, Unsequenced};

impl Session {
    pub(super) fn handle_frame(&mut self, frame: Envelope) -> Result<(), Violation> {
        self.counts.frames += 1;
        self.liveness.heard(self.now);
        self.meter.take(frame.payload.as_ref().map_or(0, |body| body.as_str().len()), self.now);
        if self.closing.is_some() {
            return Ok(());
        }
        if matches!(self.phase, Phase::Handshaking) {
            return self.handle_greeting(&frame);
        }
        if let Some(ack) = frame.ack {
            self.outbox.acknowledge(ack, self.now)?;
        }
        match frame.seq {
            Some(seq) => self.handle_record(seq, frame),
            None => self.handle_unnumbered(frame),
        }
    }

    pub(super) fn handle_alive(&mut self) {
        self.liveness.heard(self.now);
        self.meter.take(0, self.now);
    }

    fn handle_record(&mut self, seq: Seq, frame: Envelope) -> Result<(), Violation> {
        if seq == 0 {
            return Err(Violation::Unnumbered { kind: short(&frame.kind) });
        }
        let payload = frame.payload.unwrap_or_else(|| Payload::of(&()));
        let record = Record { seq, ts: frame.ts, kind: frame.kind, payload };
        match self.inbox.offer(record, self.now)? {
            Offer::Taken => {}
            Offer::Duplicate => self.counts.duplicates += 1,
            Offer::Early { ask } => {
                self.counts.early += 1;
                self.expect |= ask;
            }
        }
        Ok(())
    }

    fn handle_unnumbered(&mut self, frame: Envelope) -> Result<(), Violation> {
        match frame.kind.as_str() {
            ACK | PONG => {}
            BYE => self.handle_bye(parse(&frame, BYE)?),
            EXPECT => self.outbox.rewind(parse::<Expect>(&frame, EXPECT)?.next)?,
            GO_AWAY if self.role == Role::Agent => {
                self.handle_go_away(&parse(&frame, GO_AWAY)?);
            }
            // Only the newest waits: a flood of pings costs one pong.
            PING => self.pong = Some(parse(&frame, PING)?),
            _ if frame.in_reply_to.is_some() => self.handle_answer(frame),
            kind => return self.handle_message(kind.to_owned(), frame),
        }
        Ok(())
    }

    fn handle_message(&mut self, kind: String, frame: Envelope) -> Result<(), Violation> {
        if matches!(kind.as_str(), HELLO | WELCOME | REJECT | GO_AWAY) {
            return Err(Violation::OutOfTurn { kind });
        }
        match Message::class_of(&kind) {
            Some(Class::Record) => return Err(Violation::Unnumbered { kind }),
            Some(class) => self.inbox.deliver(Unsequenced {
                class,
                key: String::new(),
                ts: frame.ts,
                kind,
                payload: frame.payload.unwrap_or_else(|| Payload::of(&())),
            }),
            None => match frame.id {
                Some(id) => self.handle_request(id, kind, frame.ts, frame.payload),
                None => self.note_unknown(&kind),
            },
        }
        Ok(())
    }

    fn handle_request(&mut self, id: String, kind: String, ts: Timestamp, body: Option<Payload>) {
        let payload = body.unwrap_or_else(|| Payload::of(&()));
        if let Taken::Ours { id, request } = self.requests.take(id, Request { kind, ts, payload }) {
            self.queue.push_back(Action::Answer { id, request });
        }
    }

    fn handle_answer(&mut self, frame: Envelope) {
        let id = frame.in_reply_to.unwrap_or_default();
        let payload = frame.payload.unwrap_or_else(|| Payload::of(&()));
        if !self.requests.answered(&id, &frame.kind, payload) {
            self.counts.late += 1;
        }
    }

    fn note_unknown(&mut self, kind: &str) {
        self.counts.unknown += 1;
        // One line per session is enough to know; a flood must not become a flood of notices.
        if self.counts.unknown == 1 {
            self.queue.push_back(Action::Notice(Notice::UnknownKind { kind: short(kind) }));
        }
    }
}
