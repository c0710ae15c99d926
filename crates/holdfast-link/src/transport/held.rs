//! The server's end of the long-poll road.
//!
//! ```text
//! exchange ──► Line.incoming ──► Held ──► session
//! answer   ◄── Line.outgoing ◄── Held ◄── session
//! ```
//!
//! An exchange is held until there is something to say, at most 25 s. A newer one relieves it: the
//! agent then has something to say itself.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use holdfast_protocol::{
    Payload,
    message::exchange::{Answer, Close, Exchange},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    Incoming, Outgoing, Transport, TransportKind,
    lane::{Fit, Lane},
};
use crate::{close_code, session::Loss};

/// How long an exchange is held; common proxies give up after 30 s and more.
const HOLD_MAX: Duration = Duration::from_secs(25);
/// The same for one that brought something: bringing it may have taken its time.
const HOLD_LADEN_MAX: Duration = Duration::from_secs(10);

/// What exchanges and the session share.
#[derive(Debug, Default)]
pub(crate) struct Line {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    incoming: Lane,
    outgoing: Lane,
    /// An exchange came, with or without frames.
    alive: bool,
    /// The newest exchange that came.
    newest: u64,
    /// The agent's last word, or ours on its behalf.
    goodbye: Option<Close>,
    /// The session's last word.
    close: Option<Close>,
    /// It was put into an answer.
    close_taken: bool,
    /// Since when no session is at the other end.
    left_at: Option<Instant>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Line {
    /// Takes what `exchange` brings and waits for what there is to answer.
    ///
    /// # Cancel safety
    /// Safe: frames that were answered are kept until the agent has confirmed them.
    pub(crate) async fn answer(&self, exchange: &Exchange) -> Answer {
        let hold = if exchange.frames.is_empty() { HOLD_MAX } else { HOLD_LADEN_MAX };
        let deadline = Instant::now() + hold;
        self.arrive(exchange);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(answer) = self.try_answer(exchange) {
                return answer;
            }
            if timeout_at(deadline, changed).await.is_err() {
                return self.state().nothing();
            }
        }
    }

    /// No session is at the other end, and has not been for `age`.
    pub(crate) fn is_over_since(&self, age: Duration) -> bool {
        self.state().left_at.is_some_and(|left_at| left_at.elapsed() >= age)
    }

    /// Ends the session as if the agent had closed.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        state.goodbye.get_or_insert(Close { code: close_code::NORMAL, reason: String::new() });
        state.wake_reader();
    }

    fn arrive(&self, exchange: &Exchange) {
        let mut state = self.state();
        state.newest = state.newest.max(exchange.number);
        state.alive = true;
        state.outgoing.confirm(exchange.received);
        if state.outgoing.has_room() {
            state.wake_writer();
        }
        state.wake_reader();
        drop(state);
        self.changed.notify_waiters();
    }

    fn try_answer(&self, exchange: &Exchange) -> Option<Answer> {
        let mut state = self.state();
        let fit = state.incoming.take(exchange.first, &exchange.frames);
        if fit == Fit::All && exchange.close.is_some() {
            state.goodbye.clone_from(&exchange.close);
        }
        state.wake_reader();
        let relieved = exchange.number < state.newest;
        if relieved || fit == Fit::Gap || exchange.number == 0 {
            return Some(state.nothing());
        }
        (!state.outgoing.is_empty() || state.close.is_some()).then(|| state.everything())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can leave it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn nothing(&self) -> Answer {
        Answer { received: self.incoming.end(), first: self.outgoing.first(), ..Answer::default() }
    }

    fn everything(&mut self) -> Answer {
        if self.close.is_some() {
            self.close_taken = true;
            self.wake_reader();
        }
        let frames = self.outgoing.from(self.outgoing.first());
        Answer { frames, close: self.close.clone(), ..self.nothing() }
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

/// The session's end of a [`Line`].
#[derive(Debug)]
pub struct Held {
    line: Arc<Line>,
}

impl Held {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self { line }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.line.state();
        state.left_at = Some(Instant::now());
        let dropped = || Close { code: close_code::INTERNAL, reason: String::new() };
        state.close.get_or_insert_with(dropped);
        drop(state);
        self.line.changed.notify_waiters();
    }
}

impl Transport for Held {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let mut state = self.line.state();
        if let Some(frame) = state.incoming.pop() {
            drop(state);
            // An exchange may wait for the room.
            self.line.changed.notify_waiters();
            return Poll::Ready(Incoming::Text(frame.as_str().to_owned()));
        }
        if std::mem::take(&mut state.alive) {
            return Poll::Ready(Incoming::Alive);
        }
        if let Some(Close { code, reason }) = state.goodbye.clone() {
            return Poll::Ready(Incoming::Lost(Loss::Closed { code: Some(code), reason }));
        }
        if state.close_taken {
            return Poll::Ready(Incoming::Lost(super::websocket::ended()));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        let mut state = self.line.state();
        if state.outgoing.has_room() {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn start_send(&mut self, outgoing: Outgoing) -> Result<(), Loss> {
        let mut state = self.line.state();
        match outgoing {
            Outgoing::Text(text) => state.outgoing.push(payload(text)?),
            Outgoing::Close { code, reason } => state.close = Some(Close { code, reason }),
        }
        drop(state);
        self.line.changed.notify_waiters();
        Ok(())
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        Poll::Ready(Ok(()))
    }

    fn kind(&self) -> TransportKind {
        TransportKind::LongPoll
    }
}

pub(super) fn payload(text: String) -> Result<Payload, Loss> {
    Payload::from_text(text).map_err(|error| Loss::Failed { cause: error.to_string() })
}
