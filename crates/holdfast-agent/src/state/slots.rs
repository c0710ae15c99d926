//! How far each schedule has fired, and the jobs that a slot makes.

use std::collections::BTreeMap;

use holdfast_protocol::{
    Message, ScheduleId,
    message::command::Run,
    message::schedule::{Fire, Passed, Schedule, Skipped},
};
use jiff::Timestamp;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{
    journal::{self, Entry, Known, Slot},
    outbox,
    table::{self, SLOTS},
};

/// Where one schedule stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The expression the mark belongs to. An edited schedule starts afresh: times that only the
    /// new expression names lie in nobody's past.
    pub cron_expr: String,
    /// The zone the expression is read in; as above.
    pub time_zone: String,
    /// Every slot up to here has been dealt with.
    pub fired_through: Timestamp,
}

impl Mark {
    /// A mark for `schedule` at `fired_through`.
    #[must_use]
    pub fn new(schedule: &Schedule, fired_through: Timestamp) -> Self {
        Self {
            cron_expr: schedule.cron_expr.clone(),
            time_zone: schedule.time_zone.clone(),
            fired_through,
        }
    }

    /// Whether the mark was made for `schedule` as it now is.
    #[must_use]
    pub fn belongs_to(&self, schedule: &Schedule) -> bool {
        self.cron_expr == schedule.cron_expr && self.time_zone == schedule.time_zone
    }
}

/// One slot with its jobs, to be fired as a whole.
#[derive(Debug, Clone)]
pub struct Firing {
    /// The slot.
    pub slot: Slot,
    /// The mark that says the slot is dealt with.
    pub mark: Mark,
    /// The jobs to run, one per source group.
    pub runs: Vec<Run>,
    /// How many slots before this one went by without jobs of their own.
    pub missed: u32,
    /// The newest of them, and why.
    pub passed: Vec<Passed>,
    /// Why the slot is left out, if it is; then there are no jobs.
    pub skipped: Option<Skipped>,
}

/// Journals the jobs, moves the mark and reports the slot, also one that is left out. Returns the
/// number of new jobs.
///
/// A job that is known already (the same slot, after the clock was set back) is not run again. Nor
/// does a slot start a group whose job of an earlier slot has not ended: the two would do the same
/// work, and a slow repository would gather an endless queue.
pub(super) fn fire(txn: &WriteTransaction, firing: Firing) -> Result<usize, redb::Error> {
    put(txn, firing.slot.schedule_id, &firing.mark)?;
    let busy = journal::active_in(txn)?;
    let (mut job_ids, mut overlapping) = (Vec::new(), false);
    for run in firing.runs {
        // The slot's own job, met again after the clock was set back, is no other work.
        let is_other = |entry: &&Entry| entry.run.job_id != run.job_id;
        let overlaps = busy
            .iter()
            .filter(is_other)
            .any(|entry| is_same_work(entry, firing.slot.schedule_id, &run));
        overlapping |= overlaps;
        if overlaps {
            tracing::warn!(group = run.tag, "a slot was left out: its last job has not ended");
        } else if journal::known(txn, run.job_id)? == Known::No {
            job_ids.push(run.job_id);
            journal::receive(txn, run, Some(firing.slot))?;
        }
    }
    let count = job_ids.len();
    let skipped = firing.skipped.or((overlapping && count == 0).then_some(Skipped::StillRunning));
    if count > 0 || skipped.is_some() {
        let Slot { schedule_id, scheduled_at } = firing.slot;
        outbox::append(
            txn,
            &Message::ScheduleFire(Fire {
                schedule_id,
                scheduled_at,
                job_ids,
                missed: firing.missed,
                passed: firing.passed,
                skipped,
            }),
        )?;
    }
    Ok(count)
}

fn is_same_work(entry: &Entry, schedule: ScheduleId, run: &Run) -> bool {
    entry.slot.is_some_and(|slot| slot.schedule_id == schedule) && entry.run.tag == run.tag
}

/// Replaces all marks: those of schedules that are gone go too.
pub(super) fn replace(
    txn: &WriteTransaction,
    marks: &BTreeMap<ScheduleId, Mark>,
) -> Result<(), redb::Error> {
    clear(txn)?;
    for (schedule, mark) in marks {
        put(txn, *schedule, mark)?;
    }
    Ok(())
}

/// Every mark.
pub(super) fn load(txn: &ReadTransaction) -> Result<BTreeMap<ScheduleId, Mark>, redb::Error> {
    let mut marks = BTreeMap::new();
    for row in txn.open_table(SLOTS)?.iter()? {
        let (id, mark) = row?;
        let id = ScheduleId::from_uuid(uuid::Uuid::from_u128(id.value()));
        marks.insert(id, table::from_json(mark.value())?);
    }
    Ok(marks)
}

/// Forgets every mark.
pub(super) fn clear(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(SLOTS)?.retain(|_, _| false)?;
    Ok(())
}

fn put(txn: &WriteTransaction, id: ScheduleId, mark: &Mark) -> Result<(), redb::Error> {
    let row = table::to_json(mark);
    txn.open_table(SLOTS)?.insert(id.as_uuid().as_u128(), row.as_str())?;
    Ok(())
}
