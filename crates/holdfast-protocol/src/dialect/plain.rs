//! The plain request/response envelope (D4) over `/connect`.
//!
//! It carries any kind. Holdfast's own messages travel in it under their own names
//! (`command.run`, `job.progress`, …); the system it comes from has a hundred kinds that have
//! nothing to do with backups, and those stay as they came. A request that cannot be served is
//! answered with `<kind>.error`, never left waiting.

mod payload;
mod said;
mod ulid;

use jiff::Timestamp;

pub use payload::*;
pub use said::{Heard, hear, reaction};
pub use ulid::UlidSource;

use super::gojson::{self, Go, GoTime, Raw, ReadError, go_struct};
use crate::{Message, Payload};

/// Where the server listens.
pub const PATH: &str = "/connect";

/// The largest frame either side reads, in bytes.
pub const FRAME_SIZE_MAX: usize = 1 << 20;

/// After this many undecodable frames in a row the server closes with 1008, `too many bad frames`.
pub const BAD_FRAMES_MAX: u32 = 16;

go_struct! {
    /// One text frame.
    pub struct Envelope {
        /// What is said; never empty.
        kind: String,
        /// A ULID; on requests only.
        id: String [omit],
        /// The `id` of the request that this answers.
        in_reply_to: String [omit],
        /// The sender's clock.
        ts: GoTime,
        /// The body, if there is one.
        payload: Raw [omit],
        /// Whom a relay hands the frame to.
        target_aspect: String [omit],
    }
}

/// Why a frame or its body is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not JSON of the envelope's shape.
    #[error("not an envelope")]
    Malformed(#[source] ReadError),
    /// The envelope has no kind.
    #[error("the envelope has no kind")]
    NoKind,
    /// The kind needs a body, and there is none.
    #[error("the envelope has no payload")]
    NoPayload,
    /// The body is not of the kind's shape.
    #[error("the payload has the wrong shape")]
    Payload(#[source] ReadError),
}

impl Envelope {
    /// A frame that asks nothing and answers nothing.
    pub fn event(kind: impl Into<String>, ts: Timestamp) -> Self {
        Self { kind: kind.into(), ts: GoTime::from(ts), ..Self::default() }
    }

    /// A frame that wants an answer.
    pub fn request(kind: impl Into<String>, id: impl Into<String>, ts: Timestamp) -> Self {
        Self { id: id.into(), ..Self::event(kind, ts) }
    }

    /// The answer to this frame. It has no id of its own.
    pub fn answer(&self, kind: impl Into<String>, ts: Timestamp) -> Self {
        Self { in_reply_to: self.id.clone(), ..Self::event(kind, ts) }
    }

    /// The answer that says no: `<kind>.error` with one sentence.
    #[must_use]
    pub fn error(&self, text: impl Into<String>, ts: Timestamp) -> Self {
        let body = ErrorBody { error: text.into() };
        self.answer(format!("{}.error", self.kind), ts).with(&body)
    }

    /// The same frame with a body.
    #[must_use]
    pub fn with<T: Go>(mut self, body: &T) -> Self {
        self.payload = Raw::of(body);
        self
    }

    /// The same frame with a canonical body.
    #[must_use]
    pub fn with_payload(mut self, body: &Payload) -> Self {
        self.payload = Raw::of_payload(body);
        self
    }

    /// A message of ours under its own name; with an `id`, a request.
    #[must_use]
    pub fn of_message(message: &Message, id: Option<String>, ts: Timestamp) -> Self {
        let id = id.unwrap_or_default();
        Self::request(message.kind(), id, ts).with_payload(&message.encode())
    }

    /// Whether somebody waits for an answer to this frame.
    #[must_use]
    pub fn is_request(&self) -> bool {
        !self.id.is_empty() && self.in_reply_to.is_empty()
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] and [`FrameError::NoKind`]; count them against [`BAD_FRAMES_MAX`].
    pub fn decode(frame: &[u8]) -> Result<Self, FrameError> {
        let envelope: Self = gojson::from_slice(frame).map_err(FrameError::Malformed)?;
        if envelope.kind.is_empty() { Err(FrameError::NoKind) } else { Ok(envelope) }
    }

    /// Writes the frame: one text message without a line break.
    ///
    /// # Errors
    /// [`FrameError::NoKind`].
    pub fn encode(&self) -> Result<String, FrameError> {
        if self.kind.is_empty() { Err(FrameError::NoKind) } else { Ok(gojson::to_text(self)) }
    }

    /// The body as its type.
    ///
    /// # Errors
    /// [`FrameError::NoPayload`] and [`FrameError::Payload`].
    pub fn body<T: Go>(&self) -> Result<T, FrameError> {
        let text = self.payload.as_str().ok_or(FrameError::NoPayload)?;
        gojson::from_text(text).map_err(FrameError::Payload)
    }
}
