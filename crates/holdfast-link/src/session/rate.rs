//! How fast a peer may talk. Who is faster is not shut out, only read more slowly.

use std::time::Duration;

use crate::clock::Moment;

/// How fast one peer may talk before this side reads more slowly.
///
/// A session measures whole frames; where frames come in pieces, as over a WebSocket, its transport
/// allows as many pieces as this allows frames.
///
/// Nothing is dropped: what is not read waits at the peer, which conflates its own. So one agent in
/// a loop, or with a grudge, cannot keep the server from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Frames per second.
    pub frames: u32,
    /// Bytes of bodies per second.
    pub bytes: u32,
    /// How long the peer may have been quiet to its credit.
    pub burst: Duration,
}

impl Default for Rate {
    /// Room for an agent that comes back with 10,000 records to deliver them at once. What a flood
    /// at this rate costs in processor time is measured by `cargo xtask chaos F46`.
    fn default() -> Self {
        Self { frames: 2000, bytes: 8 * 1024 * 1024, burst: Duration::from_secs(5) }
    }
}

/// Measures one peer against a rate: each frame costs time, and at most `burst` of it is lent.
#[derive(Debug)]
pub(crate) struct Meter {
    rate: Option<Rate>,
    /// When everything taken so far will be paid for.
    paid_at: Moment,
}

impl Meter {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self { rate, paid_at: Moment::ORIGIN }
    }

    /// Nothing is measured here.
    pub(crate) fn is_open_to_all(&self) -> bool {
        self.rate.is_none()
    }

    /// A frame with a body of `bytes` came.
    pub(crate) fn take(&mut self, bytes: usize, now: Moment) {
        let Some(rate) = self.rate else { return };
        let frames = 1.0 / f64::from(rate.frames.max(1));
        // Frames are at most 4 MiB, far below where a float stops counting whole bytes.
        let bytes = bytes as f64 / f64::from(rate.bytes.max(1));
        self.paid_at = self.paid_at.max(now) + Duration::from_secs_f64(frames + bytes);
    }

    /// When the next frame may be read; a time that has passed means now.
    pub(crate) fn opens_at(&self) -> Moment {
        let burst = self.rate.map_or(Duration::ZERO, |rate| rate.burst);
        Moment::after_origin(self.paid_at.since_origin().saturating_sub(burst))
    }
}
