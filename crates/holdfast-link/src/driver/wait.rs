//! Between two sessions.

use std::time::Duration;

use holdfast_protocol::message::config::Secret;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dial;
use crate::client::AnyCredentials;

/// How often to look for a new token after the old one was refused. A person who has just enrolled
/// the host again is watching; the question is a small file.
const TOKEN_INTERVAL: Duration = Duration::from_secs(5);

/// Waits for `delay`. `false` when the client was stopped meanwhile.
///
/// # Cancel safety
/// Safe; waiting again starts over.
pub(crate) async fn run(delay: Duration, stop: &CancellationToken) -> bool {
    // Order: leaving, the time.
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = tokio::time::sleep(delay) => true,
    }
}

/// As [`run`], but ends early once there is a token other than `used`.
///
/// # Cancel safety
/// Safe; waiting again starts over.
pub(crate) async fn for_token(
    delay: Duration,
    credentials: &dyn AnyCredentials,
    used: Option<&Secret>,
    stop: &CancellationToken,
) -> bool {
    let until = Instant::now() + delay;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if !run(left.min(TOKEN_INTERVAL), stop).await {
            return false;
        }
        if left <= TOKEN_INTERVAL {
            return true;
        }
        let token = dial::ask(credentials, TOKEN_INTERVAL, stop).await;
        if matches!(token, Some(Ok(token)) if Some(&token) != used) {
            return true;
        }
    }
}
