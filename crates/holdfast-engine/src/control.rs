//! What somebody wants of a running job.

use std::sync::Arc;

use tokio::sync::watch;

/// Cancels, pauses and resumes the job it was given to. Clones steer the same job.
///
/// Calls take effect at once, never block and may be repeated. A cancel is final; a pause that
/// comes while no child runs stops the next one as soon as it starts.
#[derive(Debug, Clone, Default)]
pub struct Control {
    wish: Arc<watch::Sender<Wish>>,
}

impl Control {
    /// A control that wants nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the job: restic may clean up first, and is killed when it takes too long.
    pub fn cancel(&self) {
        self.wish.send_modify(|wish| wish.cancelled = true);
    }

    /// Stops the job's process group where it stands.
    pub fn pause(&self) {
        self.wish.send_modify(|wish| wish.paused = true);
    }

    /// Lets a paused job go on.
    pub fn resume(&self) {
        self.wish.send_modify(|wish| wish.paused = false);
    }

    /// Whether [`Control::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.wish.borrow().cancelled
    }

    /// Resolves when [`Control::cancel`] was called.
    ///
    /// # Cancel safety
    /// Safe: it only looks.
    pub async fn cancelled(&self) {
        // The sender lives in `self`, so waiting cannot fail before the wish comes true.
        let _ = self.wish.subscribe().wait_for(|wish| wish.cancelled).await;
    }

    /// Resolves when nobody wants the job to be paused, or it was cancelled.
    ///
    /// # Cancel safety
    /// Safe: it only looks.
    pub async fn resumed(&self) {
        let _ = self.wish.subscribe().wait_for(|wish| wish.cancelled || !wish.paused).await;
    }

    /// Sees every later change, and the present wish as the first of them.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Wish> {
        let mut wishes = self.wish.subscribe();
        wishes.mark_changed();
        wishes
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) cancelled: bool,
    pub(crate) paused: bool,
}
