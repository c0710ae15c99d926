//! What was promised and how far it got, one entry per job.
//!
//! ```text
//! Received ──intend (synced)──▶ Intent ──spawned──▶ Started ──ended, with its result row──▶ gone
//! ```
//!
//! An entry that is past `Received` when the agent starts belongs to a process of an earlier life:
//! it may have run, so it is never started again and ends as interrupted. Of ended jobs the id
//! stays for a long while, so that a repeat of the command is recognised.

use holdfast_engine::Child;
use holdfast_protocol::{JobId, ScheduleId, message::command::Run};
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
}

impl Entry {
    /// The job's id.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        self.run.job_id
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
    let entry = Entry { order, run, slot, stage: Stage::Received, wanted: Wanted::Run };
    put(txn, &entry)?;
    Ok(entry)
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
