//! Our records for the server: numbered and synced before they are sent, kept until acknowledged.
//!
//! ```text
//! oldest ── kept though acknowledged ── ACKED ── waiting ── NEXT
//! ```
//!
//! The newest acknowledged records stay for a while: a server that was restored from yesterday's
//! copy asks for what came after it, and gets it as if it had never been acknowledged.

use holdfast_link::{Positions, Record};
use holdfast_protocol::{Class, Message, Seq};
use jiff::Timestamp;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::table::{self, ACKED, KEPT_SIZE, NEXT, NUMBERS, OUTBOX, RECEIVED, Row};

/// Appends `message` as the next record and returns its position.
pub(super) fn append(txn: &WriteTransaction, message: &Message) -> Result<Seq, redb::Error> {
    debug_assert_eq!(message.class(), Class::Record, "only records have a place in the outbox");
    let seq = table::take_number(txn, NEXT)?;
    let (kind, payload) = (message.kind().to_owned(), message.encode());
    let row = Row { ts: Timestamp::now(), kind, payload };
    txn.open_table(OUTBOX)?.insert(seq, table::to_json(&row).as_str())?;
    Ok(seq)
}

/// Acknowledged records that are kept: some days of a host's reports.
const KEPT_MAX: u64 = 512;
/// How much room they may take, in bytes. It is given up first on a small disk, so it is little.
const KEPT_SIZE_MAX: u64 = 256 * 1024;

/// Where both directions stand.
/// Up to where the server has everything: records up to there may still be kept for a server that
/// comes back from an older copy.
pub(super) fn delivered(txn: &ReadTransaction) -> Result<Seq, redb::Error> {
    Ok(txn.open_table(NUMBERS)?.get(ACKED)?.map_or(0, |guard| guard.value()))
}

pub(super) fn positions(txn: &ReadTransaction) -> Result<Positions, redb::Error> {
    let numbers = txn.open_table(NUMBERS)?;
    let next = numbers.get(NEXT)?.map_or(1, |guard| guard.value());
    let received = numbers.get(RECEIVED)?.map_or(0, |guard| guard.value());
    let oldest = txn.open_table(OUTBOX)?.first()?.map_or(next, |(seq, _)| seq.value());
    Ok(Positions { received, oldest, next })
}

/// How many records wait, for those who only look.
pub(super) fn waiting(txn: &ReadTransaction) -> Result<u64, redb::Error> {
    let Positions { oldest, next, .. } = positions(txn)?;
    let acked = txn.open_table(NUMBERS)?.get(ACKED)?.map(|guard| guard.value());
    Ok(next - 1 - acked.unwrap_or(oldest - 1))
}

/// Records after `after`, in order, at most `limit`.
pub(super) fn load(
    txn: &ReadTransaction,
    after: Seq,
    limit: usize,
) -> Result<Vec<Record>, redb::Error> {
    let outbox = txn.open_table(OUTBOX)?;
    let mut records = Vec::new();
    for entry in outbox.range(after.saturating_add(1)..)?.take(limit) {
        let (seq, row) = entry?;
        let Row { ts, kind, payload } = table::from_json(row.value())?;
        records.push(Record { seq: seq.value(), ts, kind, payload });
    }
    Ok(records)
}

/// Lets go of every record up to and including `through`: none of them waits any more, and the
/// oldest are forgotten.
pub(super) fn forget(txn: &WriteTransaction, through: Seq) -> Result<(), redb::Error> {
    let acked = acked(txn)?;
    if through <= acked {
        return Ok(());
    }
    let mut outbox = txn.open_table(OUTBOX)?;
    let mut size = table::number(txn, KEPT_SIZE, 0)?;
    for entry in outbox.range(acked + 1..=through)? {
        size += entry?.1.value().len() as u64;
    }
    loop {
        let oldest = outbox.first()?.map(|(seq, _)| seq.value());
        let kept = |seq: &Seq| through - seq < KEPT_MAX && size <= KEPT_SIZE_MAX;
        if oldest.filter(|seq| *seq <= through).is_none_or(|seq| kept(&seq)) {
            break;
        }
        let row = outbox.pop_first()?;
        size = size.saturating_sub(row.map_or(0, |(_, row)| row.value().len() as u64));
    }
    drop(outbox);
    table::set_number(txn, KEPT_SIZE, size)?;
    table::set_number(txn, ACKED, through)
}

/// The newest position that the server has acknowledged.
fn acked(txn: &WriteTransaction) -> Result<Seq, redb::Error> {
    let next = table::number(txn, NEXT, 1)?;
    let oldest = txn.open_table(OUTBOX)?.first()?.map_or(next, |(seq, _)| seq.value());
    // A state file from before records were kept has only what waits.
    table::number(txn, ACKED, oldest - 1)
}

/// How many records wait.
pub(super) fn depth(txn: &WriteTransaction) -> Result<u64, redb::Error> {
    let next = table::number(txn, NEXT, 1)?;
    Ok(next - 1 - acked(txn)?)
}

/// Forgets what is only kept.
fn forget_kept(txn: &WriteTransaction) -> Result<(), redb::Error> {
    let acked = acked(txn)?;
    txn.open_table(OUTBOX)?.retain_in(..=acked, |_, _| false)?;
    table::set_number(txn, KEPT_SIZE, 0)?;
    table::set_number(txn, ACKED, 0)
}

/// Numbers what waits from 1 again, for a new incarnation.
pub(super) fn renumber(txn: &WriteTransaction) -> Result<(), redb::Error> {
    forget_kept(txn)?;
    let mut outbox = txn.open_table(OUTBOX)?;
    let mut rows = Vec::new();
    while let Some((_, row)) = outbox.pop_first()? {
        rows.push(row.value().to_owned());
    }
    for (seq, row) in (1..).zip(&rows) {
        outbox.insert(seq, row.as_str())?;
    }
    drop(outbox);
    table::set_number(txn, NEXT, rows.len() as u64 + 1)
}

/// Forgets everything and starts at 1.
pub(super) fn clear(txn: &WriteTransaction) -> Result<(), redb::Error> {
    forget_kept(txn)?;
    txn.open_table(OUTBOX)?.retain(|_, _| false)?;
    table::set_number(txn, NEXT, 1)
}
