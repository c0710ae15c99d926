//! Frames in one direction of a long-poll link: counted, bounded, kept until the other side has
//! them.

use std::collections::VecDeque;

use holdfast_protocol::Payload;

/// Frames that may wait.
const FRAMES_MAX: usize = 256;
/// Their size in bytes; the frame that crosses the line still goes.
const BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Default)]
pub(super) struct Lane {
    frames: VecDeque<Payload>,
    bytes: usize,
    /// The count of the first frame here.
    first: u64,
}

impl Lane {
    pub(super) fn has_room(&self) -> bool {
        self.frames.len() < FRAMES_MAX && self.bytes < BYTES_MAX
    }

    pub(super) fn push(&mut self, frame: Payload) {
        self.bytes += frame.as_str().len();
        self.frames.push_back(frame);
    }

    pub(super) fn pop(&mut self) -> Option<Payload> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.as_str().len();
        self.first += 1;
        Some(frame)
    }

    /// The other side has every frame below `count`. A count that was never reached is no reason to
    /// drop anything that was not sent.
    pub(super) fn confirm(&mut self, count: u64) {
        let count = count.min(self.end());
        while self.first < count {
            self.pop();
        }
    }

    /// The count of the next frame to be pushed.
    pub(super) fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frames from `count` on. They fit into one exchange, because no more fit in here.
    pub(super) fn from(&self, count: u64) -> Vec<Payload> {
        let passed = usize::try_from(count.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.frames.iter().skip(passed).cloned().collect()
    }

    /// Takes those of `frames` that come next, as far as there is room; the first of them has the
    /// count `first`.
    pub(super) fn take(&mut self, first: u64, frames: &[Payload]) -> Fit {
        for (count, frame) in (first..).zip(frames) {
            if count > self.end() {
                return Fit::Gap;
            }
            if count < self.end() {
                continue;
            }
            if !self.has_room() {
                return Fit::Full;
            }
            self.push(frame.clone());
        }
        if first > self.end() { Fit::Gap } else { Fit::All }
    }
}

/// What became of the frames of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// All of them are here.
    All,
    /// For some there is no room yet.
    Full,
    /// Some before them have not come.
    Gap,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(range: std::ops::Range<u64>) -> Vec<Payload> {
        range.map(|number| Payload::of(&number)).collect()
    }

    #[test]
    fn a_lane_stops_at_its_bounds() {
        let mut lane = Lane::default();
        assert_eq!(lane.take(0, &frames(0..300)), Fit::Full);
        assert_eq!((lane.end(), lane.has_room()), (256, false));
        let mut lane = Lane::default();
        lane.push(Payload::of(&"x".repeat(BYTES_MAX)));
        assert!(!lane.has_room());
        lane.confirm(1);
        assert!(lane.has_room() && lane.is_empty());
    }

    proptest! {
        /// Whatever is repeated, cut short or comes too early: what gets through is whole.
        #[test]
        fn exchanges_in_any_order_neither_lose_nor_double(
            attempts in prop::collection::vec((0u64..60, 0u64..20), 0..80), confirms in 0u64..80,
        ) {
            let mut lane = Lane::default();
            let mut came = Vec::new();
            for (first, length) in attempts {
                let fit = lane.take(first, &frames(first..first + length));
                prop_assert_eq!(fit == Fit::Gap, first > lane.end());
                while let Some(frame) = lane.pop() {
                    came.push(frame.parse::<u64>().unwrap());
                }
                lane.confirm(confirms);
            }
            let whole: Vec<u64> = (0..came.len() as u64).collect();
            prop_assert_eq!(came, whole);
        }
    }
}
