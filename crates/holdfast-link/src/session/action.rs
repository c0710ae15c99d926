//! What a session wants done, and how it can end.

use std::{borrow::Cow, fmt, ops::RangeInclusive, time::Duration};

use holdfast_protocol::{
    Envelope, Payload, Seq, SessionId,
    message::link::{Hello, Reject},
};
use jiff::Timestamp;

use super::{CloseReason, Loss, Outcome, Request, Unreadable};
use crate::{
    close_code,
    store::{Record, StoreError, Unsequenced},
};

/// What the driver must do. At most one of each kind of store work is under way at a time.
#[derive(Debug)]
pub enum Action {
    /// Ask the gate whether this agent may come in. Server only.
    Admit(Box<Hello>),
    /// The peer asks: answer [`Event::Answer`](super::Event::Answer) with the same `id`. It may
    /// take its time.
    Answer {
        /// Names the request.
        id: String,
        /// What is asked.
        request: Request,
    },
    /// Apply these and the new inbox position in one synced transaction; answer
    /// [`Event::Applied`](super::Event::Applied).
    Apply(Vec<Record>),
    /// Close the connection with this code. Nothing is sent after it.
    Close {
        /// The WebSocket close code.
        code: u16,
        /// One sentence for people, at most 120 bytes.
        reason: String,
    },
    /// The session is over. Always the last action.
    End(Ended),
    /// The peer has these: forget them; answer [`Event::Forgotten`](super::Event::Forgotten).
    Forget {
        /// The last one to forget.
        through: Seq,
    },
    /// A proof of life is due: answer [`Event::Heartbeat`](super::Event::Heartbeat). Agent only.
    Heartbeat,
    /// Read records from the outbox; answer [`Event::Loaded`](super::Event::Loaded).
    Load {
        /// The position before the first wanted one.
        after: Seq,
        /// How many at most.
        limit: usize,
    },
    /// Something worth a line in the log.
    Notice(Notice),
    /// The handshake is complete.
    Opened(Opened),
    /// Hand this to the store; answer [`Event::Received`](super::Event::Received).
    Receive(Unsequenced),
    /// What became of a question; each gets exactly one of these, unless it was abandoned.
    Settle {
        /// Names the question.
        ticket: u64,
        /// The answer, or why there is none.
        outcome: Outcome,
    },
    /// Write this frame; answer [`Event::Written`](super::Event::Written). No other frame is given
    /// out until then, so the order of importance is decided as late as possible.
    Send(Frame),
    /// The peer no longer has these records: tell the store; answer
    /// [`Event::Skipped`](super::Event::Skipped).
    Skip(RangeInclusive<Seq>),
}

/// What both ends know once the handshake is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// This session.
    pub session_id: SessionId,
    /// Its fencing token.
    pub epoch: u64,
    /// How far the agent spreads its first redial after this session.
    pub redial_spread: Duration,
    /// The server's wall clock when it wrote the welcome.
    pub server_time: Timestamp,
}

/// Something a person may want to know; the conversation goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The peer asks for records that were forgotten long ago: its store was set back to an older
    /// copy. What we still have goes on from the next record.
    PeerSetBack {
        /// The records nobody has any more, as far as this end knows.
        missing: RangeInclusive<Seq>,
    },
    /// The peer declared that it no longer has records this end never got.
    Missing {
        /// Those records.
        missing: RangeInclusive<Seq>,
    },
    /// A record too large for the wire was sent as a marker in its place.
    Oversize {
        /// Its position.
        seq: Seq,
        /// The size of its body in bytes.
        size_bytes: usize,
    },
    /// A message without number came whose kind this build does not know; it was counted and left.
    UnknownKind {
        /// The kind, at most 64 characters of it.
        kind: String,
    },
}

/// A frame on its way out. The driver stamps the time of those that carry none of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// What is said.
    pub kind: Cow<'static, str>,
    /// Names a request.
    pub id: Option<String>,
    /// The request that this answers.
    pub in_reply_to: Option<String>,
    /// When the content was made; `None` for the link's own words, which are made when written.
    pub ts: Option<Timestamp>,
    /// The position of a record.
    pub seq: Option<Seq>,
    /// Everything of the peer up to here is durable.
    pub ack: Option<Seq>,
    /// The body.
    pub payload: Option<Payload>,
}

impl Frame {
    pub(super) fn control(kind: &'static str, payload: Option<Payload>) -> Self {
        let (id, in_reply_to) = (None, None);
        Self { kind: kind.into(), id, in_reply_to, ts: None, seq: None, ack: None, payload }
    }

    pub(super) fn question(ticket: u64, kind: String, ts: Timestamp, payload: Payload) -> Self {
        let id = Some(ticket.to_string());
        Self { id, ts: Some(ts), kind: kind.into(), ..Self::control("", Some(payload)) }
    }

    pub(super) fn answer(id: String, kind: String, payload: Payload) -> Self {
        let in_reply_to = Some(id);
        Self { in_reply_to, kind: kind.into(), ..Self::control("", Some(payload)) }
    }

    pub(super) fn record(record: Record) -> Self {
        Self {
            kind: record.kind.into(),
            ts: Some(record.ts),
            seq: Some(record.seq),
            ..Self::control("", Some(record.payload))
        }
    }

    pub(super) fn unsequenced(message: Unsequenced) -> Self {
        let ts = Some(message.ts);
        Self { kind: message.kind.into(), ts, ..Self::control("", Some(message.payload)) }
    }

    /// The frame as it goes on the wire; `now` is the wall clock of the writer.
    #[must_use]
    pub fn into_envelope(self, now: Timestamp) -> Envelope {
        let mut envelope = Envelope::new(self.kind, self.ts.unwrap_or(now));
        envelope.id = self.id;
        envelope.in_reply_to = self.in_reply_to;
        envelope.seq = self.seq;
        envelope.ack = self.ack;
        envelope.payload = self.payload;
        envelope
    }
}

/// How a session ended.
#[derive(Debug)]
pub enum Ended {
    /// The peer said goodbye.
    Bye {
        /// Its words.
        reason: String,
    },
    /// The hub closed it.
    Closed(CloseReason),
    /// The server asked the agent to come back later.
    GoAway {
        /// When to redial, from the end of the session.
        after: Duration,
    },
    /// The greeting was not complete in time.
    HandshakeTimedOut,
    /// The connection was lost.
    Lost(Loss),
    /// The peer holds more of our records than we ever wrote: our store was set back to an older
    /// copy. New records would be taken for old ones and lost, so this end must not go on.
    PeerAhead {
        /// The newest record we know of.
        ours: Seq,
        /// The newest record the peer has.
        theirs: Seq,
    },
    /// The hello was answered with a reject.
    Rejected(Reject),
    /// Nothing was heard from the peer for too long.
    Silent {
        /// How long it may be silent.
        silence_max: Duration,
    },
    /// The peer did not take a frame in time.
    Stalled,
    /// This side left.
    Stopped,
    /// Our disk or database refused.
    Store(StoreError),
    /// The peer said something the protocol does not allow.
    Violation(Violation),
}

impl Ended {
    /// A stable word for logs, metrics and tests.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bye { .. } => "bye",
            Self::Closed(CloseReason::Draining { .. }) => "draining",
            Self::Closed(CloseReason::Fenced) => "fenced",
            Self::Closed(CloseReason::Revoked) => "revoked",
            Self::GoAway { .. } => "go_away",
            Self::HandshakeTimedOut => "handshake_timed_out",
            Self::Lost(Loss::Closed { code: Some(close_code::FENCED), .. }) => "fenced",
            Self::Lost(Loss::Closed { code: Some(close_code::REVOKED), .. }) => "revoked",
            Self::Lost(_) => "lost",
            Self::PeerAhead { .. } => "peer_ahead",
            Self::Rejected(_) => "rejected",
            Self::Silent { .. } => "silent",
            Self::Stalled => "stalled",
            Self::Stopped => "stopped",
            Self::Store(_) => "store_failed",
            Self::Violation(_) => "violation",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bye { reason } => write!(f, "the other side left: {reason}"),
            Self::Closed(reason) => write!(f, "{reason}"),
            Self::GoAway { after } => {
                write!(f, "the server is going away; it asked to come back in {after:.0?}")
            }
            Self::HandshakeTimedOut => f.write_str("the greeting was not complete in time"),
            Self::Lost(loss) => write!(f, "{loss}"),
            Self::PeerAhead { ours, theirs } => write!(
                f,
                "the other side holds records up to {theirs}, but only {ours} were ever written \
                 here: this store was set back to an older copy"
            ),
            Self::Rejected(reject) => write!(f, "the server refused: {}", reject.message),
            Self::Silent { silence_max } => {
                write!(f, "nothing was heard from the other side for {silence_max:.0?}")
            }
            Self::Stalled => f.write_str("the other side stopped reading"),
            Self::Stopped => f.write_str("stopped"),
            Self::Store(error) => {
                write!(f, "{error}")?;
                let mut cause = std::error::Error::source(error);
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
            Self::Violation(violation) => write!(f, "{violation}"),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fenced => "a newer session of the same agent took over",
            Self::Revoked => "the agent's access was revoked",
            Self::Draining { .. } => "the server is going away",
        })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { code: Some(code), reason } if reason.is_empty() => {
                write!(f, "the other side closed the connection (code {code})")
            }
            Self::Closed { code: Some(code), reason } => {
                write!(f, "the other side closed the connection: {reason} (code {code})")
            }
            Self::Closed { code: None, .. } => {
                f.write_str("the other side closed the connection without a word")
            }
            Self::Failed { cause } => write!(f, "the connection was lost: {cause}"),
        }
    }
}

/// What the peer did that the protocol does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// An ack for a record that was never sent.
    #[error("the other side acknowledged record {ack}, but only {sent} were sent")]
    AckBeyondSent {
        /// What it acknowledged.
        ack: Seq,
        /// The newest record on the wire.
        sent: Seq,
    },
    /// A request for a record that it had acknowledged, or that does not exist yet.
    #[error("the other side expects record {next}, which is out of range")]
    ExpectOutOfRange {
        /// What it asked for.
        next: Seq,
    },
    /// The body of one of the link's own words has the wrong shape.
    #[error("the body of `{kind}` has the wrong shape")]
    Malformed {
        /// The word.
        kind: &'static str,
    },
    /// A kind that must be numbered came without a number, or with the number 0.
    #[error("`{kind}` came without a sequence number")]
    Unnumbered {
        /// The kind, at most 64 characters of it.
        kind: String,
    },
    /// A word of the greeting at the wrong time, or from the wrong side.
    #[error("`{kind}` came out of turn")]
    OutOfTurn {
        /// The kind, at most 64 characters of it.
        kind: String,
    },
    /// Not a frame at all.
    #[error("{}", match .0 {
        Unreadable::NotAnEnvelope => "something came that is not a frame: expected JSON with `kind` and `ts`",
        Unreadable::Binary => "a binary frame came; only text frames are spoken here",
        Unreadable::TooLarge => "a frame came that is larger than this side reads",
    })]
    Unreadable(Unreadable),
    /// More unacknowledged records than the window allows.
    #[error("more records came than the window allows")]
    WindowExceeded,
}

impl Violation {
    pub(super) fn close_code(&self) -> u16 {
        match self {
            Self::Unreadable(Unreadable::TooLarge) => close_code::TOO_LARGE,
            _ => close_code::VIOLATION,
        }
    }
}
