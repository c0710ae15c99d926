//! Monotonic time as a plain value, so that the session can be driven by any clock.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use tokio::time::Instant;

/// A point on a monotonic time line with an arbitrary origin.
///
/// The session compares these and nothing else: no decision reads the wall clock (I14). The
/// simulator makes them up; the drivers take them from tokio.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The origin.
    pub const ORIGIN: Self = Self(Duration::ZERO);

    /// The point `elapsed` after the origin.
    #[must_use]
    pub const fn after_origin(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How far this point is from the origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// The time from `earlier` to `self`; zero when `earlier` is the later one.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Tokio's monotonic clock as [`Moment`]s; paused time in tests pauses it too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.origin.elapsed())
    }

    /// Waits until `moment`; for ever when there is none.
    ///
    /// # Cancel safety
    /// Safe: waiting again with the same moment ends at the same time.
    pub(crate) async fn wait_until(&self, moment: Option<Moment>) {
        match moment {
            Some(moment) => tokio::time::sleep_until(self.origin + moment.0).await,
            None => std::future::pending().await,
        }
    }
}
