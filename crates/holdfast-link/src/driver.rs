//! The awaiting half: carries out what a session wants, and turns every wake-up into an event.
//!
//! One task owns the connection. Store work runs beside it, at most one piece of each kind, and a
//! write in flight is just one more thing that can be ready, so reading never waits for writing.
//!
//! ```text
//! Driver ── Session      decides
//!        ── Wire ── Transport
//!        ── work ── Store (shared)
//!        ── Post (shared with the application)
//! ```

pub(crate) mod dial;
pub(crate) mod drain;
pub(crate) mod handshake;
pub(crate) mod live;
pub(crate) mod wait;
mod wire;

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use futures_util::{FutureExt, stream::FuturesUnordered};
use holdfast_protocol::{Payload, message::link::Refusal};
use jiff::Timestamp;
use tokio::sync::oneshot;

pub(crate) use self::wire::Wire;
use crate::{
    clock::Clock,
    crash,
    post::{Ask, Parcel, Post},
    session::{Action, Ended, Event, Notice, Opened, Outcome, Request, Session},
    store::{Store, StoreError},
    transport::Outgoing,
};

/// What the session tells the outside, or asks of it.
pub(crate) trait Outside: Send + Sync {
    /// The application's proof of life.
    fn heartbeat(&self) -> Payload;
    /// The handshake is complete.
    fn opened(&self, opened: &Opened);
    /// Something a person may want to know.
    fn notice(&self, notice: &Notice);
    /// The peer asks.
    fn answer(&self, request: Request) -> Answering<'_>;
}

/// An answer that is being thought about.
pub(crate) type Answering<'a> = Pin<Box<dyn Future<Output = Result<Payload, Refusal>> + Send + 'a>>;

type Work<'a> = Pin<Box<dyn Future<Output = Event> + Send + 'a>>;

/// Lets nobody wait for the answer of a session that is gone, in whatever way.
struct Open<'a>(&'a Post);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.set_open(false);
    }
}

/// One session with everything it needs.
pub(crate) struct Driver<'a, S> {
    session: Session,
    wire: Wire,
    store: Arc<S>,
    work: FuturesUnordered<Work<'static>>,
    /// Answers to the peer. Unlike store work they may take long, and are dropped with the session.
    answers: FuturesUnordered<Work<'a>>,
    /// Who waits for the peer's answers, by ticket.
    askers: BTreeMap<u64, oneshot::Sender<Outcome>>,
    open: Option<Open<'a>>,
    clock: Clock,
    post: &'a Post,
    outside: &'a dyn Outside,
    close: Option<Outgoing>,
}

impl<'a, S: Store> Driver<'a, S> {
    pub(crate) fn new(
        session: Session,
        wire: Wire,
        store: Arc<S>,
        clock: Clock,
        post: &'a Post,
        outside: &'a dyn Outside,
    ) -> Self {
        Self {
            session,
            wire,
            store,
            work: FuturesUnordered::new(),
            answers: FuturesUnordered::new(),
            askers: BTreeMap::new(),
            open: None,
            clock,
            post,
            outside,
            close: None,
        }
    }

    /// Does everything the session wants done now. Gives how it ended, when it has.
    fn carry_out(&mut self) -> Option<Ended> {
        while let Some(action) = self.session.poll_action() {
            match action {
                // Only a session whose hello has not been taken asks; see `handshake::admit`.
                Action::Admit(_) => {}
                Action::Answer { id, request } => self.answer(id, request),
                Action::Apply(records) => self.begin(|store| async move {
                    store.apply(records).await?;
                    crash::point("records:", "applied, not acknowledged");
                    Ok(Event::Applied)
                }),
                Action::Close { code, reason } => {
                    self.close = Some(Outgoing::Close { code, reason });
                }
                Action::End(ended) => {
                    self.open = None;
                    return Some(ended);
                }
                Action::Forget { through } => self.begin(move |store| async move {
                    crash::point("records:", "acknowledged, not forgotten");
                    store.forget(through).await?;
                    Ok(Event::Forgotten)
                }),
                Action::Heartbeat => self.beat(),
                Action::Load { after, limit } => self.begin(move |store| async move {
                    let records = store.load(after, limit).await?;
                    if !records.is_empty() {
                        crash::point("records:", "durable, not sent");
                    }
                    Ok(Event::Loaded { after, records })
                }),
                Action::Notice(notice) => self.outside.notice(&notice),
                Action::Opened(opened) => {
                    self.post.set_open(true);
                    self.open = Some(Open(self.post));
                    self.outside.opened(&opened);
                }
                Action::Receive(message) => self.begin(|store| async move {
                    store.receive(message).await?;
                    Ok(Event::Received)
                }),
                Action::Send(frame) => self.wire.send_frame(frame),
                Action::Settle { ticket, outcome } => {
                    if let Some(asker) = self.askers.remove(&ticket) {
                        // Whoever asked may have gone.
                        let _ = asker.send(outcome);
                    }
                }
                Action::Skip(missing) => self.begin(|store| async move {
                    store.skip(missing).await?;
                    Ok(Event::Skipped)
                }),
            }
        }
        None
    }

    fn begin<F, W>(&mut self, work: F)
    where
        F: FnOnce(Arc<S>) -> W,
        W: Future<Output = Result<Event, StoreError>> + Send + 'static,
    {
        let work = work(Arc::clone(&self.store));
        self.work.push(Box::pin(async move { work.await.unwrap_or_else(Event::StoreFailed) }));
    }

    fn answer(&mut self, id: String, request: Request) {
        let (kind, bytes) = (request.kind.clone(), request.payload.as_str().len());
        let answering = self.outside.answer(request);
        self.answers.push(Box::pin(async move {
            let result = answering.await;
            Event::Answer { id, kind, bytes, result }
        }));
    }

    fn beat(&mut self) {
        let payload = self.outside.heartbeat();
        self.handle(Event::Heartbeat { ts: Timestamp::now(), payload });
    }

    pub(crate) fn handle(&mut self, event: Event) {
        self.session.handle(event, self.clock.now());
    }

    /// A deadline has come. What has arrived by now counts as in time: after a machine was asleep
    /// or starved, the peer's signs of life wait in a buffer, and it must not be blamed.
    fn handle_deadline(&mut self, reading: bool) {
        if let Some(turn) = self.wire.turn(reading).now_or_never() {
            self.handle(turn.into());
        }
        self.tick();
    }

    /// The time for a write counts from the last good part of the frame that has left. A deadline
    /// of another kind may be the one that has come; then this is harmless.
    fn tick(&mut self) {
        let flows = self.session.is_writing_too_long(self.clock.now()) && self.wire.is_flowing();
        self.handle(if flows { Event::Flowing } else { Event::Tick });
    }

    fn handle_asks(&mut self) {
        let asks = self.post.take_asks();
        if !asks.is_empty() {
            // Whoever has gone makes room for those who come.
            let gone = self.askers.extract_if(.., |_, asker| asker.is_closed());
            for ticket in gone.map(|(ticket, _)| ticket).collect::<Vec<_>>() {
                self.handle(Event::Abandon { ticket });
            }
        }
        for Ask { question, asker } in asks {
            self.askers.insert(question.ticket, asker);
            self.handle(Event::Ask(question));
        }
    }

    pub(crate) fn handle_post(&mut self) {
        let Parcel { lanes, withdrawn, wake, close } = self.post.take();
        for (kind, key) in withdrawn {
            self.handle(Event::Withdraw { kind, key });
        }
        for message in lanes.into_messages() {
            self.handle(Event::Send(message));
        }
        self.handle_asks();
        if wake {
            self.handle(Event::Wake);
        }
        if let Some(reason) = close {
            self.handle(Event::Close(reason));
        }
    }
}
