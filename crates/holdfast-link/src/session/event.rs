//! What can happen to a session.

use std::time::Duration;

use holdfast_protocol::{
    Envelope, FRAME_SIZE_MAX, Incarnation, Instance, Payload, Seq, SessionId,
    message::link::{Facts, Refusal, Reject},
};
use jiff::Timestamp;

use super::Question;
use crate::store::{Positions, Record, StoreError, Unsequenced};

/// Everything that can happen to a session. The driver turns each wake-up into one of these and
/// decides nothing itself.
#[derive(Debug)]
pub enum Event {
    /// Nobody waits for the answer to this question any more.
    Abandon {
        /// Names the question.
        ticket: u64,
    },
    /// The server's gate let the agent in. Answers [`Action::Admit`](super::Action::Admit).
    Admitted(Box<Admitted>),
    /// A sign of life without content, such as a WebSocket ping.
    Alive,
    /// The application has answered. Answers [`Action::Answer`](super::Action::Answer).
    Answer {
        /// Names the request.
        id: String,
        /// What was asked.
        kind: String,
        /// The size of its body.
        bytes: usize,
        /// The answer.
        result: Result<Payload, Refusal>,
    },
    /// The records of [`Action::Apply`](super::Action::Apply) have taken effect, durably.
    Applied,
    /// The application asks the peer. [`Action::Settle`](super::Action::Settle) tells what became
    /// of it.
    Ask(Question),
    /// The hub wants this session closed.
    Close(CloseReason),
    /// The frame of the last [`Action::Send`](super::Action::Send) is still on its way, and a good
    /// part of it has left since this was last said: the peer reads, if slowly.
    Flowing,
    /// [`Action::Forget`](super::Action::Forget) is done.
    Forgotten,
    /// A frame came.
    Frame(Envelope),
    /// The application's proof of life. Answers [`Action::Heartbeat`](super::Action::Heartbeat).
    Heartbeat {
        /// When it was made.
        ts: Timestamp,
        /// The body.
        payload: Payload,
    },
    /// Records from the outbox. Answers [`Action::Load`](super::Action::Load).
    Loaded {
        /// The position that was asked for.
        after: Seq,
        /// Those after it, dense.
        records: Vec<Record>,
    },
    /// The connection is gone; nothing can be written any more.
    Lost(Loss),
    /// [`Action::Receive`](super::Action::Receive) is done.
    Received,
    /// The server's gate said no. Answers [`Action::Admit`](super::Action::Admit).
    Refused(Reject),
    /// The application has something to say that is not a record.
    Send(Unsequenced),
    /// [`Action::Skip`](super::Action::Skip) is done.
    Skipped,
    /// The application wants to leave: finish what is under way, say goodbye.
    Stop,
    /// The disk or the database refused.
    StoreFailed(StoreError),
    /// The time that [`Session::deadline`](super::Session::deadline) named has come.
    Tick,
    /// Something came that is not a frame.
    Unreadable(Unreadable),
    /// The application appended records to its store.
    Wake,
    /// What waits under this kind and key is no longer true and must not be sent.
    Withdraw {
        /// The kind.
        kind: String,
        /// The conflation key.
        key: String,
    },
    /// The frame of the last [`Action::Send`](super::Action::Send) has been written.
    Written,
}

impl Event {
    /// Reads one text frame. Never panics, whatever the text.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        if text.len() > FRAME_SIZE_MAX {
            return Self::Unreadable(Unreadable::TooLarge);
        }
        match Envelope::from_json(text) {
            Ok(envelope) => Self::Frame(envelope),
            Err(_) => Self::Unreadable(Unreadable::NotAnEnvelope),
        }
    }
}

/// What the agent says of itself in its hello, besides its positions.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// Which life of the outbox this is.
    pub incarnation: Incarnation,
    /// Process starts of this incarnation.
    pub boot: u64,
    /// This process: the same for all its sessions, another one after every start.
    pub instance: Instance,
    /// The epoch of the last welcome; 0 for none.
    pub epoch: u64,
    /// Names of optional abilities.
    pub capabilities: Vec<String>,
    /// What the machine and the agent are.
    pub facts: Facts,
}

/// What the server decided about a hello, and where its store stands for this agent.
#[derive(Debug)]
pub struct Admitted {
    /// This session.
    pub session_id: SessionId,
    /// Its fencing token.
    pub epoch: u64,
    /// Where the server's store for this agent stands, read after the epoch was raised.
    pub positions: Positions,
    /// How far the agent should spread its first redial.
    pub redial_spread: Duration,
    /// The server's wall clock, for showing the offset.
    pub server_time: Timestamp,
}

/// Why the hub closes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// A newer session of the same agent has taken over.
    Fenced,
    /// The agent's credential was taken back.
    Revoked,
    /// The server is going away; the agent shall come back `after` this time.
    Draining {
        /// When to redial, from now.
        after: Duration,
    },
}

/// How a connection was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The peer closed it, with a code when it gave one.
    Closed {
        /// The WebSocket close code.
        code: Option<u16>,
        /// The peer's words, at most 123 bytes by the WebSocket standard.
        reason: String,
    },
    /// The transport failed.
    Failed {
        /// What the transport says, for people.
        cause: String,
    },
}

/// Something came that is not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// Not JSON, or not an object with `kind` and `ts`.
    NotAnEnvelope,
    /// Not text.
    Binary,
    /// Larger than [`FRAME_SIZE_MAX`].
    TooLarge,
}
