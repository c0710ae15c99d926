//! The words of Holdfast: what agent and server say to each other, and how it is spelled.
//!
//! Everything here is pure. Nothing opens a socket, asks for the time or waits: bytes come in and
//! messages go out, or the other way round, and the same input always gives the same output.
//!
//! * [`Envelope`] is one frame of the native wire: `kind`, ids, sequence numbers and a [`Payload`].
//! * [`Message`] is the closed set of things that can be said; [`Message::decode`] and
//!   [`Message::encode`] go between the two.
//! * [`Class`] says what the link owes a message: a record is never lost, progress is conflated.
//! * [`dialect`] holds the words of other systems, as codecs and nothing else.
//! * [`message::link`] holds the words of the conversation itself (hello, welcome, reject, …).
//!
//! The wire is specified in `PROTOCOL.md` at the root of the repository.

pub mod dialect;
mod envelope;
mod id;
pub mod message;

pub use envelope::{Envelope, EnvelopeError, Payload, Seq};
pub use id::{
    HostId, Incarnation, Instance, JobId, ParseIdError, RepositoryId, ScheduleId, SessionId,
};
pub use message::{Class, DecodeError, Message};

/// The version of the native protocol this build speaks, sent as `protocol_version` in the hello.
///
/// Additions (new optional fields, new kinds) do not raise it; only a change that an older peer
/// would misread does.
pub const PROTOCOL_VERSION: u32 = 1;

/// The path of the native agent endpoint on the server.
pub const CONNECT_PATH: &str = "/api/v1/agent/connect";

/// The path of the long-poll road, for networks that let no WebSocket pass.
pub const EXCHANGE_PATH: &str = "/api/v1/agent/exchange";

/// The path at which an agent trades its enrolment token for an agent token.
pub const ENROL_PATH: &str = "/api/v1/agent/enrol";

/// The largest frame either side accepts, in bytes. A larger one closes the connection with 1009.
pub const FRAME_SIZE_MAX: usize = 4 * 1024 * 1024;
