//! Repositories that have changed since the server was last told what they hold.
//!
//! A full list is not small, and only the newest matters. So while the server is away only the need
//! for one is kept, and it survives a crash between a job's end and its list.

use holdfast_protocol::RepositoryId;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::table::{self, LISTING_NEXT, LISTINGS};

/// A repository to be listed, as it was when that was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The repository.
    pub repository: RepositoryId,
    change: u64,
}

/// Notes that `repository` has changed.
pub(super) fn note(txn: &WriteTransaction, repository: RepositoryId) -> Result<(), redb::Error> {
    let change = table::take_number(txn, LISTING_NEXT)?;
    txn.open_table(LISTINGS)?.insert(key(repository), change)?;
    Ok(())
}

/// What is to be listed.
pub(super) fn due(txn: &ReadTransaction) -> Result<Vec<Due>, redb::Error> {
    let mut due = Vec::new();
    for row in txn.open_table(LISTINGS)?.iter()? {
        let (id, change) = row?;
        let repository = RepositoryId::from_uuid(uuid::Uuid::from_u128(id.value()));
        due.push(Due { repository, change: change.value() });
    }
    Ok(due)
}

/// Notes that `due` was listed, unless the repository has changed again meanwhile.
pub(super) fn settle(txn: &WriteTransaction, due: Due) -> Result<(), redb::Error> {
    let mut listings = txn.open_table(LISTINGS)?;
    let is_latest = listings.get(key(due.repository))?.is_some_and(|it| it.value() == due.change);
    if is_latest {
        listings.remove(key(due.repository))?;
    }
    Ok(())
}

/// Forgets everything.
pub(super) fn clear(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(LISTINGS)?.retain(|_, _| false)?;
    Ok(())
}

fn key(repository: RepositoryId) -> u128 {
    repository.as_uuid().as_u128()
}
