//! One frame of the native wire.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// A position in one direction of a host's record stream. The first record is 1; 0 means "none
/// yet".
pub type Seq = u64;

/// One JSON text frame: `{"kind", "id"?, "in_reply_to"?, "ts", "seq"?, "ack"?, "payload"?}`.
///
/// Unknown keys are ignored, so that a newer peer may add some.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// What is said: dotted and lower-case, such as `job.progress`.
    pub kind: String,
    /// Names this frame so that an answer can point at it; present on requests only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The `id` of the request that this frame answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// The sender's wall clock. Shown to people; no decision about correctness reads it.
    pub ts: Timestamp,
    /// The position of a record in its stream. Absent on every other class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// Everything up to and including this position is durable at the sender of this frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<Seq>,
    /// The body, by `kind`. A JSON `null` reads as no body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
}

impl Envelope {
    /// A frame with nothing but its kind and time.
    pub fn new(kind: impl Into<String>, ts: Timestamp) -> Self {
        Self {
            kind: kind.into(),
            id: None,
            in_reply_to: None,
            ts,
            seq: None,
            ack: None,
            payload: None,
        }
    }

    /// The same frame with a body.
    #[must_use]
    pub fn with_payload(mut self, payload: Payload) -> Self {
        self.payload = Some(payload);
        self
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// [`EnvelopeError`] when the text is not a JSON object with at least `kind` and `ts`.
    pub fn from_json(text: &str) -> Result<Self, EnvelopeError> {
        serde_json::from_str(text).map_err(|source| EnvelopeError { source })
    }

    /// Writes the frame as the one line that goes on the wire.
    ///
    /// # Panics
    /// Never: every field has a JSON form and [`Payload`] holds valid JSON already.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an envelope always has a JSON form")
    }
}

/// The text was not an envelope.
#[derive(Debug, thiserror::Error)]
#[error("not an envelope: expected a JSON object with `kind` and `ts`")]
pub struct EnvelopeError {
    source: serde_json::Error,
}

/// A body as the JSON text it is on the wire and on disk.
///
/// It is kept as text so that a record is written once and never parsed by those who only pass it
/// on; [`Payload::parse`] turns it into its type where it is used.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(Box<RawValue>);

impl Payload {
    /// The JSON form of `value`.
    ///
    /// # Panics
    /// When `value` has no JSON form (a map with keys that are not text); our message types all
    /// have.
    pub fn of<T: Serialize>(value: &T) -> Self {
        Self(serde_json::value::to_raw_value(value).expect("message types have a JSON form"))
    }

    /// Takes JSON text as it is.
    ///
    /// # Errors
    /// [`EnvelopeError`] when the text is not one JSON value.
    pub fn from_text(text: String) -> Result<Self, EnvelopeError> {
        RawValue::from_string(text).map(Self).map_err(|source| EnvelopeError { source })
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The typed form.
    ///
    /// # Errors
    /// serde's error when the text does not fit `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0.get())
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Payload {
    /// Shows only the size: bodies may carry credentials, and debug output ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.as_str().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_are_left_out_and_unknown_ones_ignored() {
        let text = r#"{"kind":"heartbeat","ts":"2026-11-21T10:00:00Z","seq":7,"colour":"red"}"#;
        let envelope = Envelope::from_json(text).unwrap();
        assert_eq!(envelope.seq, Some(7));
        assert_eq!(
            envelope.to_json(),
            r#"{"kind":"heartbeat","ts":"2026-11-21T10:00:00Z","seq":7}"#
        );
    }

    #[test]
    fn a_frame_without_kind_is_refused() {
        assert!(Envelope::from_json(r#"{"ts":"2026-11-21T10:00:00Z"}"#).is_err());
        assert!(Envelope::from_json("[]").is_err());
        assert!(Envelope::from_json("").is_err());
    }

    #[test]
    fn debug_output_never_shows_a_body() {
        let payload = Payload::of(&serde_json::json!({"password": "canary"}));
        assert!(!format!("{payload:?}").contains("canary"));
    }
}
