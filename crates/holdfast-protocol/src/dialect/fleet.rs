//! The fleet message set (D3) that Holdfast grew out of: its payloads, in any of three envelopes.
//!
//! Nobody knows the envelope of the original, so its keys and the words of its kinds are data here:
//! [`Keys`] and [`Words`]. On input any of the known spellings is taken.

mod payload;
mod report;
mod said;

use jiff::Timestamp;

pub use payload::*;
pub use report::{commands, reports};
pub use said::{hear_agent, hear_server};

use super::gojson::{self, Go, GoTime, ObjectWriter, Raw, ReadError};

/// The value of `protocol_version` in our hello; the original's is unknown.
pub const PROTOCOL_VERSION: i64 = 1;

/// How the envelope spells its two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// The key of the kind.
    pub kind: &'static str,
    /// The key of the body.
    pub payload: &'static str,
}

impl Keys {
    /// `{"type", "payload"}`.
    pub const TYPE_PAYLOAD: Self = Self { kind: "type", payload: "payload" };
    /// `{"type", "data"}`.
    pub const TYPE_DATA: Self = Self { kind: "type", payload: "data" };
    /// `{"kind", "payload"}`, as in Holdfast's own envelope.
    pub const KIND_PAYLOAD: Self = Self { kind: "kind", payload: "payload" };
    /// Every spelling that is understood.
    pub const ALL: [Self; 3] = [Self::TYPE_PAYLOAD, Self::TYPE_DATA, Self::KIND_PAYLOAD];
}

impl Default for Keys {
    fn default() -> Self {
        Self::KIND_PAYLOAD
    }
}

/// The words for the kinds. Four are known from the original; the rest follow its names.
///
/// A peer that has other words gets a table of its own: pairs of our word and its word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(pub Vec<(&'static str, String)>);

impl Words {
    /// The peer's word for our `kind`.
    #[must_use]
    pub fn theirs<'a>(&'a self, kind: &'a str) -> &'a str {
        self.0.iter().find(|(ours, _)| *ours == kind).map_or(kind, |(_, theirs)| theirs)
    }

    /// Our word for the peer's `kind`.
    #[must_use]
    pub fn ours<'a>(&'a self, kind: &'a str) -> &'a str {
        self.0.iter().find(|(_, theirs)| theirs == kind).map_or(kind, |(ours, _)| ours)
    }
}

/// One frame, in whatever envelope it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// What is said, in the peer's word.
    pub kind: String,
    /// The body.
    pub payload: Raw,
    /// The sender's clock, where the envelope has one.
    pub ts: Option<Timestamp>,
}

impl Frame {
    /// A frame with our word for its kind.
    pub fn of<T: Go>(kind: &str, payload: &T) -> Self {
        Self { kind: kind.to_owned(), payload: Raw::of(payload), ts: None }
    }

    /// Reads one frame in any of the three envelopes.
    ///
    /// # Errors
    /// [`ReadError`] when it is not a JSON object with a kind.
    pub fn decode(frame: &[u8]) -> Result<Self, ReadError> {
        let frame: Self = gojson::from_slice(frame)?;
        if frame.kind.is_empty() { Err(ReadError::new("an object with a kind")) } else { Ok(frame) }
    }

    /// Writes the frame in the envelope of `keys`.
    #[must_use]
    pub fn encode(&self, keys: Keys, words: &Words) -> String {
        let mut out = String::with_capacity(256);
        let mut object = ObjectWriter::new(&mut out);
        object.field(keys.kind, &words.theirs(&self.kind).to_owned());
        if let Some(ts) = self.ts {
            object.field("ts", &GoTime::from(ts));
        }
        if !self.payload.is_empty() {
            object.field(keys.payload, &self.payload);
        }
        object.end();
        out
    }
}

impl Go for Frame {
    fn read(&mut self, raw: &serde_json::value::RawValue) -> Result<(), ReadError> {
        for (key, value) in gojson::members(raw)? {
            let is = |name| gojson::same_key(&key, name);
            if is("type") || is("kind") {
                self.kind.read(value).map_err(|error| error.inside("kind"))?;
            } else if is("payload") || is("data") {
                self.payload.read(value)?;
            } else if is("ts") {
                // A clock that cannot be read costs the clock, not the message.
                let mut ts = GoTime::default();
                self.ts = ts.read(value).ok().and_then(|()| ts.known());
            }
        }
        Ok(())
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.encode(Keys::default(), &Words::default()));
    }
}
