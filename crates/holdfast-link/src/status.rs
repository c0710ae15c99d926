//! What the agent's end tells the application about itself.

use std::{ops::RangeInclusive, time::Duration};

use holdfast_protocol::{Seq, SessionId};
use jiff::Timestamp;

use crate::transport::TransportKind;

/// Where a link is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LinkState {
    /// Not running, or not any more.
    #[default]
    Stopped,
    /// Opening a connection.
    Dialing,
    /// Connected, greeting.
    Handshaking,
    /// Records flow.
    Live,
    /// Until the next dial.
    Waiting,
}

/// Everything worth showing about a link.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LinkStatus {
    /// Where it is in its life.
    pub state: LinkState,
    /// When that began, by the wall clock.
    pub since: Option<Timestamp>,
    /// The session, while it is live.
    pub session_id: Option<SessionId>,
    /// The epoch of the last welcome; 0 for none.
    pub epoch: u64,
    /// Sessions after the first.
    pub reconnect_count: u64,
    /// Why the last session or dial failed, in one sentence; `None` while live.
    pub last_error: Option<String>,
    /// The same as a stable word.
    pub last_error_code: Option<String>,
    /// When the next dial is due, while waiting.
    pub retry_at: Option<Timestamp>,
    /// Which road the frames take, while live.
    pub transport: Option<TransportKind>,
    /// The server's wall clock minus ours at the last welcome, in milliseconds. For show only.
    pub clock_offset_ms: Option<i64>,
}

impl LinkStatus {
    /// Records flow.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.state == LinkState::Live
    }
}

/// Something that happened to a link.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// A dial has begun.
    Dialing,
    /// The handshake is complete.
    Connected {
        /// The session.
        session_id: SessionId,
        /// Its fencing token.
        epoch: u64,
        /// Which road the frames take.
        transport: TransportKind,
    },
    /// A newer session of the same agent took over: a second process or a copied machine.
    Fenced,
    /// Records are lost for good, because one of the two stores was set back to an older copy.
    Gap {
        /// The records.
        missing: RangeInclusive<Seq>,
    },
    /// The session ended.
    Lost {
        /// Why, in one sentence.
        reason: String,
    },
    /// The dial failed, or the server said no.
    Rejected {
        /// A stable word.
        code: String,
        /// Why, in one sentence.
        message: String,
    },
    /// Waiting before the next dial.
    RetryingAt {
        /// When, by the wall clock.
        at: Timestamp,
        /// How long from now.
        delay: Duration,
    },
    /// The link was told to stop, and has.
    Stopped,
}
