//! Our records for the server: numbered and synced before they are sent, kept until acknowledged.

use holdfast_link::{Positions, Record};
use holdfast_protocol::{Class, Message, Payload, Seq};
use jiff::Timestamp;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::table::{self, NEXT, NUMBERS, OUTBOX, RECEIVED, Row};

/// Appends `message` as the next record and returns its position.
pub(super) fn append(txn: &WriteTransaction, message: &Message) -> Result<Seq, redb::Error> {
    debug_assert_eq!(message.class(), Class::Record, "only records have a place in the outbox");
    append_raw(txn, message.kind(), message.encode())
}

/// As [`append`], for a kind that is not in the closed set of messages.
pub(super) fn append_raw(
    txn: &WriteTransaction,
    kind: &str,
    payload: Payload,
) -> Result<Seq, redb::Error> {
    let seq = table::take_number(txn, NEXT)?;
    let row = Row { ts: Timestamp::now(), kind: kind.to_owned(), payload };
    txn.open_table(OUTBOX)?.insert(seq, table::to_json(&row).as_str())?;
    Ok(seq)
}

/// Where both directions stand.
pub(super) fn positions(txn: &ReadTransaction) -> Result<Positions, redb::Error> {
    let numbers = txn.open_table(NUMBERS)?;
    let next = numbers.get(NEXT)?.map_or(1, |guard| guard.value());
    let received = numbers.get(RECEIVED)?.map_or(0, |guard| guard.value());
    let oldest = txn.open_table(OUTBOX)?.first()?.map_or(next, |(seq, _)| seq.value());
    Ok(Positions { received, oldest, next })
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

/// Forgets every record up to and including `through`.
pub(super) fn forget(txn: &WriteTransaction, through: Seq) -> Result<(), redb::Error> {
    txn.open_table(OUTBOX)?.retain_in(..=through, |_, _| false)?;
    Ok(())
}

/// How many records wait.
pub(super) fn depth(txn: &WriteTransaction) -> Result<u64, redb::Error> {
    let next = table::number(txn, NEXT, 1)?;
    let oldest = txn.open_table(OUTBOX)?.first()?.map_or(next, |(seq, _)| seq.value());
    Ok(next - oldest)
}

/// Numbers what waits from 1 again, for a new incarnation.
pub(super) fn renumber(txn: &WriteTransaction) -> Result<(), redb::Error> {
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
    txn.open_table(OUTBOX)?.retain(|_, _| false)?;
    table::set_number(txn, NEXT, 1)
}
