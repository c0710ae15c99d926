//! The live socket: the whole fleet, then every change, as JSON text; and the logs that the browser
//! asks to follow.

use std::time::Duration;

use axum::{extract::State, response::Response};
use futures_util::{SinkExt, StreamExt};
use holdfast_link::{Accepted, AcceptedWebSocket, NotAnUpgrade, Upgrade, session::Rate};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::{
    Bytes, Message, Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::AppState;
use crate::{
    auth::Principal,
    live::{FeedEnd, Logs, Narrow, Subscription},
};

/// How often a browser hears something, at least; proxies cut a line that is silent for a minute.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// A browser that has not even answered pings for this long is gone, though nobody closed the line.
const SILENCE_MAX: Duration = Duration::from_secs(70);

/// How long one write may take.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Browsers have little to say here; what they may send is bounded accordingly.
const MESSAGE_SIZE_MAX: usize = 4 * 1024;

/// How fast a browser may talk before it is read more slowly. Pages say which logs they show, and
/// browsers answer pings.
const RATE: Rate = Rate { frames: 20, bytes: 20 * 1024, burst: Duration::from_secs(10) };

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
    upgrade: Result<Upgrade, NotAnUpgrade>,
) -> Result<Response, NotAnUpgrade> {
    Ok(upgrade?.open(async move |socket| run(socket, &state, &principal).await))
}

/// Feeds one browser until either side has had enough.
async fn run(socket: Accepted, state: &AppState, principal: &Principal) {
    let mut socket = socket.into_websocket(RATE, MESSAGE_SIZE_MAX).await;
    let mut access = state.store.access_changes();
    let mut feed = state.live.subscribe();
    let mut narrow = Narrow::new(principal.scope.clone());
    let mut logs = Logs::new(state.store.clone(), principal.scope.clone());
    let mut ping = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard_at = Instant::now();
    let end = loop {
        // Stopping first, then what comes at a bounded pace, then the updates: a browser that
        // floods us is read slowly, one that never reads runs into the write deadline.
        let next = tokio::select! {
            biased;
            () = state.stop.cancelled() => break Some((GOING_AWAY, "the server stops")),
            heard = socket.next() => {
                heard_at = Instant::now();
                match heard {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                    Some(Ok(Message::Text(text))) => logs.hear(&text).map(Message::Text),
                    Some(Ok(_)) => None,
                }
            },
            _ = access.changed() => {
                if !may_stay(state, principal).await {
                    break Some(SIGNED_OUT);
                }
                None
            }
            _ = ping.tick() => {
                if heard_at.elapsed() > SILENCE_MAX || !write(&mut socket, PING).await {
                    break None;
                }
                // Another process may have taken the access away, and time does.
                if !may_stay(state, principal).await {
                    break Some(SIGNED_OUT);
                }
                Some(Message::text(r#"{"kind":"ping"}"#))
            }
            () = logs.ready() => logs.tell().await.map(Message::Text),
            update = next_update(&mut feed) => match update {
                Ok(update) => narrow.keep(update).map(Message::Text),
                Err(close) => break close,
            },
        };
        let Some(next) = next else { continue };
        if !write(&mut socket, next).await {
            break None;
        }
    };
    if let Some((code, reason)) = end {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
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
async fn write(socket: &mut AcceptedWebSocket, message: Message) -> bool {
    matches!(timeout(WRITE_DEADLINE, socket.send(message)).await, Ok(Ok(())))
}
