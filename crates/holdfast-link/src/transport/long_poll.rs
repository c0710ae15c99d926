//! The agent's end of the long-poll road.
//!
//! At most two exchanges are under way: one that the server holds, and one that relieves it because
//! there is something to say. Frames are kept until the server's count has passed them, so an
//! exchange that fails is simply made again.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use holdfast_protocol::message::exchange::{Answer, Close, Exchange};
use hyper::body::Bytes;
use tokio::time::{Instant, Sleep};
use uuid::Uuid;

use super::{Incoming, Outgoing, Transport, TransportKind, held::payload, lane::Lane};
use crate::{
    dial::{DialError, long_poll::Post},
    session::Loss,
};

/// Failures in a row before the link counts as lost. One is common: the server may end an idle
/// connection at the very moment it is used.
const FAILURES_MAX: u32 = 3;
/// How long to wait before an exchange is made again, and after one that came back at once with
/// nothing to tell.
const PAUSE: Duration = Duration::from_millis(500);

/// A link over exchanges.
pub(crate) struct LongPoll {
    post: Box<dyn Post>,
    link: Uuid,
    /// The number of the next exchange.
    number: u64,
    under_way: FuturesUnordered<Flight>,
    outgoing: Lane,
    /// The count of the next frame to post.
    sent: u64,
    incoming: Lane,
    alive: bool,
    /// Our last word, until it has been posted.
    close: Option<Close>,
    over: Option<Loss>,
    failures: u32,
    pause: Option<Pin<Box<Sleep>>>,
}

type Flight = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// An exchange that has come back.
struct Landed {
    /// It brought nothing to the server and was hardly held.
    idle: bool,
    result: Result<Bytes, DialError>,
}

impl LongPoll {
    /// A link that the exchange 0 has opened.
    pub(crate) fn new(link: Uuid, post: Box<dyn Post>) -> Self {
        Self {
            post,
            link,
            number: 1,
            under_way: FuturesUnordered::new(),
            outgoing: Lane::default(),
            sent: 0,
            incoming: Lane::default(),
            alive: false,
            close: None,
            over: None,
            failures: 0,
            pause: None,
        }
    }

    /// Takes what has come back and posts what is due.
    fn drive(&mut self, cx: &mut Context<'_>) {
        while self.over.is_none() {
            if let Poll::Ready(Some(landed)) = self.under_way.poll_next_unpin(cx) {
                self.land(landed);
            } else if self.is_due(cx) {
                self.begin();
            } else {
                return;
            }
        }
    }

    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.pause = None;
        }
        // What the session has not taken need not be fetched.
        let idle = self.under_way.is_empty() && self.incoming.has_room();
        let unsent = self.sent < self.outgoing.end() || self.close.is_some();
        idle || (unsent && self.under_way.len() < 2)
    }

    fn begin(&mut self) {
        let exchange = Exchange {
            link: self.link,
            number: self.number,
            received: self.incoming.end(),
            first: self.sent,
            frames: self.outgoing.from(self.sent),
            close: self.close.take(),
        };
        self.number += 1;
        self.sent = self.outgoing.end();
        let (idle, began) = (exchange.frames.is_empty(), Instant::now());
        let posting = self.post.post(&exchange);
        let landed = move |result| Landed { idle: idle && began.elapsed() < PAUSE, result };
        self.under_way.push(Box::pin(posting.map(landed)));
    }

    fn land(&mut self, landed: Landed) {
        let answer = landed.result.and_then(|body| {
            serde_json::from_slice::<Answer>(&body).map_err(|_| DialError::NotWebSocket {
                cause: "the answer is not an exchange".to_owned(),
            })
        });
        match answer {
            Ok(answer) => {
                let idle = landed.idle && answer.frames.is_empty() && answer.close.is_none();
                self.take(answer);
                // A box that answers by itself must not be asked in a tight loop.
                if idle && self.under_way.is_empty() {
                    self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                }
            }
            Err(error) => self.failed(&error),
        }
        if self.under_way.is_empty() {
            // What the server does not have by now was lost on the way.
            self.sent = self.outgoing.first();
        }
    }

    fn take(&mut self, answer: Answer) {
        self.failures = 0;
        self.alive = true;
        self.outgoing.confirm(answer.received);
        self.sent = self.sent.max(self.outgoing.first());
        // One that is refused for want of room comes again with the next answer.
        self.incoming.take(answer.first, &answer.frames);
        if let Some(Close { code, reason }) = answer.close {
            self.over = Some(Loss::Closed { code: Some(code), reason });
        }
    }

    fn failed(&mut self, error: &DialError) {
        self.failures += 1;
        self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
        let gone = matches!(
            error,
            DialError::NotFound { .. } | DialError::Unauthorised { .. } | DialError::Busy { .. }
        );
        if gone {
            self.over = Some(Loss::Failed { cause: "the server ended the link".to_owned() });
        } else if self.failures >= FAILURES_MAX {
            self.over = Some(Loss::Failed { cause: error.to_string() });
        }
    }

    fn alive(&self) -> Result<(), Loss> {
        self.over.clone().map_or(Ok(()), Err)
    }
}

impl Transport for LongPoll {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        self.drive(cx);
        if let Some(frame) = self.incoming.pop() {
            return Poll::Ready(Incoming::Text(frame.as_str().to_owned()));
        }
        if std::mem::take(&mut self.alive) {
            return Poll::Ready(Incoming::Alive);
        }
        match &self.over {
            Some(loss) => Poll::Ready(Incoming::Lost(loss.clone())),
            None => Poll::Pending,
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        self.drive(cx);
        self.alive()?;
        if self.outgoing.has_room() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn start_send(&mut self, outgoing: Outgoing) -> Result<(), Loss> {
        self.alive()?;
        match outgoing {
            Outgoing::Text(text) => self.outgoing.push(payload(text)?),
            Outgoing::Close { code, reason } => self.close = Some(Close { code, reason }),
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        self.drive(cx);
        Poll::Ready(self.alive())
    }

    fn kind(&self) -> TransportKind {
        TransportKind::LongPoll
    }
}
