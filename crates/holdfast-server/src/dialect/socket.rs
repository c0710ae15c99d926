//! A WebSocket that was accepted or dialled, with the limits that a foreign peer gets.

use std::{pin::Pin, time::Duration};

use futures_util::{Sink, SinkExt, Stream, StreamExt, future};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, error::CapacityError},
};

/// How long a peer may take to read one frame.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// A whole message, either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// A sign of life that asks for one.
    Ping(Vec<u8>),
    /// The answer to a ping.
    Pong(Vec<u8>),
    /// The last word.
    Close(u16, String),
}

/// What comes out of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A message.
    Frame(Frame),
    /// A message that is too large, or not what WebSockets allow.
    Broken(u16),
    /// The connection is gone.
    Lost,
}

/// The peer does not read, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer takes no more frames")]
pub(crate) struct Gone;

/// The socket.
pub(crate) struct Socket {
    incoming: Pin<Box<dyn Stream<Item = Incoming> + Send>>,
    outgoing: Pin<Box<dyn Sink<Frame, Error = Gone> + Send>>,
}

impl Socket {
    /// One that was accepted or dialled.
    pub(crate) fn new<S>(socket: WebSocketStream<S>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sink, stream) = socket.split();
        let outgoing = sink
            .sink_map_err(|_| Gone)
            .with(|frame| future::ready(Ok::<_, Gone>(tungstenite_message(frame))));
        let incoming = stream.map(|item| match item {
            Ok(message) => Incoming::Frame(from_tungstenite(message)),
            Err(error) => broken(Some(&error)),
        });
        Self { incoming: Box::pin(incoming), outgoing: Box::pin(outgoing) }
    }

    /// The next thing that comes.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken before the future is ready.
    pub(crate) async fn next(&mut self) -> Incoming {
        self.incoming.next().await.unwrap_or(Incoming::Lost)
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// [`Gone`], also when the peer takes too long.
    pub(crate) async fn send(&mut self, frame: Frame) -> Result<(), Gone> {
        timeout(WRITE_WITHIN, self.outgoing.send(frame)).await.unwrap_or(Err(Gone))
    }

    /// Says why, and closes. Whether the peer hears it is its matter.
    pub(crate) async fn close(mut self, code: u16, reason: &str) {
        if self.send(Frame::Close(code, reason.to_owned())).await.is_ok() {
            // The peer's own close, so that ours is not lost with the connection.
            let over = async {
                while !matches!(self.next().await, Incoming::Lost | Incoming::Broken(_)) {}
            };
            let _ = timeout(Duration::from_secs(2), over).await;
        }
    }
}

fn broken(error: Option<&tungstenite::Error>) -> Incoming {
    match error {
        Some(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. })) => {
            Incoming::Broken(1009)
        }
        Some(tungstenite::Error::Utf8(_)) => Incoming::Broken(1007),
        Some(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        )) => Incoming::Lost,
        Some(tungstenite::Error::Protocol(_)) => Incoming::Broken(1002),
        _ => Incoming::Lost,
    }
}

fn from_tungstenite(message: tungstenite::Message) -> Frame {
    use tungstenite::Message as M;
    match message {
        M::Text(text) => Frame::Text(text.as_str().to_owned()),
        M::Binary(bytes) => Frame::Binary(bytes.to_vec()),
        M::Ping(bytes) => Frame::Ping(bytes.to_vec()),
        M::Pong(bytes) => Frame::Pong(bytes.to_vec()),
        M::Close(frame) => match frame {
            Some(frame) => Frame::Close(frame.code.into(), frame.reason.as_str().to_owned()),
            None => Frame::Close(1005, String::new()),
        },
        // Never read, only written.
        M::Frame(_) => Frame::Pong(Vec::new()),
    }
}

fn tungstenite_message(frame: Frame) -> tungstenite::Message {
    use tungstenite::Message as M;
    match frame {
        Frame::Text(text) => M::Text(text.into()),
        Frame::Binary(bytes) => M::Binary(bytes.into()),
        Frame::Ping(bytes) => M::Ping(bytes.into()),
        Frame::Pong(bytes) => M::Pong(bytes.into()),
        Frame::Close(code, reason) => {
            let frame =
                tungstenite::protocol::CloseFrame { code: code.into(), reason: reason.into() };
            M::Close(Some(frame))
        }
    }
}
