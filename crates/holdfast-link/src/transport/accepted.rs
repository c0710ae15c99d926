//! The server's end: a WebSocket that axum has accepted.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use futures_util::{Sink, Stream};
use holdfast_protocol::FRAME_SIZE_MAX;
use tokio_tungstenite::tungstenite;

use super::{
    Incoming, Outgoing, Transport, TransportKind,
    websocket::{
        READ_BUFFER_BYTES, WRITE_BUFFER_BYTES, WRITE_BUFFER_BYTES_MAX, closed, ended, loss, refused,
    },
};
use crate::session::{Loss, Unreadable};

/// Sets the buffers and limits of the link on an upgrade. Call it before `on_upgrade`.
pub fn configure<F>(upgrade: WebSocketUpgrade<F>) -> WebSocketUpgrade<F> {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(FRAME_SIZE_MAX)
        .max_frame_size(FRAME_SIZE_MAX)
}

/// A WebSocket that axum has accepted.
#[derive(Debug)]
pub struct Accepted {
    socket: WebSocket,
}

impl Accepted {
    /// Takes the socket from axum's upgrade.
    #[must_use]
    pub fn new(socket: WebSocket) -> Self {
        Self { socket }
    }
}

impl Transport for Accepted {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        Pin::new(&mut self.socket).poll_next(cx).map(|item| match item {
            Some(Ok(message)) => incoming(message),
            Some(Err(error)) => with_cause(error, refused, Incoming::Lost),
            None => Incoming::Lost(ended()),
        })
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        Pin::new(&mut self.socket).poll_ready(cx).map_err(cause)
    }

    fn start_send(&mut self, outgoing: Outgoing) -> Result<(), Loss> {
        let message = match outgoing {
            Outgoing::Text(text) => Message::Text(text.into()),
            Outgoing::Close { code, reason } => {
                Message::Close(Some(CloseFrame { code, reason: reason.into() }))
            }
        };
        Pin::new(&mut self.socket).start_send(message).map_err(cause)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(cause)
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
            frame.map(|frame| (frame.code, frame.reason.as_str().to_owned())),
        )),
        Message::Ping(_) | Message::Pong(_) => Incoming::Alive,
    }
}

fn cause(error: axum::Error) -> Loss {
    with_cause(error, loss, |loss| loss)
}

/// axum hides tungstenite's error in a box; the session needs to know an oversize frame from a cut.
fn with_cause<T>(
    error: axum::Error,
    known: impl FnOnce(&tungstenite::Error) -> T,
    unknown: impl FnOnce(Loss) -> T,
) -> T {
    match error.into_inner().downcast::<tungstenite::Error>() {
        Ok(error) => known(&error),
        Err(error) => unknown(Loss::Failed { cause: error.to_string() }),
    }
}
