//! What was promised and how far it got, one entry per job.
//!
//! ```text
//! Received ──intend (synced)──▶ Intent ──spawned──▶ Started ──ended, with its result row──▶ gone
//! ```
//!
//! What failed and may be tried again has its next try put into the journal by the same change that
//! ends it: a job of its own, with an id of its own, that waits there through any restart.
//!
//! An entry that is past `Received` when the agent starts belongs to a process of an earlier life:
//! it may have run, so it is never started again and ends as interrupted. Of ended jobs the id
//! stays for a long while, so that a repeat of the command is recognised.

use std::time::Duration;

use holdfast_engine::Child;
use holdfast_protocol::{
    JobId, ScheduleId,
    message::{command::Run, job::NextTry},
};
use jiff::Timestamp;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::table::{self, ACTIVE, ENDED, ENDED_NEXT, ENDED_ORDER, ORDER};

/// How many ended jobs are remembered by id.
const ENDED_MAX: u64 = 10_000;

/// A job that has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the queue: first received, first run.
    pub order: u64,
    /// What to do.
    pub run: Run,
    /// The slot it fills, when a schedule asked for it.
    pub slot: Option<Slot>,
    /// How far it got.
    pub stage: Stage,
    /// What was asked of it since.
    pub wanted: Wanted,
    /// What it tries again; absent for a first try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
}

/// A later try of a job that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// The first try.
    pub first: JobId,
    /// Which try it is, from 2.
    pub attempt: u32,
    /// When the try before it had failed.
    pub since: Timestamp,
    /// When it may begin.
    pub not_before: Timestamp,
}

impl Entry {
    /// The job's id.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        self.run.job_id
    }

    /// Which try of its job it is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.again.map_or(1, |again| again.attempt)
    }

    /// Whether it may begin at `now`. A clock that was set back to before the wait has made the
    /// wait meaningless.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.again.is_none_or(|again| now >= again.not_before || now < again.since)
    }

    /// The try that follows this one after `wait`.
    #[must_use]
    pub fn next_try(&self, now: Timestamp, wait: Duration) -> NextTry {
        let first = self.again.map_or(self.run.job_id, |again| again.first);
        let attempt = self.attempt().saturating_add(1);
        let not_before = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        NextTry { job_id: first.of_attempt(attempt), attempt, not_before }
    }

    /// Whether it is a later try of `job`.
    fn tries_again(&self, job: JobId) -> bool {
        let Some(again) = self.again else { return false };
        (1..again.attempt).any(|attempt| again.first.of_attempt(attempt) == job)
    }
}

/// A schedule's slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The slot's nominal time.
    pub scheduled_at: Timestamp,
}

/// How far a job got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Stored; nothing was done for it.
    Received,
    /// Its process may be running: nothing of it is known.
    Intent,
    /// Its process runs, or ran.
    Started(Child),
}

/// What people want of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Let it run.
    Run,
    /// Let it stand still.
    Pause,
    /// End it. There is no way back from here.
    Cancel,
}

/// Where a job stands, for somebody who has only its id.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Known {
    /// Never heard of.
    No,
    /// Not ended.
    Active(Box<Entry>),
    /// Ended.
    Ended,
}

/// Stores a new job at the end of the queue.
pub(super) fn receive(
    txn: &WriteTransaction,
    run: Run,
    slot: Option<Slot>,
) -> Result<Entry, redb::Error> {
    let order = table::take_number(txn, ORDER)?;
    let (stage, wanted) = (Stage::Received, Wanted::Run);
    let entry = Entry { order, run, slot, stage, wanted, again: None };
    put(txn, &entry)?;
    Ok(entry)
}

/// Stores the next try of `failed`, a job that has just ended, at the end of the queue.
pub(super) fn try_again(
    txn: &WriteTransaction,
    failed: Entry,
    since: Timestamp,
    next: NextTry,
) -> Result<(), redb::Error> {
    let NextTry { job_id, attempt, not_before } = next;
    let first = failed.again.map_or(failed.run.job_id, |again| again.first);
    let again = Some(Again { first, attempt, since, not_before });
    let order = table::take_number(txn, ORDER)?;
    let run = Run { job_id, ..failed.run };
    let (stage, wanted) = (Stage::Received, Wanted::Run);
    put(txn, &Entry { order, run, slot: failed.slot, stage, wanted, again })
}

/// The open try of the job whose earlier try `job` was.
pub(super) fn later_try(txn: &WriteTransaction, job: JobId) -> Result<Option<Entry>, redb::Error> {
    Ok(active_in(txn)?.into_iter().find(|entry| entry.tries_again(job)))
}

/// Stores `entry` as it now is.
pub(super) fn put(txn: &WriteTransaction, entry: &Entry) -> Result<(), redb::Error> {
    let row = table::to_json(entry);
    txn.open_table(ACTIVE)?.insert(key(entry.job_id()), row.as_str())?;
    Ok(())
}

/// Where the job stands.
pub(super) fn known(txn: &WriteTransaction, job: JobId) -> Result<Known, redb::Error> {
    if let Some(entry) = active_one(txn, job)? {
        return Ok(Known::Active(Box::new(entry)));
    }
    let ended = txn.open_table(ENDED)?.get(key(job))?.is_some();
    Ok(if ended { Known::Ended } else { Known::No })
}

/// The job's entry, if it has not ended.
pub(super) fn active_one(txn: &WriteTransaction, job: JobId) -> Result<Option<Entry>, redb::Error> {
    let active = txn.open_table(ACTIVE)?;
    let row = active.get(key(job))?;
    row.map(|row| table::from_json(row.value())).transpose()
}

/// Takes a job out of the journal; only its id stays. `None` when it had ended before.
pub(super) fn end(txn: &WriteTransaction, job: JobId) -> Result<Option<Entry>, redb::Error> {
    let Some(entry) = active_one(txn, job)? else { return Ok(None) };
    txn.open_table(ACTIVE)?.remove(key(job))?;
    let number = table::take_number(txn, ENDED_NEXT)?;
    txn.open_table(ENDED)?.insert(key(job), number)?;
    let mut order = txn.open_table(ENDED_ORDER)?;
    order.insert(number, key(job))?;
    if let Some(old) = number.checked_sub(ENDED_MAX)
        && let Some(job) = order.remove(old)?
    {
        txn.open_table(ENDED)?.remove(job.value())?;
    }
    Ok(Some(entry))
}

/// How many jobs have not ended.
pub(super) fn count(txn: &WriteTransaction) -> Result<u64, redb::Error> {
    Ok(ReadableTableMetadata::len(&txn.open_table(ACTIVE)?)?)
}

/// Every job that has not ended, first received first.
pub(super) fn active(txn: &ReadTransaction) -> Result<Vec<Entry>, redb::Error> {
    collect(&txn.open_table(ACTIVE)?)
}

/// As [`active`], inside a change.
pub(super) fn active_in(txn: &WriteTransaction) -> Result<Vec<Entry>, redb::Error> {
    collect(&txn.open_table(ACTIVE)?)
}

/// Forgets every job, ended or not.
pub(super) fn clear(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(ACTIVE)?.retain(|_, _| false)?;
    txn.open_table(ENDED)?.retain(|_, _| false)?;
    txn.open_table(ENDED_ORDER)?.retain(|_, _| false)?;
    Ok(())
}

fn collect(table: &impl ReadableTable<u128, &'static str>) -> Result<Vec<Entry>, redb::Error> {
    let mut entries: Vec<Entry> = Vec::new();
    for row in table.iter()? {
        entries.push(table::from_json(row?.1.value())?);
    }
    entries.sort_by_key(|entry| entry.order);
    Ok(entries)
}

fn key(job: JobId) -> u128 {
    job.as_uuid().as_u128()
}
