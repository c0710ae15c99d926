//! A connection within one process, for tests and examples.

use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::{Incoming, Outgoing, Transport, TransportKind};
use crate::session::Loss;

/// One end of a connection in memory.
#[derive(Debug)]
pub struct Memory {
    incoming: mpsc::Receiver<Outgoing>,
    outgoing: PollSender<Outgoing>,
}

/// Two ends of one connection; each direction holds at most `capacity` frames before a write waits.
///
/// # Panics
/// When `capacity` is 0.
#[must_use]
pub fn pair(capacity: usize) -> (Memory, Memory) {
    let (to_right, from_left) = mpsc::channel(capacity);
    let (to_left, from_right) = mpsc::channel(capacity);
    let left = Memory { incoming: from_right, outgoing: PollSender::new(to_right) };
    let right = Memory { incoming: from_left, outgoing: PollSender::new(to_left) };
    (left, right)
}

fn gone() -> Loss {
    Loss::Failed { cause: "the other end was dropped".to_owned() }
}

impl Transport for Memory {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        self.incoming.poll_recv(cx).map(|frame| match frame {
            Some(Outgoing::Text(text)) => Incoming::Text(text),
            Some(Outgoing::Close { code, reason }) => {
                Incoming::Lost(Loss::Closed { code: Some(code), reason })
            }
            None => Incoming::Lost(gone()),
        })
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        self.outgoing.poll_reserve(cx).map_err(|_| gone())
    }

    fn start_send(&mut self, outgoing: Outgoing) -> Result<(), Loss> {
        self.outgoing.send_item(outgoing).map_err(|_| gone())
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        Poll::Ready(Ok(()))
    }

    fn kind(&self) -> TransportKind {
        TransportKind::Memory
    }
}
