//! The server's state through its public face: the store, the live view and the hub.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod alerts;
mod audit;
mod channels;
mod crowd;
mod disk;
mod enrolment;
mod fleet;
mod jobs;
mod lease;
mod link;
mod live;
mod receivers;
mod reports;
mod serving;
mod upkeep;
mod watch;
