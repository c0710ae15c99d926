//! What the peer says in a live session.

use holdfast_protocol::{
    Class, Envelope, Message, Payload, Seq,
    message::link::{ACK, BYE, EXPECT, Expect, GO_AWAY, HELLO, PING, PONG, REJECT, WELCOME},
};

use super::{
    Action, Notice, Phase, Role, Session, Violation, handshake::parse, inbox::Offer, short,
};
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
            None => self.note_unknown(&kind),
        }
        Ok(())
    }

    fn note_unknown(&mut self, kind: &str) {
        self.counts.unknown += 1;
        // One line per session is enough to know; a flood must not become a flood of notices.
        if self.counts.unknown == 1 {
            self.queue.push_back(Action::Notice(Notice::UnknownKind { kind: short(kind) }));
        }
    }
}
