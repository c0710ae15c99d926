//! The words of the conversation itself. They never reach the application.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Incarnation, Instance, Seq, SessionId};

/// Kind of [`Hello`].
pub const HELLO: &str = "hello";
/// Kind of [`Welcome`].
pub const WELCOME: &str = "welcome";
/// Kind of [`Reject`].
pub const REJECT: &str = "reject";
/// Kind of a frame whose only content is its `ack`.
pub const ACK: &str = "ack";
/// Kind of [`Expect`].
pub const EXPECT: &str = "expect";
/// Kind of [`GoAway`].
pub const GO_AWAY: &str = "goaway";
/// Kind of [`Bye`].
pub const BYE: &str = "bye";
/// Kind of [`Ping`], which either side may send and the other answers with [`PONG`].
pub const PING: &str = "ping";
/// Kind of the answer to a ping; it carries the ping's body back.
pub const PONG: &str = "pong";

/// The first frame on a connection, from the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// See [`crate::PROTOCOL_VERSION`].
    pub protocol_version: u32,
    /// Which life of the outbox this is.
    pub incarnation: Incarnation,
    /// Process starts of this incarnation, from 1. A lower one than the server has seen is a copy.
    pub boot: u64,
    /// Which process this is. Two that show the same `boot` and differ here are copies of one
    /// machine. Agents before this field was made send none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// The epoch of the last welcome this agent took; 0 for none.
    #[serde(default)]
    pub epoch: u64,
    /// The agent holds every record from the server up to here, durably.
    pub received: Seq,
    /// The oldest record the agent can still send; one above its newest when there is none.
    pub oldest: Seq,
    /// Names of optional abilities.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What the machine and the agent are.
    #[serde(flatten)]
    pub facts: Facts,
}

/// What the machine and the agent are; the fleet protocol's hello.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The agent's version.
    #[serde(default)]
    pub agent_version: String,
    /// restic's version, empty when none was found.
    #[serde(default)]
    pub restic_version: String,
    /// The machine's own name, which need not be the host's name in the fleet.
    #[serde(default)]
    pub hostname: String,
    /// `linux`, `windows`, `darwin`, …
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64`, …
    #[serde(default)]
    pub arch: String,
    /// When the machine was started; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_time: Option<Timestamp>,
    /// IANA name of the machine's time zone; empty when unknown.
    #[serde(default)]
    pub time_zone: String,
}

/// The server's yes to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// This session.
    pub session_id: SessionId,
    /// The fencing token: of two sessions of one agent the one with the higher epoch lives.
    pub epoch: u64,
    /// The server holds every record of this agent up to here, durably. The agent goes on after it.
    pub received: Seq,
    /// The oldest record the server can still send; one above its newest when there is none.
    pub oldest: Seq,
    /// How often each side must show life, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// How long a side may be silent before the other ends the session, in milliseconds.
    pub silence_max_ms: u64,
    /// After this session ends the agent waits a random time up to this before its first redial.
    pub redial_spread_ms: u64,
    /// The server's wall clock, for showing the offset.
    pub server_time: Timestamp,
    /// Names of optional abilities.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// The server's no to a hello; the connection closes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Stable, snake_case: `unknown_incarnation`, `stale_boot`, `cloned_identity`,
    /// `unsupported_version`, `busy`, …
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// Try again, but not before this many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Trying again cannot help until a person has done something; the agent goes on slowly.
    #[serde(default)]
    pub fatal: bool,
}

/// A record came out of turn; it was dropped, and this is the position that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// The next position the sender of this frame will take.
    pub next: Seq,
}

/// The server will close this session; come back after a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoAway {
    /// Redial after this many milliseconds; the server spreads its agents by it.
    pub after_ms: u64,
    /// One sentence for people.
    pub reason: String,
}

/// This side ends the session on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// One sentence for people.
    pub reason: String,
}

/// The body of an answer that says no. Its kind is that of the request with `.error` behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable, snake_case: `unknown_request`, `busy`, …
    pub code: String,
    /// One sentence for people: what is wrong.
    pub message: String,
    /// One sentence for people: what to do.
    #[serde(default)]
    pub action: String,
}

impl Refusal {
    /// The answer to a request that this build does not know.
    #[must_use]
    pub fn unknown(kind: &str) -> Self {
        let kind: String = kind.chars().take(64).collect();
        Self {
            code: "unknown_request".to_owned(),
            message: format!("`{kind}` is not known here"),
            action: "bring both sides to the same release".to_owned(),
        }
    }
}

/// Asks for a [`PONG`] with the same body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Given back unchanged.
    pub nonce: u64,
}
