//! The server's end: a WebSocket that came as a request to axum.

use std::future::Future;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::{
    metered::Metered,
    websocket::{Socket, limits},
};
use crate::session::Rate;

/// A request for a link, as an extractor of axum.
///
/// axum has one of its own; this one leaves out what agents do not use, and puts a meter below the
/// WebSocket, where pieces of messages can be counted.
#[derive(Debug)]
pub struct Upgrade {
    accept: HeaderValue,
    on_upgrade: OnUpgrade,
}

/// The request is not one for a WebSocket, or something on the way has changed it.
///
/// As an answer it is a 426, upon which an agent takes the other road.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request is not one for a WebSocket: {wrong}")]
pub struct NotAnUpgrade {
    wrong: &'static str,
}

impl Upgrade {
    /// Answers the request, and calls `serve` with the connection once it is open; see
    /// [`accept`](crate::accept()).
    pub fn open<F, Serving>(self, serve: F) -> Response
    where
        F: FnOnce(Accepted) -> Serving + Send + 'static,
        Serving: Future<Output = ()> + Send + 'static,
    {
        let on_upgrade = self.on_upgrade;
        tokio::spawn(async move {
            match on_upgrade.await {
                Ok(stream) => serve(Accepted { stream: TokioIo::new(stream) }).await,
                Err(error) => tracing::debug!(%error, "an agent left before its link was open"),
            }
        });
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, self.accept),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = NotAnUpgrade;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, NotAnUpgrade> {
        let no = |wrong| NotAnUpgrade { wrong };
        let headers = &parts.headers;
        if parts.method != Method::GET {
            return Err(no("the method is not GET"));
        }
        if !lists(headers, &header::CONNECTION, "upgrade") {
            return Err(no("`Connection` does not name an upgrade"));
        }
        if !lists(headers, &header::UPGRADE, "websocket") {
            return Err(no("`Upgrade` does not name a WebSocket"));
        }
        if !lists(headers, &header::SEC_WEBSOCKET_VERSION, "13") {
            return Err(no("`Sec-WebSocket-Version` is not 13"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let key = key.ok_or_else(|| no("`Sec-WebSocket-Key` is missing"))?;
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
            .map_err(|_| no("`Sec-WebSocket-Key` is odd"))?;
        let on_upgrade = parts.extensions.remove::<OnUpgrade>();
        let on_upgrade = on_upgrade.ok_or_else(|| no("this connection cannot be upgraded"))?;
        Ok(Self { accept, on_upgrade })
    }
}

impl IntoResponse for NotAnUpgrade {
    fn into_response(self) -> Response {
        let upgrade = [(header::UPGRADE, HeaderValue::from_static("websocket"))];
        (StatusCode::UPGRADE_REQUIRED, upgrade, self.to_string()).into_response()
    }
}

/// Whether a header that is a list of words has this one in it.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(word))
}

/// A connection whose agent has been told that it may begin.
#[derive(Debug)]
pub struct Accepted {
    stream: TokioIo<hyper::upgrade::Upgraded>,
}

/// The WebSocket of an [`Accepted`] connection.
pub type AcceptedWebSocket = WebSocketStream<Metered<TokioIo<hyper::upgrade::Upgraded>>>;

/// What carries the frames of an [`Accepted`] connection.
pub(crate) type AcceptedSocket = Socket<TokioIo<hyper::upgrade::Upgraded>>;

impl Accepted {
    /// The WebSocket itself, for a conversation in other words than the link's. It reads messages
    /// of at most `message_max` bytes, and at most as many pieces a second as `rate` allows frames.
    /// What it writes may have any size: whoever writes waits for each message to be gone.
    pub async fn into_websocket(self, rate: Rate, message_max: usize) -> AcceptedWebSocket {
        let limits = limits()
            .max_message_size(Some(message_max))
            .max_frame_size(Some(message_max))
            .max_write_buffer_size(usize::MAX);
        let stream = Metered::new(self.stream).limit(Some(rate));
        WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await
    }

    /// The transport, which reads at most as many pieces a second as `rate` allows frames.
    pub(crate) async fn into_transport(self, rate: Option<Rate>) -> AcceptedSocket {
        let stream = Metered::new(self.stream).limit(rate);
        Socket::new(WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits())).await)
    }
}
