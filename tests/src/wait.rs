//! Waiting for a condition, with a limit.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at. Short, because tests measure with it.
const POLL: Duration = Duration::from_millis(50);

/// Asks `probe` again and again until it has something to say.
///
/// The condition is a level, not an edge: a probe that misses a moment sees its consequence.
///
/// # Errors
/// The probe's own error ends the wait at once. After `limit`, an error that names `what` was
/// waited for.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if started.elapsed() > limit {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        pause(POLL);
    }
}

/// Lets other processes run for about `duration`. Only for between two looks at a condition.
pub fn pause(duration: Duration) {
    thread::park_timeout(duration);
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn the_first_answer_ends_the_wait() {
        let mut looks = 0;
        let found = until("the third look", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn a_limit_names_what_did_not_come() {
        let error = until::<()>("rain", Duration::ZERO, || Ok(None)).unwrap_err();
        assert!(error.to_string().ends_with("in vain for rain"), "{error}");
    }

    #[test]
    fn an_error_ends_the_wait() {
        let error =
            until::<()>("rain", Duration::from_secs(60), || Err(anyhow!("dry"))).unwrap_err();
        assert_eq!(error.to_string(), "dry");
    }
}
