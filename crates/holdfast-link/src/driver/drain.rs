//! After the end: the last word is said, and what the store has begun is finished.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};

use super::{Driver, Wire, wire::Turn};
use crate::{
    close_code,
    session::{Event, Session},
    store::Store,
    transport::{Incoming, Outgoing},
};

/// How long the close frame may take. The session is over either way.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Closes the connection and finishes store work, so that the next session starts from a store at
/// rest. Gives the session back for what it could not send.
pub(crate) async fn finish<S: Store>(driver: Driver<'_, S>) -> Session {
    let Driver { session, mut wire, mut work, close, .. } = driver;
    match &close {
        // Whoever has not read or said anything for so long will not answer a goodbye either, and
        // others wait to be told.
        Some(Outgoing::Close { code: close_code::TIMED_OUT, .. }) => {
            close_at_once(&mut wire, close);
        }
        _ => close_with(&mut wire, close).await,
    }
    // A transaction that has begun is never dropped half-way: what it acknowledges is lost
    // knowledge otherwise. The store bounds its own time.
    while let Some(event) = work.next().await {
        if let Event::StoreFailed(error) = event {
            tracing::warn!(%error, "the store failed after the session had ended");
        }
    }
    session
}

pub(crate) async fn close(wire: &mut Wire, close: Option<(u16, String)>) {
    let outgoing = close.map(|(code, reason)| Outgoing::Close { code, reason });
    close_with(wire, outgoing).await;
}

async fn close_with(wire: &mut Wire, close: Option<Outgoing>) {
    let Some(close) = close else { return };
    wire.send(close);
    // Whether the peer still hears it makes no difference any more.
    let _ = tokio::time::timeout(CLOSE_MAX, hang_up(wire)).await;
}

fn close_at_once(wire: &mut Wire, close: Option<Outgoing>) {
    if let Some(close) = close {
        wire.send(close);
        // It goes if there is room for it.
        let _ = wire.written().now_or_never();
    }
}

/// Reads until the peer has closed too. A socket dropped with unread bytes is reset, and a reset
/// overtakes the close frame with the reason in it.
async fn hang_up(wire: &mut Wire) {
    if wire.written().await.is_err() {
        return;
    }
    while !matches!(wire.turn(true).await, Turn::Received(Incoming::Lost(_)) | Turn::Broken(_)) {}
}
