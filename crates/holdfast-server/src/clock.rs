//! What time it is.
//!
//! Everything that the server decides by the time asks one clock, the store's, so that a month can
//! pass within a test.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;

/// A clone is another handle to the same clock.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Milliseconds since 1970; none for the machine's own clock.
    by_hand: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's own clock.
    #[must_use]
    pub fn real() -> Self {
        Self::default()
    }

    /// A clock that stands at `at` until it is set.
    #[must_use]
    pub fn manual(at: Timestamp) -> Self {
        Self { by_hand: Some(Arc::new(AtomicI64::new(at.as_millisecond()))) }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let Some(by_hand) = &self.by_hand else { return Timestamp::now() };
        Timestamp::from_millisecond(by_hand.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }

    /// Sets a clock that was made with [`manual`](Self::manual). The machine's own cannot be set.
    pub fn set(&self, at: Timestamp) {
        if let Some(by_hand) = &self.by_hand {
            by_hand.store(at.as_millisecond(), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_by_hand_stands_still() {
        let at: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let clock = Clock::manual(at);
        let other = clock.clone();
        assert_eq!(clock.now(), at);
        other.set(at + jiff::SignedDuration::from_hours(1));
        assert_eq!(clock.now(), at + jiff::SignedDuration::from_hours(1));
    }

    #[test]
    fn the_machines_clock_cannot_be_set() {
        let clock = Clock::real();
        clock.set(Timestamp::UNIX_EPOCH);
        assert!(clock.now() > Timestamp::UNIX_EPOCH);
    }
}
