//! Has repositories kept in order: forget, prune and check, each at its own cadence.
//!
//! ```text
//! plans, now ──► slots that are due (one of a kind, however many went by) ──► pending
//! pending ──► its window? its turn? a host that may and is online? ──► a job, in one transaction
//! ```
//!
//! Unlike backups these are fired here: they are the repository's and no host's, and only who sees
//! the whole fleet can keep two of them apart. When the server was away it makes up for what was
//! due, once. Of one repository, one operation at a time is ordered; the lease of
//! `store/job/lease.rs` keeps it from all other exclusive ones.

use std::{collections::BTreeSet, time::Duration};

use holdfast_protocol::{HostId, RepositoryId, message::schedule::Window};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tokio_util::sync::CancellationToken;

use crate::{
    hub::Hub,
    live::Live,
    store::{DuePlan, Error, Placed, Store, WaitingSlot},
    view::{Calendar, MaintenanceReason},
};

#[cfg(test)]
mod tests;

/// Orders maintenance when it is due.
pub(crate) struct Maintenance {
    store: Store,
    live: Live,
    hub: Hub,
}

/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);
/// How long it is remembered what became of a slot.
const SLOT_LIFE: SignedDuration = SignedDuration::from_hours(400 * 24);
/// The most slots that are passed over after a long pause; a minute's cadence over two weeks.
const SLOTS_MAX: usize = 20_000;

impl Maintenance {
    pub(crate) fn new(store: Store, live: Live, hub: Hub) -> Self {
        Self { store, live, hub }
    }

    /// Looks again and again until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut thinned_on = None;
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            let now = self.store.now();
            if let Err(error) = Box::pin(self.look(now)).await {
                tracing::error!(%error, "maintenance that is due was not ordered");
            }
            let today = now.as_second() / 86_400;
            if thinned_on.replace(today) != Some(today) {
                self.thin_out(now).await;
            }
        }
    }

    /// Notes what has come due by `now`, and orders what can be ordered.
    ///
    /// # Errors
    /// [`Error::Database`]; the next look does what this one left.
    pub(crate) async fn look(&self, now: Timestamp) -> Result<(), Error> {
        for plan in self.store.due_maintenance(now).await? {
            let (due_at, next_at) = slots(&plan, now);
            self.store.note_maintenance(&plan, due_at, next_at, now).await?;
        }
        let mut busy = BTreeSet::new();
        for slot in self.store.waiting_maintenance().await? {
            match self.hindrance(&slot, &mut busy, now).await? {
                Err(reason) => self.store.hold_maintenance(&slot, reason).await?,
                Ok(host) => self.order(&slot, host, &mut busy).await,
            }
        }
        Ok(())
    }

    /// The host that may do it now, or why it waits. `busy` holds the repositories on which
    /// something was ordered or is to come first.
    async fn hindrance(
        &self,
        slot: &WaitingSlot,
        busy: &mut BTreeSet<RepositoryId>,
        now: Timestamp,
    ) -> Result<Result<HostId, MaintenanceReason>, Error> {
        if !is_open(slot.window, &slot.time_zone, now) {
            return Ok(Err(MaintenanceReason::OutsideWindow));
        }
        let repository = slot.repository_id;
        if busy.contains(&repository) || self.store.is_maintained(repository).await? {
            busy.insert(repository);
            return Ok(Err(MaintenanceReason::Busy));
        }
        let hosts = self.store.keepers(repository, slot.operation).await?;
        let online = hosts.into_iter().find(|host| self.live.backlog(*host).is_some());
        Ok(online.ok_or(MaintenanceReason::NoHostOnline))
    }

    /// One repository's trouble is no other's: what could not be ordered is tried again.
    async fn order(&self, slot: &WaitingSlot, host: HostId, busy: &mut BTreeSet<RepositoryId>) {
        let operation = slot.operation.as_str();
        match Box::pin(self.store.place_maintenance(slot, host)).await {
            Ok(Placed::Ordered(ordered)) => {
                busy.insert(slot.repository_id);
                self.hub.deliver(host, &ordered).await;
                tracing::info!(%host, operation, due_at = %slot.due_at, "maintenance is ordered");
            }
            Ok(Placed::Nothing | Placed::Gone) => {}
            Err(error) => {
                tracing::error!(%host, operation, %error, "maintenance was not ordered");
            }
        }
    }

    async fn thin_out(&self, now: Timestamp) {
        let before = now.saturating_sub(SLOT_LIFE).unwrap_or(Timestamp::MIN);
        let slots = self.store.prune_maintenance(before).await;
        for error in [slots.err(), self.store.prune_sizes(now).await.err()].into_iter().flatten() {
            tracing::warn!(%error, "what is known about repositories was not thinned out");
        }
    }
}

/// The newest slot that is due, and the next one.
fn slots(plan: &DuePlan, now: Timestamp) -> (Timestamp, Option<Timestamp>) {
    let Ok(calendar) = Calendar::parse(&plan.cron, &plan.time_zone, now) else {
        return (plan.next_at, None);
    };
    let next = |slot: &Timestamp| calendar.next_after(*slot).filter(|next| *next <= now);
    let due = std::iter::successors(Some(plan.next_at), next).take(SLOTS_MAX).last();
    (due.unwrap_or(plan.next_at), calendar.next_after(now))
}

/// Whether a window, by the clock of `zone`, is open at `now`.
pub(crate) fn is_open(window: Option<Window>, zone: &str, now: Timestamp) -> bool {
    let Some(window) = window else { return true };
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let time = now.to_zoned(zone);
    let (hour, minute) = (time.hour().unsigned_abs(), time.minute().unsigned_abs());
    window.contains(u16::from(hour) * 60 + u16::from(minute))
}
