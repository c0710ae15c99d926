//! Frames over a WebSocket, from either end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Sink, Stream};
use holdfast_protocol::FRAME_SIZE_MAX;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use super::{Incoming, Outgoing, Transport, TransportKind, metered::Metered};
use crate::session::{Loss, Unreadable};

/// tungstenite's own 128 KiB are allocated for every connection, used or not; most of ours are
/// idle.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// What is collected before it is written; a flush after each frame empties it.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;
/// One frame of ours is under way at a time, so this only has to hold that one.
const WRITE_BUFFER_BYTES_MAX: usize = FRAME_SIZE_MAX + 64 * 1024;

/// The buffers and limits of both ends.
#[must_use]
pub fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(FRAME_SIZE_MAX))
        .max_frame_size(Some(FRAME_SIZE_MAX))
}

/// A WebSocket whose opening handshake is done.
#[derive(Debug)]
pub struct Socket<S = MaybeTlsStream<TcpStream>> {
    socket: WebSocketStream<Metered<S>>,
}

impl<S> Socket<S> {
    /// Takes a socket whose opening handshake is done.
    #[must_use]
    pub fn new(socket: WebSocketStream<Metered<S>>) -> Self {
        Self { socket }
    }
}

impl<S> Transport for Socket<S>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
{
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        Pin::new(&mut self.socket).poll_next(cx).map(|item| match item {
            Some(Ok(message)) => incoming(message),
            Some(Err(error)) => refused(&error),
            None => Incoming::Lost(ended()),
        })
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        Pin::new(&mut self.socket).poll_ready(cx).map_err(|error| loss(&error))
    }

    fn start_send(&mut self, outgoing: Outgoing) -> Result<(), Loss> {
        let message = match outgoing {
            Outgoing::Text(text) => Message::Text(text.into()),
            Outgoing::Close { code, reason } => {
                Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
            }
        };
        Pin::new(&mut self.socket).start_send(message).map_err(|error| loss(&error))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(|error| loss(&error))
    }

    fn written(&self) -> Option<u64> {
        Some(self.socket.get_ref().written())
    }

    fn kind(&self) -> TransportKind {
        TransportKind::WebSocket
    }
}

fn incoming(message: Message) -> Incoming {
    match message {
        Message::Text(text) => Incoming::Text(text.as_str().to_owned()),
        Message::Binary(_) => Incoming::Unreadable(Unreadable::Binary),
        Message::Close(frame) => Incoming::Lost(closed(
            frame.map(|frame| (u16::from(frame.code), frame.reason.as_str().to_owned())),
        )),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Incoming::Alive,
    }
}

fn closed(frame: Option<(u16, String)>) -> Loss {
    match frame {
        Some((code, reason)) => Loss::Closed { code: Some(code), reason },
        None => Loss::Closed { code: None, reason: String::new() },
    }
}

pub(super) fn ended() -> Loss {
    Loss::Closed { code: None, reason: String::new() }
}

/// What a read error means to the session.
fn refused(error: &Error) -> Incoming {
    match error {
        Error::Capacity(_) => Incoming::Unreadable(Unreadable::TooLarge),
        Error::Utf8(_) => Incoming::Unreadable(Unreadable::NotAnEnvelope),
        other => Incoming::Lost(loss(other)),
    }
}

fn loss(error: &Error) -> Loss {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => ended(),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => ended(),
        Error::Io(error) => Loss::Failed { cause: crate::dial::io_cause(error) },
        other => Loss::Failed { cause: other.to_string() },
    }
}
