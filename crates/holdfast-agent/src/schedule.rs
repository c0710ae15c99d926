//! The scheduler. The agent is the only one: slots fire whether or not the server can be reached,
//! and since one writer owns them, none fires twice.

pub mod cron;
pub mod slots;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdfast_link::StoreError;
use holdfast_protocol::{HostId, ScheduleId, message::schedule::Schedule};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{
    error::chain,
    state::{Mark, Settings, State},
};
use cron::Rule;

/// How long the scheduler sleeps at most.
///
/// Sleeping is measured by the monotonic clock and slots by the wall clock. Looking at the wall
/// clock this often notices a machine that slept and a clock that was set.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Fires slots until `stop`.
///
/// # Errors
/// When the state cannot be read or written.
pub async fn run(
    state: Arc<State>,
    host: HostId,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let mut settings = state.settings();
    let mut marks = state.marks().await?;
    loop {
        let current = Arc::clone(&settings.borrow_and_update());
        let pause = turn(&state, host, &current, &mut marks, Timestamp::now()).await?;
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            // The sender lives in the state, so this never fails.
            _ = settings.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Fires what is due at `now` and says how long to sleep.
async fn turn(
    state: &State,
    host: HostId,
    settings: &Settings,
    marks: &mut BTreeMap<ScheduleId, Mark>,
    now: Timestamp,
) -> Result<Duration, StoreError> {
    // Without a configuration nobody knows what a source group is: a slot that fires now would be
    // empty.
    let (Some(set), Some(_)) = (&settings.schedules, &settings.config) else {
        return Ok(LOOK_EVERY);
    };
    let settled = slots::settle(set, marks, now);
    if settled != *marks {
        state.replace_marks(settled.clone()).await?;
        *marks = settled;
    }
    let mut pause = LOOK_EVERY;
    for schedule in set.schedules.iter().filter(|schedule| schedule.enabled) {
        let Some(rule) = rule_of(schedule) else { continue };
        let Some(mark) = marks.get_mut(&schedule.id) else { continue };
        let by = schedule.timing.delay(host, schedule.id);
        let as_of = now.saturating_sub(by).unwrap_or(Timestamp::MIN);
        pause = pause.min(until_next(&rule, as_of));
        if !slots::is_open(schedule, &rule, now) {
            continue;
        }
        if let Some(slot) = slots::latest_due(&rule, mark.fired_through, as_of) {
            let due_at = slot.saturating_add(by).unwrap_or(Timestamp::MAX);
            let mut firing = slots::firing(host, schedule, slot, settings);
            (firing.missed, firing.passed) =
                slots::passed_between(schedule, &rule, mark.fired_through, (slot, by));
            firing.skipped = slots::left_out(schedule, &rule, due_at, now);
            if firing.skipped.is_some() {
                firing.runs.clear();
            }
            *mark = firing.mark.clone();
            let (missed, skipped) = (firing.missed, firing.skipped);
            let jobs = state.fire(firing).await?;
            tracing::info!(
                schedule_id = %schedule.id, scheduled_at = %slot, jobs, missed, ?skipped,
                "slot fired",
            );
        }
    }
    Ok(pause)
}

fn rule_of(schedule: &Schedule) -> Option<Rule> {
    Rule::of(schedule)
        .inspect_err(|error| {
            tracing::warn!(schedule_id = %schedule.id, error = %chain(error), "schedule ignored");
        })
        .ok()
}

fn until_next(rule: &Rule, now: Timestamp) -> Duration {
    let wait = rule.next_after(now).map_or(SignedDuration::MAX, |next| next.duration_since(now));
    Duration::try_from(wait).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests;
