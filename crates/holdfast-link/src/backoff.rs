//! How long to wait before the next dial: full jitter, so that a fleet never dials in step.

use std::time::Duration;

/// Exponential backoff with full jitter: attempt `k` waits a random time up to
/// `min(delay_max, delay_min * 2^k)`.
///
/// The random number comes in, so the schedule is a pure function of its inputs. Nothing here
/// resets by itself: the owner calls [`Backoff::reset`] once a session has proven stable. A server
/// that accepts and drops at once must see the waits grow (F40).
#[derive(Debug, Clone)]
pub struct Backoff {
    delay_min: Duration,
    delay_max: Duration,
    attempt: u32,
}

impl Backoff {
    /// A schedule whose first wait is up to `delay_min` and whose longest is up to `delay_max`.
    #[must_use]
    pub fn new(delay_min: Duration, delay_max: Duration) -> Self {
        Self { delay_min, delay_max: delay_max.max(delay_min), attempt: 0 }
    }

    /// The next wait. `random` is drawn evenly from 0 to 1; anything outside is brought inside.
    #[must_use]
    pub fn advance(&mut self, random: f64) -> Duration {
        let ceiling = self.ceiling();
        self.attempt = self.attempt.saturating_add(1);
        ceiling.mul_f64(fraction(random))
    }

    /// The longest the next wait can be.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        // 2^32 times the smallest sensible wait is beyond any cap, so the exponent may stop there.
        let factor = 1u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        self.delay_min.saturating_mul(factor).min(self.delay_max)
    }

    /// The session was stable: the next loss starts from the smallest wait again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// Spreads waits that a person or the server has set: `base` plus up to `spread`.
#[must_use]
pub(crate) fn spread(base: Duration, spread: Duration, random: f64) -> Duration {
    base.saturating_add(spread.mul_f64(fraction(random)))
}

fn fraction(random: f64) -> f64 {
    if random.is_finite() { random.clamp(0.0, 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(60);

    #[test]
    fn ceilings_double_up_to_the_cap_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(MIN, MAX);
        let ceilings: Vec<u64> = (0..9).map(|_| backoff.advance(1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.ceiling(), MIN);
    }

    #[test]
    fn a_cap_below_the_smallest_wait_is_raised_to_it() {
        assert_eq!(Backoff::new(MAX, MIN).ceiling(), MAX);
    }

    proptest! {
        #[test]
        fn a_wait_never_leaves_its_bounds(
            min_ms in 1u64..10_000, max_ms in 1u64..1_000_000, attempts in 0usize..200, random: f64,
        ) {
            let mut backoff =
                Backoff::new(Duration::from_millis(min_ms), Duration::from_millis(max_ms));
            for _ in 0..attempts {
                let ceiling = backoff.ceiling();
                prop_assert!(backoff.advance(random) <= ceiling);
                prop_assert!(ceiling <= Duration::from_millis(max_ms.max(min_ms)));
                prop_assert!(backoff.ceiling() >= ceiling);
            }
        }
    }
}
