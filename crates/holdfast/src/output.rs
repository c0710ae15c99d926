//! What people and programs see on standard output.
//!
//! [`Screen`] knows where the output goes and prints either the API's answer (`--json`) or text for
//! people; [`Look`] is all that such a text may depend on, so every view is a pure function.

mod facts;
mod progress;
mod quantity;
mod table;
mod text;
mod time;

use std::io::{IsTerminal, Write};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

pub(crate) use self::{
    facts::Facts,
    progress::{bar_line, plain_line},
    quantity::{bytes, count},
    table::{Cell, Table},
    text::printable,
};

/// Standard output.
pub(crate) struct Screen {
    json: bool,
    terminal: bool,
    colour: bool,
}

/// What a text for people may depend on besides its subject.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Whether colours may be used.
    pub(crate) colour: bool,
    /// The time that "3 min ago" counts from.
    pub(crate) now: Timestamp,
    /// The zone that times of day are shown in.
    pub(crate) zone: TimeZone,
}

/// What a piece of text means. Each meaning has its own words too: colour alone says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Wrong.
    Bad,
    /// Beside the point.
    Quiet,
    /// A heading.
    Strong,
}

impl Screen {
    /// The process's standard output.
    pub(crate) fn new(json: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, terminal, colour: terminal && !plain }
    }

    /// Whether JSON was asked for.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a line can be redrawn.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal && !self.json
    }

    /// How texts look right now.
    pub(crate) fn look(&self) -> Look {
        Look { colour: self.colour, now: Timestamp::now(), zone: TimeZone::system() }
    }

    /// Prints `answer` as one JSON document, or else what `human` makes of it.
    pub(crate) fn show(&self, answer: &Value, human: impl FnOnce(&Look) -> String) {
        if self.json {
            print(&format!("{answer:#}\n"));
        } else {
            print(&human(&self.look()));
        }
    }
}

impl Look {
    /// `text`, marked as `tone`.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
            Tone::Strong => "1",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// `2026-11-21 14:25 (3 min ago)`.
    pub(crate) fn when(&self, time: Timestamp) -> String {
        time::when(time, self.now, &self.zone)
    }

    /// Like [`Look::when`]; `-` for no time.
    pub(crate) fn when_some(&self, time: Option<Timestamp>) -> String {
        time.map_or_else(|| "-".to_owned(), |time| self.when(time))
    }

    /// `14:25:03`.
    pub(crate) fn time_of_day(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    /// `26 h`: a length of time for people, in its largest whole unit.
    pub(crate) fn span(seconds: u64) -> String {
        time::span(seconds)
    }

    /// How long from `from` to `to`, or until now.
    pub(crate) fn took(&self, from: Timestamp, to: Option<Timestamp>) -> String {
        time::length(to.unwrap_or(self.now).duration_since(from))
    }
}

/// How a job's, host's or verdict's word is meant.
pub(crate) fn tone_of(state: &str) -> Tone {
    match state {
        "succeeded" | "online" | "protected" | "fired" | "sent" => Tone::Good,
        "partial" | "missed" | "paused" | "pending" | "interrupted" | "at_risk" | "caught_up"
        | "refused" | "warning" | "acknowledged" => Tone::Warning,
        "failed" | "offline" | "stale" | "never" | "critical" | "open" => Tone::Bad,
        "cancelled" | "queued" | "skipped" | "resolved" | "info" | "waiting" => Tone::Quiet,
        _ => Tone::Plain,
    }
}

/// Writes to standard output; a reader that has gone away (`| head`) is no failure.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a remark to standard error.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
pub(crate) fn test_look() -> Look {
    let now = Timestamp::from_second(1_795_267_500).expect("2026-11-21T13:25:00Z is a time");
    Look { colour: false, now, zone: TimeZone::UTC }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_a_painted_text_is_the_text() {
        let mut look = test_look();
        assert_eq!(look.paint(Tone::Bad, "failed"), "failed");
        look.colour = true;
        assert_eq!(look.paint(Tone::Bad, "failed"), "\x1b[31mfailed\x1b[0m");
        assert_eq!(look.paint(Tone::Plain, "x"), "x");
    }

    #[test]
    fn a_missing_time_is_a_dash() {
        assert_eq!(test_look().when_some(None), "-");
    }
}
