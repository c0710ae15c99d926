//! How frames travel: anything that carries text both ways, in order.
//!
//! A transport knows nothing of sessions. It is polled by hand, so that one task can own it and
//! still read while a write is under way; and it is object safe, so that a session can run over a
//! WebSocket today, over long polls behind a hostile proxy, and over memory in a test.

pub mod accepted;
pub mod held;
mod lane;
pub(crate) mod long_poll;
pub mod memory;
pub mod metered;
pub mod tcp;
pub mod tls;
pub mod websocket;

use std::task::{Context, Poll};

use crate::session::{Loss, Unreadable};

/// What comes out of a transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A sign of life without content.
    Alive,
    /// One text frame.
    Text(String),
    /// Something that is not a text frame of acceptable size.
    Unreadable(Unreadable),
    /// The connection is gone. Nothing comes after it.
    Lost(Loss),
}

/// What goes into a transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// One text frame.
    Text(String),
    /// The last word.
    Close {
        /// The WebSocket close code.
        code: u16,
        /// One sentence, at most 120 bytes.
        reason: String,
    },
}

/// Which road the frames take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// Plain HTTP requests that the server holds until it has something to say.
    LongPoll,
    /// Within one process.
    Memory,
    /// A WebSocket, with or without TLS.
    WebSocket,
}

impl TransportKind {
    /// A stable word for status files and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LongPoll => "long_poll",
            Self::Memory => "memory",
            Self::WebSocket => "websocket",
        }
    }
}

/// A connection that carries frames.
///
/// All methods follow the rules of [`std::future::Future::poll`]: on `Pending` the task is woken
/// when it is worth asking again.
pub trait Transport: Send {
    /// The next thing that comes.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming>;

    /// Ready when [`Transport::start_send`] may be called.
    ///
    /// # Errors
    /// When the connection is gone.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>>;

    /// Begins to send; call it only after [`Transport::poll_ready`] said so.
    ///
    /// # Errors
    /// When the connection is gone.
    fn start_send(&mut self, outgoing: Outgoing) -> Result<(), Loss>;

    /// Ready when everything begun has been handed to the network.
    ///
    /// # Errors
    /// When the connection is gone.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>>;

    /// Bytes the network has taken so far, where that is known. By it a frame that leaves slowly is
    /// told from one that does not leave at all.
    fn written(&self) -> Option<u64> {
        None
    }

    /// Which road this is.
    fn kind(&self) -> TransportKind;
}
