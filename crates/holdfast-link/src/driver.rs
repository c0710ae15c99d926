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

use std::{future::Future, pin::Pin, sync::Arc};

use futures_util::{FutureExt, stream::FuturesUnordered};
use holdfast_protocol::Payload;
use jiff::Timestamp;

pub(crate) use self::wire::Wire;
use crate::{
    clock::Clock,
    post::{Parcel, Post},
    session::{Action, Ended, Event, Notice, Opened, Session},
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
}

type Work = Pin<Box<dyn Future<Output = Event> + Send>>;

/// One session with everything it needs.
pub(crate) struct Driver<'a, S> {
    session: Session,
    wire: Wire,
    store: Arc<S>,
    work: FuturesUnordered<Work>,
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
        let work = FuturesUnordered::new();
        Self { session, wire, store, work, clock, post, outside, close: None }
    }

    /// Does everything the session wants done now. Gives how it ended, when it has.
    fn carry_out(&mut self) -> Option<Ended> {
        while let Some(action) = self.session.poll_action() {
            match action {
                // Only a session whose hello has not been taken asks; see `handshake::admit`.
                Action::Admit(_) => {}
                Action::Apply(records) => self.begin(|store| async move {
                    store.apply(records).await?;
                    Ok(Event::Applied)
                }),
                Action::Close { code, reason } => {
                    self.close = Some(Outgoing::Close { code, reason });
                }
                Action::End(ended) => return Some(ended),
                Action::Forget { through } => self.begin(move |store| async move {
                    store.forget(through).await?;
                    Ok(Event::Forgotten)
                }),
                Action::Heartbeat => self.beat(),
                Action::Load { after, limit } => self.begin(move |store| async move {
                    let records = store.load(after, limit).await?;
                    Ok(Event::Loaded { after, records })
                }),
                Action::Notice(notice) => self.outside.notice(&notice),
                Action::Opened(opened) => self.outside.opened(&opened),
                Action::Receive(message) => self.begin(|store| async move {
                    store.receive(message).await?;
                    Ok(Event::Received)
                }),
                Action::Send(frame) => self.wire.send_frame(frame),
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

    fn beat(&mut self) {
        let payload = self.outside.heartbeat();
        self.handle(Event::Heartbeat { ts: Timestamp::now(), payload });
    }

    pub(crate) fn handle(&mut self, event: Event) {
        self.session.handle(event, self.clock.now());
    }

    /// A deadline has come. What has arrived by now counts as in time: after a machine was asleep or
    /// starved, the peer's signs of life wait in a buffer, and it must not be blamed.
    fn handle_deadline(&mut self, reading: bool) {
        if let Some(turn) = self.wire.turn(reading).now_or_never() {
            self.handle(turn.into());
        }
        self.handle(Event::Tick);
    }

    pub(crate) fn handle_post(&mut self) {
        let Parcel { lanes, withdrawn, wake, close } = self.post.take();
        for (kind, key) in withdrawn {
            self.handle(Event::Withdraw { kind, key });
        }
        for message in lanes.into_messages() {
            self.handle(Event::Send(message));
        }
        if wake {
            self.handle(Event::Wake);
        }
        if let Some(reason) = close {
            self.handle(Event::Close(reason));
        }
    }
}
