//! Which snapshots to keep.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A retention policy. A snapshot stays when any rule keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The newest so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<NonZeroU32>,
    /// The newest of each of the last so many hours with snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<NonZeroU32>,
    /// The newest of each of the last so many days with snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<NonZeroU32>,
    /// The newest of each of the last so many weeks with snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<NonZeroU32>,
    /// The newest of each of the last so many months with snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_monthly: Option<NonZeroU32>,
    /// The newest of each of the last so many years with snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_yearly: Option<NonZeroU32>,
    /// All that are not older than this, counted back from the newest snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within: Option<Span>,
    /// The newest of each hour within this span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_hourly: Option<Span>,
    /// The newest of each day within this span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_daily: Option<Span>,
    /// The newest of each week within this span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_weekly: Option<Span>,
    /// The newest of each month within this span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_monthly: Option<Span>,
    /// The newest of each year within this span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within_yearly: Option<Span>,
    /// All with one of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_tags: Vec<String>,
}

impl Retention {
    /// The rules that keep a number of snapshots, by restic's names.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, Option<NonZeroU32>); 6] {
        [
            ("last", self.keep_last),
            ("hourly", self.keep_hourly),
            ("daily", self.keep_daily),
            ("weekly", self.keep_weekly),
            ("monthly", self.keep_monthly),
            ("yearly", self.keep_yearly),
        ]
    }

    /// The rules that keep what is young, by restic's names.
    #[must_use]
    pub fn spans(&self) -> [(&'static str, Option<Span>); 6] {
        [
            ("within", self.keep_within),
            ("within-hourly", self.keep_within_hourly),
            ("within-daily", self.keep_within_daily),
            ("within-weekly", self.keep_within_weekly),
            ("within-monthly", self.keep_within_monthly),
            ("within-yearly", self.keep_within_yearly),
        ]
    }

    /// Whether at least one snapshot of every group stays, whatever its tags.
    ///
    /// Every count is at least one and every span begins at the newest snapshot, so any of these
    /// rules will do. Tags alone keep nothing in a group where no snapshot has them.
    #[must_use]
    pub fn always_keeps_one(&self) -> bool {
        self.counts().iter().any(|(_, count)| count.is_some())
            || self.spans().iter().any(|(_, span)| span.is_some())
    }
}

/// A length of time by the calendar, written as restic does: `1y5m7d2h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    /// Years.
    pub years: u32,
    /// Months.
    pub months: u32,
    /// Days.
    pub days: u32,
    /// Hours.
    pub hours: u32,
}

impl Span {
    fn parts(self) -> [(u32, char); 4] {
        [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')]
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts();
        parts.iter().filter(|(n, _)| *n > 0).try_for_each(|(n, unit)| write!(f, "{n}{unit}"))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// The text is not a span such as `1y5m7d2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a span of time: expected years, months, days and hours in this order, such as 1y5m7d2h"
)]
pub struct ParseSpanError;

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, ParseSpanError> {
        let mut rest = text;
        let mut take = |unit: char| -> Result<u32, ParseSpanError> {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = rest.split_at(digits);
            let Some(after) = after.strip_prefix(unit) else { return Ok(0) };
            rest = after;
            number.parse().map_err(|_| ParseSpanError)
        };
        let span =
            Self { years: take('y')?, months: take('m')?, days: take('d')?, hours: take('h')? };
        let longest = span.parts().iter().map(|(n, _)| *n).max().unwrap_or(0);
        if rest.is_empty() && (1..=PART_MAX).contains(&longest) {
            Ok(span)
        } else {
            Err(ParseSpanError)
        }
    }
}

/// More of anything is a mistake, and restic's calendar would not reach that far back.
const PART_MAX: u32 = 9999;

impl TryFrom<String> for Span {
    type Error = ParseSpanError;

    fn try_from(text: String) -> Result<Self, ParseSpanError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_they_are_written() {
        for text in ["1y5m7d2h", "2h", "30d", "1y2h", "9999d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in
            ["", "0d", "5", "d", "1h2d", "1d1d", "-1d", "1w", "10000d", "1d ", "99999999999h"]
        {
            assert_eq!(text.parse::<Span>(), Err(ParseSpanError), "{text}");
        }
    }

    #[test]
    fn tags_alone_are_no_promise_to_keep_anything() {
        let tags = Retention { keep_tags: vec!["kept".to_owned()], ..Retention::default() };
        assert!(!tags.always_keeps_one());
        assert!(!Retention::default().always_keeps_one());
        assert!(Retention { keep_last: NonZeroU32::new(1), ..tags.clone() }.always_keeps_one());
        assert!(Retention { keep_within: "1d".parse().ok(), ..tags }.always_keeps_one());
    }
}
