//! The dialects, byte for byte: what comes in, what goes out, and what it means.

mod backupy;
mod conversions;
mod fleet;
mod gojson;
mod local;
mod nerdbackup;
mod plain;
mod total;

use std::{fs, path::Path};

use holdfast_protocol::{
    HostId, JobId, Message,
    dialect::{Ledger, OpenJob, Said},
};
use jiff::Timestamp;

/// The reviewed frames of a dialect, one per line.
fn goldens(name: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/dialect");
    let text = fs::read_to_string(folder.join(name)).expect("the goldens are in the tree");
    text.lines().map(str::to_owned).collect()
}

/// The time of every test.
fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().expect("a time")
}

const JOB: &str = "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b";

fn job() -> JobId {
    JOB.parse().expect("an id")
}

fn empty_ledger() -> Ledger {
    Ledger::new(HostId::from_uuid(uuid::Uuid::from_u128(7)))
}

/// A ledger in which [`job`] runs for the group `home`.
fn ledger() -> Ledger {
    let mut ledger = empty_ledger();
    ledger.open(job(), OpenJob::of_group("home"));
    ledger
}

fn message(said: Said) -> Message {
    match said {
        Said::Message(message) => message,
        other => panic!("expected a canonical message, got {other:?}"),
    }
}

fn is_unplaced(said: &Said) -> bool {
    matches!(said, Said::Unplaced { .. })
}
