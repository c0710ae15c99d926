//! Go's `time.Time`: a moment together with the zone it is told in.

use std::str::FromStr;

use jiff::{Timestamp, fmt::temporal::Pieces, tz::Offset};
use serde_json::value::RawValue;

use super::{Go, ReadError};

/// A moment and the offset it is written with.
///
/// The default is Go's zero time, `0001-01-01T00:00:00Z`, which stands for "unknown" and is written
/// even where the field is meant to be optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoTime {
    at: Timestamp,
    offset: Offset,
}

/// Seconds from 1970 back to Go's year 1.
const ZERO_SECONDS: i64 = -62_135_596_800;

impl GoTime {
    /// The moment; `None` for Go's zero time.
    #[must_use]
    pub fn known(self) -> Option<Timestamp> {
        (!self.is_zero()).then_some(self.at)
    }

    /// Whether this is Go's zero time.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.at.as_second() == ZERO_SECONDS && self.at.subsec_nanosecond() == 0
    }
}

impl Default for GoTime {
    fn default() -> Self {
        let zero = Timestamp::from_second(ZERO_SECONDS);
        Self::from(zero.expect("the year 1 is in the range of timestamps"))
    }
}

impl From<Timestamp> for GoTime {
    /// In UTC.
    fn from(at: Timestamp) -> Self {
        Self { at, offset: Offset::UTC }
    }
}

impl FromStr for GoTime {
    type Err = ReadError;

    fn from_str(text: &str) -> Result<Self, ReadError> {
        parse(text).ok_or(ReadError::new("a time such as 2026-11-21T10:00:00Z"))
    }
}

fn parse(text: &str) -> Option<GoTime> {
    let pieces = Pieces::parse(text).ok()?;
    let offset = pieces.to_numeric_offset()?;
    let at = offset.to_timestamp(pieces.date().to_datetime(pieces.time()?)).ok()?;
    // Go writes hours and minutes only; an offset with seconds would shift the moment.
    let offset = if offset.seconds() % 60 == 0 { offset } else { Offset::UTC };
    Some(GoTime { at, offset })
}

impl std::fmt::Display for GoTime {
    /// RFC 3339 with as many digits of the second as there are.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.offset == Offset::UTC {
            self.at.fmt(f)
        } else {
            self.at.display_with_offset(self.offset).fmt(f)
        }
    }
}

impl Go for GoTime {
    fn read(&mut self, raw: &RawValue) -> Result<(), ReadError> {
        if raw.get() == "null" {
            return Ok(());
        }
        let mut text = String::new();
        text.read(raw)?;
        *self = text.parse()?;
        Ok(())
    }

    fn write(&self, out: &mut String) {
        super::string(out, &self.to_string());
    }
}
