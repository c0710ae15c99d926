//! Fires the schedules of hosts whose agents have none of their own.
//!
//! ```text
//! the watch: due, and no run of it ──► connected? its time? ──► a job, in one transaction
//! ```
//!
//! Holdfast's own agents fire by themselves, also while the server is away. Those of some other
//! systems wait for their server's word: without it, a schedule that is set for them would never
//! run. What became of each slot is noted by the watch, as for all hosts; of the slots that went
//! by while such a host or this server was away, the latest is made up for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{
    hub::Hub,
    live::Live,
    maintenance::is_open,
    store::{Error, Store, UnfiredSlot},
    verdict::LATE,
    watch::REVISED_WITHIN,
};

#[cfg(test)]
mod tests;

/// Orders the runs that agents leave to their server.
pub(crate) struct Firing {
    store: Store,
    live: Live,
    hub: Hub,
}

/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);
/// How long an agent is given to begin by itself: some follow their schedule after all when it
/// reached them while their socket was down.
const HEAD_START: SignedDuration = SignedDuration::from_mins(1);

impl Firing {
    pub(crate) fn new(store: Store, live: Live, hub: Hub) -> Self {
        Self { store, live, hub }
    }

    /// Looks again and again until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            if let Err(error) = self.look(self.store.now()).await {
                tracing::error!(%error, "schedules that are due were not fired");
            }
        }
    }

    /// Fires what is due by `now`.
    ///
    /// # Errors
    /// [`Error::Database`]; the next look does what this one left.
    pub(crate) async fn look(&self, now: Timestamp) -> Result<(), Error> {
        let since = now.saturating_sub(REVISED_WITHIN).unwrap_or(Timestamp::MIN);
        let until = now.saturating_sub(HEAD_START).unwrap_or(Timestamp::MIN);
        for slot in self.store.unfired_slots(since, until).await? {
            // What waits for a host that is away would start at a time that nobody chose.
            if is_its_time(&slot, now) && self.live.backlog(slot.host_id).is_some() {
                self.fire(&slot).await;
            }
        }
        Ok(())
    }

    /// One host's trouble is no other's: what could not be ordered is tried again.
    async fn fire(&self, slot: &UnfiredSlot) {
        let (host, group) = (slot.host_id, slot.group.as_str());
        match Box::pin(self.store.fire_slot(slot)).await {
            Ok(Some(ordered)) => {
                self.hub.deliver(host, &[ordered]).await;
                tracing::info!(%host, group, due_at = %slot.due_at, "a schedule is fired");
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%host, group, %error, "a schedule was not fired"),
        }
    }
}

fn is_its_time(slot: &UnfiredSlot, now: Timestamp) -> bool {
    let delay = slot.timing.delay(slot.host_id, slot.schedule_id);
    let Ok(start) = slot.due_at.checked_add(delay) else { return false };
    let open = |at| is_open(slot.timing.window, &slot.time_zone, at);
    // Waiting for the window to open is on time.
    let on_time = now.duration_since(start) <= LATE || !open(start);
    now >= start && open(now) && (on_time || slot.timing.catch_up)
}
