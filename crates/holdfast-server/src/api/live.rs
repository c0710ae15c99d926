//! The live socket: the whole fleet, then every change, as JSON text.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{
        State,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    response::Response,
};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::AppState;
use crate::{
    auth::Principal,
    live::{FeedEnd, Narrow, Subscription},
};

/// How often a browser hears something, at least; proxies cut a line that is silent for a minute.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// A browser that has not even answered pings for this long is gone, though nobody closed the line.
const SILENCE_MAX: Duration = Duration::from_secs(70);

/// How long one write may take.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Browsers have nothing to say here; what they may send is bounded accordingly.
const MESSAGE_SIZE_MAX: usize = 4 * 1024;

/// The close code for a browser that is too slow. It reconnects and gets a new snapshot.
const TOO_SLOW: u16 = 4408;

/// The close for a browser whose sign-in has ended.
const SIGNED_OUT: (u16, &str) = (4401, "the sign-in has ended");

/// The standard code for an endpoint that goes away.
const GOING_AWAY: u16 = 1001;

/// Asks the browser itself, below the page's scripts, for a sign of life.
const PING: Message = Message::Ping(Bytes::new());

/// Opens the live socket. The guard has seen to who asks and from which page.
pub(super) async fn open(
    State(state): State<AppState>,
    principal: Principal,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        // The defaults are made for few connections with large messages: 128 KiB each.
        .read_buffer_size(4 * 1024)
        .write_buffer_size(8 * 1024)
        .max_message_size(MESSAGE_SIZE_MAX)
        .max_frame_size(MESSAGE_SIZE_MAX)
        .on_upgrade(async move |socket| run(socket, &state, &principal).await)
}

/// Feeds one browser until either side has had enough.
async fn run(mut socket: WebSocket, state: &AppState, principal: &Principal) {
    let mut access = state.store.access_changes();
    let mut feed = state.live.subscribe();
    let mut narrow = Narrow::new(principal.scope.clone());
    let mut ping = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard_at = Instant::now();
    let end = loop {
        // Stopping first, then what the browser says, then ours: a browser that floods us is read
        // and dropped, one that never reads runs into the write deadline.
        let next = tokio::select! {
            biased;
            () = state.stop.cancelled() => break Some((GOING_AWAY, "the server stops")),
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                Some(Ok(_)) => {
                    heard_at = Instant::now();
                    continue;
                }
            },
            _ = access.changed() => {
                if may_stay(state, principal).await {
                    continue;
                }
                break Some(SIGNED_OUT);
            }
            update = next_update(&mut feed) => match update {
                Ok(update) => match narrow.keep(update) {
                    Some(text) => Message::Text(text),
                    None => continue,
                },
                Err(close) => break close,
            },
            _ = ping.tick() => {
                if heard_at.elapsed() > SILENCE_MAX || !write(&mut socket, PING).await {
                    break None;
                }
                // Another process may have taken the access away, and time does.
                if !may_stay(state, principal).await {
                    break Some(SIGNED_OUT);
                }
                Message::text(r#"{"kind":"ping"}"#)
            }
        };
        if !write(&mut socket, next).await {
            break None;
        }
    };
    if let Some((code, reason)) = end {
        let frame = CloseFrame { code, reason: reason.into() };
        write(&mut socket, Message::Close(Some(frame))).await;
    }
}

/// Whether whoever was let in still may look on. A database that fails takes nobody's access away.
async fn may_stay(state: &AppState, principal: &Principal) -> bool {
    let still = state.store.is_still(principal, state.store.now()).await;
    still.unwrap_or_else(|error| {
        tracing::error!(%error, "a sign-in could not be checked again");
        true
    })
}

/// The next text for the browser, or how to close.
///
/// # Cancel safety
/// Safe: an update is taken only when it is returned.
async fn next_update(feed: &mut Subscription) -> Result<Utf8Bytes, Option<(u16, &'static str)>> {
    match feed.next().await {
        Ok(text) => Ok(text),
        Err(FeedEnd::Slow) => Err(Some((TOO_SLOW, "too slow: reconnect for a new snapshot"))),
        Err(FeedEnd::Stopped) => Err(Some((GOING_AWAY, "the server stops"))),
    }
}

/// Whether the message went out in time.
async fn write(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(WRITE_DEADLINE, socket.send(message)).await, Ok(Ok(())))
}
