//! Taking JSON text apart the way Go does.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Go, write};
use crate::message::config::Secret;

/// The text is not of the wanted type. It names the field, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not {expected}", if path.is_empty() { "the message" } else { path })]
pub struct ReadError {
    path: String,
    expected: &'static str,
}

impl ReadError {
    /// The value itself is not `expected` (with its article: "a number").
    #[must_use]
    pub fn new(expected: &'static str) -> Self {
        Self { path: String::new(), expected }
    }

    /// The same error seen from the struct that holds the field.
    #[must_use]
    pub fn inside(mut self, field: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path.insert_str(0, dot);
        self.path.insert_str(0, field);
        self
    }
}

/// Whether Go's decoder takes `key` for the field `name`: equal but for case.
///
/// Go folds two letters beyond ASCII onto ASCII ones: the long s and the sign for kelvin.
#[must_use]
pub fn same_key(key: &str, name: &str) -> bool {
    if key.is_ascii() {
        return key.eq_ignore_ascii_case(name);
    }
    let fold = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars().map(fold))
}

/// An object's keys and values in the order of the text; none for `null`.
///
/// # Errors
/// When the text is neither an object nor `null`.
pub fn members(raw: &RawValue) -> Result<Vec<(String, &RawValue)>, ReadError> {
    if raw.get() == "null" {
        return Ok(Vec::new());
    }
    let members: Result<Members<'_>, _> = serde_json::from_str(raw.get());
    members.map(|members| members.0).map_err(|_| ReadError::new("an object"))
}

/// A list's values; none for `null`.
///
/// # Errors
/// When the text is neither a list nor `null`.
pub fn elements(raw: &RawValue) -> Result<Vec<&RawValue>, ReadError> {
    if raw.get() == "null" {
        return Ok(Vec::new());
    }
    serde_json::from_str(raw.get()).map_err(|_| ReadError::new("a list"))
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// A string in which half a surrogate pair is U+FFFD, as in Go, and not an error.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(whole_characters(bytes)))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Read as bytes, half a surrogate pair comes as the three bytes that UTF-8 forbids for it; U+FFFD
/// has three bytes too.
fn whole_characters(bytes: &[u8]) -> String {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(2) {
        if bytes[at] == 0xed && bytes[at + 1] >= 0xa0 {
            bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

impl Go for String {
    fn read(&mut self, raw: &RawValue) -> Result<(), ReadError> {
        match raw.get() {
            "null" => Ok(()),
            // Without this, a list of small numbers would pass as bytes.
            text if !text.starts_with('"') => Err(ReadError::new("a string")),
            text => {
                let read: Result<Text, _> = serde_json::from_str(text);
                *self = read.map_err(|_| ReadError::new("a string"))?.0;
                Ok(())
            }
        }
    }

    fn write(&self, out: &mut String) {
        write::string(out, self);
    }

    fn is_empty(&self) -> bool {
        str::is_empty(self)
    }
}

impl Go for Secret {
    fn read(&mut self, raw: &RawValue) -> Result<(), ReadError> {
        let mut text = self.expose().to_owned();
        text.read(raw)?;
        *self = Self::new(text);
        Ok(())
    }

    fn write(&self, out: &mut String) {
        write::string(out, self.expose());
    }

    fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl Go for bool {
    fn read(&mut self, raw: &RawValue) -> Result<(), ReadError> {
        match raw.get() {
            "null" => {}
            "true" => *self = true,
            "false" => *self = false,
            _ => return Err(ReadError::new("true or false")),
        }
        Ok(())
    }

    fn write(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }

    fn is_empty(&self) -> bool {
        !*self
    }
}

impl Go for f64 {
    fn read(&mut self, raw: &RawValue) -> Result<(), ReadError> {
        if raw.get() == "null" {
            return Ok(());
        }
        // JSON has no infinity, so one that appears is a number too large to hold.
        let number = raw.get().parse().ok().filter(|number: &f64| number.is_finite());
        *self = number.ok_or(ReadError::new("a number"))?;
        Ok(())
    }

    fn write(&self, out: &mut String) {
        write::float(out, *self);
    }

    fn is_empty(&self) -> bool {
        *self == 0.0
    }
}

macro_rules! go_integer {
    ($($type:ty),*) => {$(
        impl Go for $type {
            fn read(&mut self, raw: &RawValue) -> Result<(), ReadError> {
                if raw.get() != "null" {
                    let number = raw.get().parse();
                    *self = number.map_err(|_| ReadError::new("a whole number in range"))?;
                }
                Ok(())
            }

            fn write(&self, out: &mut String) {
                out.push_str(&self.to_string());
            }

            fn is_empty(&self) -> bool {
                *self == 0
            }
        }
    )*};
}

go_integer!(i32, i64, u16, u32, u64);

impl<T: Go> Go for Vec<T> {
    fn read(&mut self, raw: &RawValue) -> Result<(), ReadError> {
        self.clear();
        for element in elements(raw)? {
            let mut value = T::default();
            value.read(element)?;
            self.push(value);
        }
        Ok(())
    }

    fn write(&self, out: &mut String) {
        let mut before = '[';
        for value in self {
            out.push(before);
            value.write(out);
            before = ',';
        }
        out.push_str(if self.is_empty() { "[]" } else { "]" });
    }

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl<T: Go> Go for BTreeMap<String, T> {
    fn read(&mut self, raw: &RawValue) -> Result<(), ReadError> {
        for (key, value) in members(raw)? {
            let mut read = T::default();
            read.read(value)?;
            self.insert(key, read);
        }
        Ok(())
    }

    fn write(&self, out: &mut String) {
        let mut object = write::ObjectWriter::new(out);
        for (key, value) in self {
            object.field(key, value);
        }
        object.end();
    }

    fn is_empty(&self) -> bool {
        BTreeMap::is_empty(self)
    }
}

/// A pointer, or a list for which `null` and `[]` are to be told apart.
impl<T: Go> Go for Option<T> {
    fn read(&mut self, raw: &RawValue) -> Result<(), ReadError> {
        if raw.get() == "null" {
            *self = None;
            return Ok(());
        }
        self.get_or_insert_default().read(raw)
    }

    fn write(&self, out: &mut String) {
        match self {
            Some(value) => value.write(out),
            None => out.push_str("null"),
        }
    }

    fn is_empty(&self) -> bool {
        self.is_none()
    }
}

impl<T: Go> Go for Box<T> {
    fn read(&mut self, raw: &RawValue) -> Result<(), ReadError> {
        (**self).read(raw)
    }

    fn write(&self, out: &mut String) {
        (**self).write(out);
    }

    fn is_empty(&self) -> bool {
        (**self).is_empty()
    }
}
