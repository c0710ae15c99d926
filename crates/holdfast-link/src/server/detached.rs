//! A mailbox without a session of this crate behind it: for agents that do not speak the link.

use holdfast_protocol::SessionId;

use super::{Mailbox, OpenGuard};
use crate::{session::CloseReason, store::Unsequenced};

/// What the hub has put into a [`Mailbox`], for whoever speaks to the agent instead of a
/// [`Session`](crate::Session). Dropped, the mailbox is closed.
///
/// Questions are refused: [`Mailbox::request`] says that nobody is connected.
pub struct Detached {
    open: OpenGuard,
}

/// Everything handed over since the last look.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Records were appended to the host's store.
    pub wake: bool,
    /// Messages without number; of a state only the newest.
    pub messages: Vec<Unsequenced>,
    /// The session is to end, for this reason.
    pub close: Option<CloseReason>,
}

impl Mailbox {
    /// A mailbox and what takes from it.
    #[must_use]
    pub fn detached(session_id: SessionId, epoch: u64) -> (Self, Detached) {
        let mailbox = Self::new(session_id, epoch);
        (mailbox.clone(), Detached { open: OpenGuard(mailbox) })
    }
}

impl Detached {
    /// Waits until something has been handed over, and takes it.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken before the future is ready.
    pub async fn next(&self) -> Delivery {
        let post = &self.open.0.inner.post;
        post.arrived().await;
        let parcel = post.take();
        Delivery {
            wake: parcel.wake,
            messages: parcel.lanes.into_messages().collect(),
            close: parcel.close,
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::{Class, Payload};
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn what_is_put_in_comes_out_once_and_the_newest_state_wins() {
        let (mailbox, detached) = Mailbox::detached(SessionId::from_uuid(Uuid::nil()), 7);
        let state = |number: u64| Unsequenced {
            class: Class::State,
            key: String::new(),
            ts: Timestamp::UNIX_EPOCH,
            kind: "config.update".to_owned(),
            payload: Payload::of(&number),
        };
        mailbox.wake();
        mailbox.send(state(1));
        mailbox.send(state(2));
        let delivery = detached.next().await;
        assert!(delivery.wake && delivery.close.is_none());
        assert_eq!(delivery.messages, [state(2)]);
        mailbox.close(CloseReason::Fenced);
        assert!(matches!(detached.next().await.close, Some(CloseReason::Fenced)));
        assert!(mailbox.is_open());
        drop(detached);
        assert!(!mailbox.is_open());
    }
}
