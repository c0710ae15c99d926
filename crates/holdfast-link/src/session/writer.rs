//! What goes on the wire next. Decided only when the wire is free, so that what matters most at
//! that moment goes first.

use holdfast_protocol::{
    FRAME_SIZE_MAX, Payload,
    message::link::{ACK, EXPECT, Expect, PING, PONG, Ping},
};

use super::{Action, Frame, Notice, Session, overflow::ENVELOPE_BYTES_MAX};
use crate::store::Record;

/// Records in a row before something else gets a turn.
const BURST_MAX: u32 = 16;

/// The kind of the marker that takes the place of a record too large for the wire.
const OVERSIZE: &str = "record.oversize";

/// The lanes that take turns after records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Request,
    State,
    Log,
    Progress,
}

impl Turn {
    fn after(self) -> Self {
        match self {
            Self::Request => Self::State,
            Self::State => Self::Log,
            Self::Log => Self::Progress,
            Self::Progress => Self::Request,
        }
    }
}

impl Session {
    /// The next frame, when the wire is free, with our position on it.
    pub(super) fn poll_send(&mut self) -> Option<Action> {
        if self.liveness.is_writing() {
            return None;
        }
        let mut frame = self.next_frame()?;
        if self.has_met() {
            frame.ack = self.inbox.acknowledge();
        }
        self.liveness.write_began(self.now);
        Some(Action::Send(frame))
    }

    /// Order: greeting and goodbye, answers, proof of life, the states of a new session, records,
    /// and the rest in turn. Records yield after a burst, so that nothing waits for ever.
    fn next_frame(&mut self) -> Option<Frame> {
        if let Some(frame) = self.greeting.pop_front() {
            return Some(frame);
        }
        if self.closing.is_some() || !self.has_met() {
            return None;
        }
        self.next_answer().or_else(|| self.next_heartbeat()).or_else(|| self.next_content())
    }

    fn next_answer(&mut self) -> Option<Frame> {
        if let Some(ping) = self.pong.take() {
            return Some(Frame::control(PONG, Some(Payload::of(&ping))));
        }
        if std::mem::take(&mut self.expect) {
            let expect = Expect { next: self.inbox.next() };
            return Some(Frame::control(EXPECT, Some(Payload::of(&expect))));
        }
        let due = self.inbox.ack_due().is_some_and(|due| due <= self.now);
        due.then(|| Frame::control(ACK, None))
    }

    fn next_heartbeat(&mut self) -> Option<Frame> {
        if std::mem::take(&mut self.ping) {
            self.nonce += 1;
            return Some(Frame::control(PING, Some(Payload::of(&Ping { nonce: self.nonce }))));
        }
        self.lanes.take_heartbeat().map(Frame::unsequenced)
    }

    fn next_content(&mut self) -> Option<Frame> {
        if let Some(frame) = self.next_opening_state() {
            return Some(frame);
        }
        if self.burst < BURST_MAX
            && let Some(frame) = self.next_record()
        {
            self.burst += 1;
            return Some(frame);
        }
        self.burst = 0;
        self.next_in_turn().or_else(|| self.next_record())
    }

    fn next_opening_state(&mut self) -> Option<Frame> {
        self.opening_states = self.opening_states.checked_sub(1)?;
        self.lanes.take_state().map(Frame::unsequenced)
    }

    fn next_record(&mut self) -> Option<Frame> {
        if !self.starts_new() {
            return None;
        }
        let record = self.outbox.take(self.now)?;
        let size_bytes = record.payload.as_str().len();
        if size_bytes <= FRAME_SIZE_MAX - ENVELOPE_BYTES_MAX {
            return Some(Frame::record(record));
        }
        self.queue.push_back(Action::Notice(Notice::Oversize { seq: record.seq, size_bytes }));
        Some(Frame::record(marker(&record)))
    }

    fn next_in_turn(&mut self) -> Option<Frame> {
        if !self.starts_new() {
            return None;
        }
        (0..4).find_map(|_| {
            let turn = self.turn;
            self.turn = turn.after();
            let message = match turn {
                Turn::Request => return self.requests.next_frame(),
                Turn::State => self.lanes.take_state(),
                Turn::Log => self.lanes.take_log(),
                Turn::Progress => self.lanes.take_progress(&mut self.pace, self.now),
            };
            message.map(Frame::unsequenced)
        })
    }
}

/// A record that no frame can carry would stop the stream for ever; its place is taken by a marker
/// that the peer keeps aside as it does with any record it cannot apply (I21).
fn marker(record: &Record) -> Record {
    let body = serde_json::json!({
        "kind": record.kind,
        "size_bytes": record.payload.as_str().len(),
    });
    Record {
        seq: record.seq,
        ts: record.ts,
        kind: OVERSIZE.to_owned(),
        payload: Payload::of(&body),
    }
}
