//! Between two sessions.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

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
