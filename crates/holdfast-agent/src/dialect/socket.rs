//! A WebSocket to another system: its server, or who looks through the agent's own socket.

use std::{pin::Pin, time::Duration};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::CloseFrame},
};

/// How long the other end may take to read one frame.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// The other end does not read, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other end takes no more frames")]
pub(super) struct Gone;

/// A WebSocket with limits to its patience.
pub(super) struct Socket {
    incoming: Pin<Box<dyn Stream<Item = Result<Message, Error>> + Send>>,
    outgoing: Pin<Box<dyn Sink<Message, Error = Error> + Send>>,
}

impl Socket {
    /// One that was dialled or accepted.
    pub(super) fn new<S>(socket: WebSocketStream<S>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (outgoing, incoming) = socket.split();
        Self { incoming: Box::pin(incoming), outgoing: Box::pin(outgoing) }
    }

    /// The next message; `None` when the connection is gone.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken before the future is ready.
    pub(super) async fn next(&mut self) -> Option<Message> {
        match self.incoming.next().await {
            Some(Ok(message)) => Some(message),
            Some(Err(error)) => {
                tracing::debug!(%error, "the connection is gone");
                None
            }
            None => None,
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// [`Gone`], also when the server takes too long.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), Gone> {
        let sent = timeout(WRITE_WITHIN, self.outgoing.send(message)).await;
        sent.map_err(|_| Gone)?.map_err(|_| Gone)
    }

    /// Says goodbye.
    pub(super) async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let _ = self.send(Message::Close(Some(frame))).await;
    }
}
