//! Real faults on real processes.
//!
//! The simulator (`holdfast-sim`) asks the link's logic millions of questions. This crate asks the
//! programs a few hundred, with real sockets, real disks and real signals:
//!
//! - [`chaos`]: a runnable check for each fault of the catalogue, `cargo xtask chaos`
//! - [`torture`]: SIGKILL of agent and server in turn during a stream of records,
//!   `cargo xtask torture`
//! - [`herd`]: a server restart under thousands of connected agents, `cargo xtask torture --herd N`
//! - [`fault_proxy`]: the misbehaving network between them
//!
//! What is started here is the product's own programs wherever they can do what is needed. Where a
//! stream must be faster than restic, [`peer`] is an agent without restic on the product's own
//! state and link.

mod api;
pub mod chaos;
mod database;
pub mod fault_proxy;
pub mod herd;
pub mod peer;
mod power;
mod stand;
mod stub_restic;
pub mod torture;
mod wire;
