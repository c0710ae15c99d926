//! What is known about a connected host and never stored.

use jiff::Timestamp;

/// A connected host.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    pub(crate) since: Timestamp,
    pub(crate) last_heard: Timestamp,
    pub(crate) queue_depth: u64,
    pub(crate) clock_offset_ms: Option<i64>,
}

/// A clock that moved by less than this is the same clock and another network delay.
const OFFSET_CHANGE_MS: u64 = 1000;

impl Presence {
    pub(crate) fn new(at: Timestamp) -> Self {
        Self { since: at, last_heard: at, queue_depth: 0, clock_offset_ms: None }
    }

    /// Takes a heartbeat in; whether a person could see a difference.
    pub(crate) fn hear(&mut self, queue_depth: u64, offset_ms: i64, at: Timestamp) -> bool {
        self.last_heard = at;
        let moved =
            self.clock_offset_ms.is_none_or(|known| known.abs_diff(offset_ms) >= OFFSET_CHANGE_MS);
        if moved {
            self.clock_offset_ms = Some(offset_ms);
        }
        let deeper = self.queue_depth != queue_depth;
        self.queue_depth = queue_depth;
        moved || deeper
    }
}
