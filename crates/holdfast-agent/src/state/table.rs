//! The tables of the state file, and the few verbs the rest uses on them.
//!
//! Values are JSON: the file is small, a person can read a row in a debugger, and a newer agent can
//! add a field without a migration.

use holdfast_protocol::Payload;
use jiff::Timestamp;
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Counters: [`ACKED`], [`KEPT_SIZE`], [`BOOT`], [`NEXT`], [`RECEIVED`], [`ORDER`], [`ENDED_NEXT`],
/// [`LISTING_NEXT`], [`IGNORED`].
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// Texts: [`INCARNATION`], and the settings under [`CONFIG`] and [`SCHEDULES`].
pub(super) const TEXTS: TableDefinition<'_, &str, &str> = TableDefinition::new("texts");
/// Our records that the server has not acknowledged, by position.
pub(super) const OUTBOX: TableDefinition<'_, u64, &str> = TableDefinition::new("outbox");
/// Jobs that have not ended, by id.
pub(super) const ACTIVE: TableDefinition<'_, u128, &str> = TableDefinition::new("active");
/// Jobs that have ended, by id, with their place in [`ENDED_ORDER`].
pub(super) const ENDED: TableDefinition<'_, u128, u64> = TableDefinition::new("ended");
/// Jobs that have ended, oldest first, so that the oldest can be forgotten.
pub(super) const ENDED_ORDER: TableDefinition<'_, u64, u128> = TableDefinition::new("ended_order");
/// How far each schedule has fired, by its id.
pub(super) const SLOTS: TableDefinition<'_, u128, &str> = TableDefinition::new("slots");
/// Repositories whose snapshots the server should hear of, by id, with the number of the change.
pub(super) const LISTINGS: TableDefinition<'_, u128, u64> = TableDefinition::new("listings");
/// Records of the server that could not be understood, by position.
pub(super) const DEAD_LETTERS: TableDefinition<'_, u64, &str> =
    TableDefinition::new("dead_letters");

/// Our newest record that the server has acknowledged.
pub(super) const ACKED: &str = "acked";
/// The bytes of the acknowledged records that are still kept.
pub(super) const KEPT_SIZE: &str = "kept_size";
/// Process starts of this incarnation.
pub(super) const BOOT: &str = "boot";
/// The position the next appended record gets.
pub(super) const NEXT: &str = "next";
/// Every record of the server up to here has taken effect.
pub(super) const RECEIVED: &str = "received";
/// The place in the queue the next job gets.
pub(super) const ORDER: &str = "order";
/// The place in [`ENDED_ORDER`] the next ended job gets.
pub(super) const ENDED_NEXT: &str = "ended_next";
/// The number of the next change to a repository.
pub(super) const LISTING_NEXT: &str = "listing_next";
/// Records of kinds this build does not know.
pub(super) const IGNORED: &str = "ignored";
/// Which life of the outbox this file is.
pub(super) const INCARNATION: &str = "incarnation";
/// The newest `config.update`, sealed.
pub(super) const CONFIG: &str = "config";
/// The newest `schedule.set`.
pub(super) const SCHEDULES: &str = "schedules";

/// One row of [`OUTBOX`] or [`DEAD_LETTERS`].
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    /// When the record was written.
    pub(super) ts: Timestamp,
    /// What it says.
    pub(super) kind: String,
    /// Its body.
    pub(super) payload: Payload,
}

/// Creates every table, so that readers never meet a missing one.
pub(super) fn create_all(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(NUMBERS)?;
    txn.open_table(TEXTS)?;
    txn.open_table(OUTBOX)?;
    txn.open_table(ACTIVE)?;
    txn.open_table(ENDED)?;
    txn.open_table(ENDED_ORDER)?;
    txn.open_table(SLOTS)?;
    txn.open_table(LISTINGS)?;
    txn.open_table(DEAD_LETTERS)?;
    Ok(())
}

/// The counter `name`, or `start` when it was never set.
pub(super) fn number(txn: &WriteTransaction, name: &str, start: u64) -> Result<u64, redb::Error> {
    Ok(txn.open_table(NUMBERS)?.get(name)?.map_or(start, |guard| guard.value()))
}

/// Sets the counter `name`.
pub(super) fn set_number(
    txn: &WriteTransaction,
    name: &str,
    value: u64,
) -> Result<(), redb::Error> {
    txn.open_table(NUMBERS)?.insert(name, value)?;
    Ok(())
}

/// Takes the counter `name`'s value and raises it by one. A fresh counter starts at 1.
pub(super) fn take_number(txn: &WriteTransaction, name: &str) -> Result<u64, redb::Error> {
    let value = number(txn, name, 1)?;
    set_number(txn, name, value + 1)?;
    Ok(value)
}

/// Sets the text `name`.
pub(super) fn set_text(txn: &WriteTransaction, name: &str, value: &str) -> Result<(), redb::Error> {
    txn.open_table(TEXTS)?.insert(name, value)?;
    Ok(())
}

/// The JSON form of a value that always has one.
pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the agent's own rows have a JSON form")
}

/// Reads a row that this program wrote. A row that does not read is damage, and is told as such.
pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, redb::Error> {
    serde_json::from_str(text)
        .map_err(|error| redb::Error::Corrupted(format!("a row does not read: {error}")))
}
