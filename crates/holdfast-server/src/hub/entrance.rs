//! How many agents are let in at the same time.
//!
//! Letting one in takes the database's one writer, though many share a turn. When a whole fleet
//! comes back at once, most would wait longer than they have patience for, and dial again; the
//! server would then be busy opening sessions for agents that have left, and fall ever further
//! behind. So a round of them is let in at once, the others wait for less than their patience, and
//! who is left over is told at once when to come back: that costs next to nothing.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Enough to fill the store's commits: sessions that are opened at once share one.
const ENTERING_MAX: usize = 256;
/// Well below the ten seconds that an agent waits for its welcome, so that it is still there.
const WAIT_MAX: Duration = Duration::from_secs(4);

/// Where agents wait to be let in.
pub(super) struct Entrance {
    places: Semaphore,
}

impl Default for Entrance {
    fn default() -> Self {
        Self { places: Semaphore::new(ENTERING_MAX) }
    }
}

impl Entrance {
    /// Waits for a place; `None` when none came free in time.
    ///
    /// # Cancel safety
    /// Safe: whoever stops waiting has no place.
    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody ever closes it.
        tokio::time::timeout(WAIT_MAX, self.places.acquire()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_is_told_before_losing_patience() {
        let entrance = Entrance::default();
        let mut inside = Vec::new();
        for _ in 0..ENTERING_MAX {
            inside.push(entrance.enter().await.unwrap());
        }
        let began = tokio::time::Instant::now();
        assert!(entrance.enter().await.is_none());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        inside.pop();
        assert!(entrance.enter().await.is_some());
    }
}
