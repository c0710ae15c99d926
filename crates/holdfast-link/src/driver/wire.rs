//! A transport with the one frame that is on its way out.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use jiff::Timestamp;

use crate::{
    session::{Event, Frame, Loss, Unreadable},
    transport::{Incoming, Outgoing, Transport},
};

/// Owns the transport. Reading and writing make progress in the same wait, and take turns when both
/// could go on for ever.
pub(crate) struct Wire {
    transport: Box<dyn Transport>,
    state: Writing,
    read_first: bool,
    frame_max: usize,
    /// What the network had taken when [`Wire::is_flowing`] last said yes.
    written: u64,
}

/// What must leave within a write deadline for a peer to count as reading: 6.5 kbit a second. Who
/// takes a byte now and then only wants to keep our memory.
const FLOWING_BYTES_MIN: u64 = 8 * 1024;

enum Writing {
    Idle,
    Waiting(Outgoing),
    Flushing,
}

/// What the wire had to tell.
pub(crate) enum Turn {
    /// Something came.
    Received(Incoming),
    /// The frame is out.
    Written,
    /// Writing failed: the connection is gone.
    Broken(Loss),
}

impl Wire {
    /// Reads frames of at most `frame_max` bytes.
    pub(crate) fn new(transport: Box<dyn Transport>, frame_max: usize) -> Self {
        Self { transport, state: Writing::Idle, read_first: true, frame_max, written: 0 }
    }

    /// Begins to send. The session gives out one frame at a time, so nothing is ever replaced,
    /// except by a close, which makes the rest pointless.
    pub(crate) fn send(&mut self, outgoing: Outgoing) {
        self.written = self.transport.written().unwrap_or_default();
        self.state = Writing::Waiting(outgoing);
    }

    /// Whether a good part of the frame has left since this was last asked, or since its beginning.
    pub(crate) fn is_flowing(&mut self) -> bool {
        let written = self.transport.written().unwrap_or_default();
        let flows = written >= self.written + FLOWING_BYTES_MIN;
        if flows {
            self.written = written;
        }
        flows
    }

    /// As [`Wire::send`], stamped with the wall clock of now.
    pub(crate) fn send_frame(&mut self, frame: Frame) {
        self.send(Outgoing::Text(frame.into_envelope(Timestamp::now()).to_json()));
    }

    /// Waits for something to come (if `reading`) or for the frame to be out.
    ///
    /// # Cancel safety
    /// Safe: how far the write has come is kept here, and nothing that came is dropped.
    pub(crate) async fn turn(&mut self, reading: bool) -> Turn {
        poll_fn(|cx| self.poll_turn(cx, reading)).await
    }

    /// Waits until the frame is out, whatever comes in.
    ///
    /// # Cancel safety
    /// Safe, as [`Wire::turn`].
    pub(crate) async fn written(&mut self) -> Result<(), Loss> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, reading: bool) -> Poll<Turn> {
        self.read_first = !self.read_first;
        let first = if self.read_first { self.poll_read(cx, reading) } else { self.poll_out(cx) };
        if first.is_ready() {
            return first;
        }
        if self.read_first { self.poll_out(cx) } else { self.poll_read(cx, reading) }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, reading: bool) -> Poll<Turn> {
        if !reading {
            return Poll::Pending;
        }
        self.transport.poll_receive(cx).map(|incoming| match incoming {
            Incoming::Text(text) if text.len() > self.frame_max => {
                Turn::Received(Incoming::Unreadable(Unreadable::TooLarge))
            }
            incoming => Turn::Received(incoming),
        })
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if matches!(self.state, Writing::Idle) {
            return Poll::Pending;
        }
        self.poll_write(cx).map(|written| match written {
            Ok(()) => Turn::Written,
            Err(loss) => Turn::Broken(loss),
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        if matches!(self.state, Writing::Waiting(_)) {
            ready!(self.transport.poll_ready(cx))?;
            if let Writing::Waiting(outgoing) =
                std::mem::replace(&mut self.state, Writing::Flushing)
            {
                self.transport.start_send(outgoing)?;
            }
        }
        ready!(self.transport.poll_flush(cx))?;
        self.state = Writing::Idle;
        Poll::Ready(Ok(()))
    }
}

impl From<Turn> for Event {
    fn from(turn: Turn) -> Self {
        match turn {
            Turn::Written => Self::Written,
            Turn::Received(Incoming::Alive) => Self::Alive,
            Turn::Received(Incoming::Text(text)) => Self::from_text(&text),
            Turn::Received(Incoming::Unreadable(unreadable)) => Self::Unreadable(unreadable),
            Turn::Received(Incoming::Lost(loss)) | Turn::Broken(loss) => Self::Lost(loss),
        }
    }
}
