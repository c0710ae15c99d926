//! What happens to a link, told to everybody who listens, whole.
//!
//! Every subscriber has a queue of its own, so a slow one costs nobody else anything. A queue holds
//! 16,384 events: at the rate at which a link redials, a server that is away fills it in more than
//! a day. Whoever does not read for that long is told so, by the end of the stream: what a
//! subscriber has seen never has a hole.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::Stream;
use tokio::sync::mpsc;

use crate::status::LinkEvent;

/// Events that wait for one subscriber.
const WAITING_MAX: usize = 16 * 1024;

/// The events of one link from the moment of [`Client::events`](crate::Client::events) on.
#[derive(Debug)]
pub struct Events {
    incoming: mpsc::Receiver<LinkEvent>,
    overrun: Arc<AtomicBool>,
}

/// No more events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventsEnded {
    /// The link is gone.
    #[error("the link is gone")]
    LinkGone,
    /// This subscriber did not read for too long.
    #[error("too many events were waiting; subscribe again and look at the status")]
    TooFarBehind,
}

impl Events {
    /// The next event.
    ///
    /// # Errors
    /// When no more come.
    ///
    /// # Cancel safety
    /// Safe: no event is lost.
    pub async fn recv(&mut self) -> Result<LinkEvent, EventsEnded> {
        let event = self.incoming.recv().await;
        event.ok_or_else(|| self.end())
    }

    /// The next event, if it has happened already.
    pub fn try_recv(&mut self) -> Option<LinkEvent> {
        self.incoming.try_recv().ok()
    }

    fn end(&self) -> EventsEnded {
        if self.overrun.load(Ordering::Acquire) {
            EventsEnded::TooFarBehind
        } else {
            EventsEnded::LinkGone
        }
    }
}

impl Stream for Events {
    type Item = LinkEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<LinkEvent>> {
        self.incoming.poll_recv(cx)
    }
}

/// Everybody who listens.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    listeners: Mutex<Vec<Listener>>,
}

#[derive(Debug)]
struct Listener {
    outgoing: mpsc::Sender<LinkEvent>,
    overrun: Arc<AtomicBool>,
}

impl Announcer {
    pub(crate) fn subscribe(&self) -> Events {
        let (outgoing, incoming) = mpsc::channel(WAITING_MAX);
        let overrun = Arc::new(AtomicBool::new(false));
        self.listeners().push(Listener { outgoing, overrun: Arc::clone(&overrun) });
        Events { incoming, overrun }
    }

    /// Tells everybody; those who have gone or are too far behind are forgotten.
    pub(crate) fn tell(&self, event: &LinkEvent) {
        self.listeners().retain(|listener| match listener.outgoing.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                listener.overrun.store(true, Ordering::Release);
                false
            }
        });
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Vec<Listener>> {
        // A list of whole values has no half-made state.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    fn numbered(number: usize) -> LinkEvent {
        LinkEvent::Lost { reason: number.to_string() }
    }

    #[test]
    fn a_subscriber_gets_everything_or_an_end_and_never_a_hole() {
        let announcer = Announcer::default();
        let (mut patient, mut slow) = (announcer.subscribe(), announcer.subscribe());
        for number in 0..WAITING_MAX + 100 {
            announcer.tell(&numbered(number));
            assert_eq!(patient.try_recv(), Some(numbered(number)));
        }
        for number in 0..WAITING_MAX {
            assert_eq!(slow.try_recv(), Some(numbered(number)));
        }
        assert_eq!(slow.recv().now_or_never(), Some(Err(EventsEnded::TooFarBehind)));
        assert_eq!(announcer.listeners().len(), 1);
        drop(announcer);
        assert_eq!(patient.recv().now_or_never(), Some(Err(EventsEnded::LinkGone)));
    }

    #[test]
    fn whoever_has_gone_is_forgotten_and_the_rest_is_a_stream() {
        let announcer = Announcer::default();
        drop(announcer.subscribe());
        let stream = announcer.subscribe();
        announcer.tell(&numbered(1));
        announcer.tell(&numbered(2));
        assert_eq!(announcer.listeners().len(), 1);
        drop(announcer);
        let all: Vec<_> = stream.collect().now_or_never().unwrap();
        assert_eq!(all, [numbered(1), numbered(2)]);
    }
}
