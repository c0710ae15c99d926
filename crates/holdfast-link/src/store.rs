//! What must be on disk, on either end, for the link to keep its promises.
//!
//! The link never stores anything itself. It is handed a [`Store`], which the agent implements over
//! its embedded database and the server over its own, one per host. The link's promises hold only
//! if the store keeps the ones written here.

pub mod memory;

use std::{error::Error, fmt, future::Future, ops::RangeInclusive};

use holdfast_protocol::{Class, Payload, Seq};
use jiff::Timestamp;

/// A numbered message: one entry of an outbox, or one that has come from the peer.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its position; dense from 1 in each direction of each incarnation.
    pub seq: Seq,
    /// When it was written, by its writer's clock.
    pub ts: Timestamp,
    /// What it says, such as `job.finished`.
    pub kind: String,
    /// The body.
    pub payload: Payload,
}

/// A message without a number: its class decides what happens when there is no room for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsequenced {
    /// Anything but [`Class::Record`].
    pub class: Class,
    /// What a newer message replaces an older one by, together with `kind`: a job's id for
    /// progress, empty where there is only one. It is not on the wire, so it is empty on receipt.
    pub key: String,
    /// When it was made, by its maker's clock.
    pub ts: Timestamp,
    /// What it says, such as `job.progress`.
    pub kind: String,
    /// The body.
    pub payload: Payload,
}

/// Where both directions of a stream stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    /// Every record of the peer up to here has taken effect, durably. 0 for none.
    pub received: Seq,
    /// The oldest record still in the outbox; equal to `next` when the outbox is empty.
    pub oldest: Seq,
    /// The position the next appended record will get.
    pub next: Seq,
}

/// The durable half of one end of a link: an outbox of our records and the position in the peer's.
///
/// Appending is not here. The application appends a record in the same transaction as the fact it
/// reports (a job's end, a new command), and then wakes the link.
pub trait Store: Send + Sync + 'static {
    /// Where both directions stand.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn positions(&self) -> impl Future<Output = Result<Positions, StoreError>> + Send;

    /// Records after `after`, in order and without holes, at most `limit`.
    ///
    /// Only what is durable may be returned: a record that a power cut could take back must not
    /// reach the wire.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn load(
        &self,
        after: Seq,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// The peer holds every record up to and including `through`: they may be forgotten.
    ///
    /// # Errors
    /// When the store cannot be written. Forgetting later is harmless.
    fn forget(&self, through: Seq) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Puts the effects of `records` and the new inbox position on disk, in one synced transaction.
    ///
    /// The records come in order and continue where the position stands, or after records that
    /// [`Store::skip`] has declared lost: the position becomes that of the last record, by whatever
    /// way. One at or below the
    /// position (which a correct session never hands over) is skipped. A record whose content
    /// cannot be applied is kept aside in the same transaction and counts as applied: one bad
    /// record must not stop the stream.
    ///
    /// # Errors
    /// When the disk or database refused. Then nothing took effect, and the session ends.
    ///
    /// # Cancel safety
    /// The link never drops this future half-way.
    fn apply(&self, records: Vec<Record>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The peer no longer has these records, and this end never got them: one of the two stores was
    /// set back to an older copy. It is called before the record that comes after them is applied,
    /// and again in every session until the position has passed them.
    ///
    /// A store may note the loss where people see it, and may move its position to the end of the
    /// range. The default does neither: the next [`Store::apply`] then continues after the range.
    ///
    /// # Errors
    /// When the disk or database refused; the session ends.
    fn skip(
        &self,
        missing: RangeInclusive<Seq>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = missing;
        std::future::ready(Ok(()))
    }

    /// Takes a message without a number. It must not wait for anything slow.
    ///
    /// # Errors
    /// When the store is beyond use; the session ends.
    fn receive(&self, message: Unsequenced) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The disk or the database refused.
#[derive(Debug)]
pub struct StoreError {
    phase: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

impl StoreError {
    /// An error in `phase`, such as `"appending to the outbox"`.
    pub fn new(phase: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { phase, source: source.into() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.phase)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
