//! Turns silence into facts, on the server's own clock.
//!
//! ```text
//! schedule history ── what was due ──► evaluations (pending)
//! jobs, links, the agents' words, now ── slot::decide ──► fired, caught up, skipped, …, or missed
//! ```
//!
//! The agents fire the schedules and the server only hears of it. So it works out for itself what
//! was due, and what nobody told of by the time it should have been is missed: a dead machine
//! cannot report its own death. What an agent tells later sets the record right.

mod slot;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{
    live::Live,
    metrics,
    store::{Decision, DueSlots, Error, OpenSlot, ScheduleForm, Store},
    view::Calendar,
};

pub(crate) use slot::{Blocker, SlotJob};
use slot::{LinkFacts, SlotFacts};
pub use slot::{Outcome, Reason};

/// Notes what was due and what became of it.
pub struct Watch {
    store: Store,
    live: Live,
    /// Since when agents could tell this server anything.
    since: Timestamp,
}

/// How often the watch looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);
/// How many slots of one schedule one look notes. After a long pause the next looks do the rest.
const SLOTS_PER_LOOK: usize = 500;
/// What is older than this is no longer anybody's question.
const EVALUATION_LIFE: SignedDuration = SignedDuration::from_hours(40 * 24);
/// A missed slot may be set right for this long.
pub(crate) const REVISED_WITHIN: SignedDuration = SignedDuration::from_hours(8 * 24);

impl Watch {
    /// A watch for a server that has been reachable since `since`.
    #[must_use]
    pub fn new(store: Store, live: Live, since: Timestamp) -> Self {
        Self { store, live, since }
    }

    /// Looks again and again until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            if let Err(error) = self.look(self.store.now()).await {
                tracing::error!(%error, "what was due could not be noted");
            }
        }
    }

    /// Notes and decides everything up to `now`.
    ///
    /// # Errors
    /// [`Error::Database`]; the next look does what this one left.
    pub async fn look(&self, now: Timestamp) -> Result<(), Error> {
        self.note_due(now).await?;
        let since = now.saturating_sub(REVISED_WITHIN).unwrap_or(Timestamp::MIN);
        let open = self.store.open_slots(since).await?;
        let decisions: Vec<Decision> =
            open.iter().filter_map(|slot| self.decide(slot, now)).collect();
        let missed = self.store.settle_slots(&decisions, now).await?;
        metrics::runs_missed(missed);
        let before = now.saturating_sub(EVALUATION_LIFE).unwrap_or(Timestamp::MIN);
        self.store.prune_evaluations(before).await
    }

    /// Writes down the slots that have come due since the last look.
    async fn note_due(&self, now: Timestamp) -> Result<(), Error> {
        let forms = self.store.schedule_forms(now).await?;
        let due: Vec<DueSlots> = forms.into_iter().map(|form| due_slots(form, now)).collect();
        self.store.note_slots(&due).await
    }

    fn decide(&self, slot: &OpenSlot, now: Timestamp) -> Option<Decision> {
        let backlog = self.live.backlog(slot.host_id);
        let facts = SlotFacts {
            expected_by: slot.expected_by,
            now,
            server_since: self.since,
            enabled: slot.enabled,
            own: slot.own.clone(),
            told: slot.told,
            later: slot.later,
            blocker: slot.blocker,
            link: LinkFacts {
                enrolled: slot.enrolled,
                connected: backlog.is_some(),
                backlog: backlog.unwrap_or(0),
                in_force: slot.in_force,
            },
        };
        let decided = slot::decide(&facts)?;
        // How the host stands now is no reason for what was missed before; its word is.
        let explained = slot.told.is_some() && slot.reason != decided.reason;
        let changed = explained || slot.outcome != decided.outcome || slot.job_id != decided.job;
        changed.then(|| Decision {
            is_first: slot.outcome == Outcome::Pending,
            schedule_id: slot.schedule_id,
            due_at: slot.due_at,
            host_id: slot.host_id,
            group: slot.group.clone(),
            outcome: decided.outcome,
            reason: decided.reason,
            job: decided.job,
        })
    }
}

fn due_slots(form: ScheduleForm, now: Timestamp) -> DueSlots {
    let until = form.valid_until.map_or(now, |until| until.min(now));
    let calendar = Calendar::parse(&form.cron, &form.time_zone, form.noted_through);
    let slots = calendar.as_ref().map(|calendar| due(calendar, form.noted_through, until));
    let slots = slots.unwrap_or_default();
    let through = match slots.last() {
        Some(last) if slots.len() == SLOTS_PER_LOOK => *last,
        _ => until,
    };
    let expected_by = |slot: Timestamp| match &calendar {
        Ok(calendar) => (slot, calendar.expected_by(slot, &form.timing)),
        Err(_) => (slot, slot),
    };
    let slots = slots.into_iter().map(expected_by).collect();
    // A form that has ended owes nothing after its end.
    let ended = form.valid_until.is_some_and(|end| end <= through);
    let next = calendar.ok().and_then(|calendar| calendar.next_after(through));
    DueSlots { form, slots, through, next_at: next.filter(|_| !ended) }
}

/// The slots after `after` and not after `until`, the first [`SLOTS_PER_LOOK`] of them.
fn due(calendar: &Calendar, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let next = |time| calendar.next_after(time).filter(|slot| *slot <= until);
    std::iter::successors(next(after), |slot| next(*slot)).take(SLOTS_PER_LOOK).collect()
}
