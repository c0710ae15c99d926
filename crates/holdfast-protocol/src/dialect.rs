//! The words of other systems, so that their agents and servers can join a fleet unchanged.
//!
//! Each dialect is a leaf: one module that maps bytes to the messages of that system, and those to
//! the canonical [`Message`] and back. Nothing here opens a socket or keeps a timer; what a driver
//! has to do beside the words (pings, deadlines, close codes) is in `docs/dialects.md`.
//!
//! * [`nerdbackup`]: JSON over `/ws/agent`; no handshake, no acknowledgements.
//! * [`backupy`]: protobuf over `/v1/agents/connect`.
//! * [`local`]: the agent-hosted `/ws` that dashboards and scripts dial.
//! * [`fleet`]: the payload names Holdfast grew out of, in any of three envelopes.
//! * [`plain`]: a request/response envelope over `/connect` that carries any kind.
//!
//! Decoding is total: any bytes give messages or an error, never a panic. [`capability`] says what
//! each dialect cannot express, so that it is refused before it is tried.

pub mod backupy;
pub mod capability;
pub mod convert;
pub mod fleet;
pub mod gojson;
mod ledger;
pub mod local;
pub mod nerdbackup;
pub mod plain;

use jiff::Timestamp;

pub use capability::{Ability, Unsayable};
pub use ledger::{Ledger, OPEN_JOBS_MAX, OpenJob};

use crate::{
    Message, Payload,
    message::{job::Heartbeat, link::Facts},
};

/// How a host's agent, or the server an agent reports to, speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Backupy: protobuf over `/v1/agents/connect`.
    Backupy,
    /// The plain request/response envelope over `/connect`.
    Envelope,
    /// The fleet message set, in an envelope of one's choice.
    Fleet,
    /// The agent-hosted `/ws`.
    Local,
    /// NerdBackup: JSON over `/ws/agent`.
    Nerdbackup,
}

impl Dialect {
    /// Every dialect, by name.
    pub const ALL: [Self; 5] =
        [Self::Backupy, Self::Envelope, Self::Fleet, Self::Local, Self::Nerdbackup];

    /// The word for it in the API, the store and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backupy => "backupy",
            Self::Envelope => "envelope",
            Self::Fleet => "fleet",
            Self::Local => "local",
            Self::Nerdbackup => "nerdbackup",
        }
    }

    /// The dialect named by `word`, if there is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == word)
    }

    /// The path at which the side that listens takes connections.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Backupy => backupy::PATH,
            Self::Envelope => plain::PATH,
            Self::Fleet => crate::CONNECT_PATH,
            Self::Local => local::PATH,
            Self::Nerdbackup => nerdbackup::PATH,
        }
    }
}

/// What a foreign frame says, in the words of Holdfast.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Who the agent is and what it can do.
    Introduction(Box<Introduction>),
    /// Something the canonical set has a word for.
    Message(Message),
    /// Something it has no word for: kept as it came, for those who know the dialect.
    Other {
        /// The dialect's own word.
        kind: String,
        /// The body as JSON; `null` when there was none or it is not JSON.
        payload: Payload,
    },
    /// A report about a job that nobody has open and that cannot be told from others.
    Unplaced {
        /// The dialect's own word.
        kind: String,
    },
}

impl Said {
    /// The heartbeat of an agent whose dialect leaves it empty.
    fn heartbeat(ledger: &Ledger, now: Timestamp) -> Self {
        Self::Message(Message::Heartbeat(Heartbeat {
            sent_at: now,
            active_job_ids: ledger.jobs().collect(),
            queue_depth: 0,
            config_version: 0,
        }))
    }

    fn other(kind: &str, payload: Payload) -> Self {
        Self::Other { kind: bounded(kind), payload }
    }

    fn unplaced(kind: &str) -> Self {
        Self::Unplaced { kind: bounded(kind) }
    }
}

impl From<Message> for Said {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}

/// An agent's introduction; a dialect without one gives it with the first heartbeat.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Introduction {
    /// What the machine and the agent are.
    pub facts: Facts,
    /// What the agent says it can do, in its own words.
    pub capabilities: Vec<String>,
    /// The configuration the agent says it has in force; 0 for none.
    pub config_version: i64,
    /// The name the agent claims. It must equal the name its token belongs to.
    pub name: Option<String>,
}

/// A peer's text is kept, but not at any length.
fn bounded(text: &str) -> String {
    text.chars().take(64).collect()
}
