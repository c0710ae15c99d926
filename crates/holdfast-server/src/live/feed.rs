//! One browser's share of the live view.

use std::sync::Arc;

use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A snapshot, and then every update in order.
pub struct Subscription {
    snapshot: Arc<[Utf8Bytes]>,
    /// Texts of the snapshot that were told.
    told: usize,
    updates: Receiver<Utf8Bytes>,
}

/// Why there are no more updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedEnd {
    /// The reader was too slow. It should subscribe again; that starts with a new snapshot.
    #[error("the reader was too slow")]
    Slow,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopped,
}

impl Subscription {
    pub(super) fn new(snapshot: Arc<[Utf8Bytes]>, updates: Receiver<Utf8Bytes>) -> Self {
        Self { snapshot, told: 0, updates }
    }

    /// The next message, as the JSON text that goes to the browser. The first is the snapshot, or,
    /// of a large fleet, the first ones.
    ///
    /// # Errors
    /// [`FeedEnd`]; after that there is nothing more to come.
    ///
    /// # Cancel safety
    /// Safe: dropped early, no message is lost.
    pub async fn next(&mut self) -> Result<Utf8Bytes, FeedEnd> {
        if let Some(part) = self.snapshot.get(self.told) {
            self.told += 1;
            return Ok(part.clone());
        }
        // Others may need the memory of a snapshot that nobody reads any more.
        self.snapshot = Arc::default();
        self.updates.recv().await.map_err(|error| match error {
            RecvError::Lagged(_) => FeedEnd::Slow,
            RecvError::Closed => FeedEnd::Stopped,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test]
    async fn a_slow_reader_gets_its_snapshot_and_is_then_told_to_start_again() {
        let (sender, receiver) = broadcast::channel(2);
        let mut slow = Subscription::new(Arc::new(["snapshot".into()]), receiver);
        for _ in 0..3 {
            sender.send("update".into()).unwrap();
        }
        assert_eq!(slow.next().await.unwrap().as_str(), "snapshot");
        assert_eq!(slow.next().await, Err(FeedEnd::Slow));
    }

    #[tokio::test]
    async fn a_reader_learns_that_the_server_stops() {
        let (sender, receiver) = broadcast::channel(2);
        let mut reader = Subscription::new(Arc::new(["part".into(), "snapshot".into()]), receiver);
        sender.send("update".into()).unwrap();
        drop(sender);
        assert_eq!(reader.next().await.unwrap().as_str(), "part");
        assert_eq!(reader.next().await.unwrap().as_str(), "snapshot");
        assert_eq!(reader.next().await.unwrap().as_str(), "update");
        assert_eq!(reader.next().await, Err(FeedEnd::Stopped));
    }
}
