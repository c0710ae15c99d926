//! What the targets share: a host in the middle of a job.

use holdfast_protocol::{
    HostId, JobId,
    dialect::{Ledger, OpenJob},
};
use jiff::Timestamp;
use uuid::Uuid;

/// A ledger in which one job runs for the group `home`.
pub fn ledger() -> Ledger {
    let mut ledger = Ledger::new(HostId::from_uuid(Uuid::from_u128(1)));
    let job = JobId::from_uuid(Uuid::from_u128(2));
    ledger.open(job, OpenJob::of_group("home").named("j1"));
    ledger
}

/// The time of every run: findings must be the same again.
pub fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// The frames of an input, one per line.
pub fn frames(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == b'\n')
}
