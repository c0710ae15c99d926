//! JSON that is only passed through: Go's `json.RawMessage`.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Go, ReadError, from_text, to_text, write};
use crate::envelope::Payload;

/// JSON text that was there, or nothing. A literal `null` that was there is not nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Raw(Option<Box<str>>);

impl Raw {
    /// No text at all.
    pub const ABSENT: Self = Self(None);

    /// The Go JSON of `value`.
    pub fn of<T: Go>(value: &T) -> Self {
        Self(Some(to_text(value).into_boxed_str()))
    }

    /// The text of a canonical body, as Go would pass it on.
    #[must_use]
    pub fn of_payload(payload: &Payload) -> Self {
        Self(Some(compact(payload.as_str()).into_boxed_str()))
    }

    /// The text, if there is any.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Reads the text as a struct of a Go dialect; absent text gives the zero value.
    ///
    /// # Errors
    /// [`ReadError`] when the text is of another shape.
    pub fn read_as<T: Go>(&self) -> Result<T, ReadError> {
        self.as_str().map_or_else(|| Ok(T::default()), from_text)
    }

    /// Reads the text as a canonical type.
    #[must_use]
    pub fn parse<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.as_str()?).ok()
    }

    /// The text as a canonical body: `null` when there is none.
    #[must_use]
    pub fn to_payload(&self) -> Payload {
        let text = self.as_str().unwrap_or("null").to_owned();
        Payload::from_text(text).unwrap_or_else(|_| Payload::of(&()))
    }
}

impl fmt::Debug for Raw {
    /// Shows only the size: bodies may carry credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => write!(f, "Raw({} bytes)", text.len()),
            None => f.write_str("Raw(absent)"),
        }
    }
}

impl Go for Raw {
    fn read(&mut self, raw: &RawValue) -> Result<(), ReadError> {
        self.0 = Some(raw.get().into());
        Ok(())
    }

    fn write(&self, out: &mut String) {
        compact_into(out, self.as_str().unwrap_or("null"));
    }

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// JSON text without the space between its parts, and with Go's escapes for HTML.
#[must_use]
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    compact_into(&mut out, json);
    out
}

fn compact_into(out: &mut String, json: &str) {
    let (mut in_string, mut escaped) = (false, false);
    for letter in json.chars() {
        if !in_string && letter.is_ascii_whitespace() {
            continue;
        }
        if letter == '"' && !escaped {
            in_string = !in_string;
        }
        escaped = letter == '\\' && in_string && !escaped;
        write::plain_or_escaped(out, letter);
    }
}
