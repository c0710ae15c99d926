//! The control plane: store, hub of live links, REST API and dashboard.
//!
//! ```text
//! server ── listens, and owns the order of starting and stopping
//!   ├─ api ── people and scripts: routes, roles, problems, the live socket
//!   │    ├─ hub ── agents: every live link, what must reach it, what it says about itself
//!   │    ├─ dialect ── agents of other systems, which the hub cannot tell from its own
//!   │    └─ live ── the fleet in memory, fed by the bus; snapshots and updates for browsers
//!   ├─ alarm ── who must know: alerts that are opened once and resolved by themselves
//!   ├─ watch ── what was due and never came: silence becomes a fact on the server's own clock
//!   └─ store ── the one truth: every change and the command it causes in one transaction
//! ```
//!
//! A change always takes the same way: into the store, from there (after the commit) as a name onto
//! the bus, and from the bus to whoever shows it. Nothing in memory is needed to be right again
//! after a crash: agents come back, and the store knows where each stream stood.

pub mod alert;
pub mod api;
pub mod auth;
mod bus;
pub mod clock;
mod config;
pub mod dialect;
mod embed;
mod firing;
#[cfg(test)]
mod fixtures;
pub mod hub;
pub mod live;
mod maintenance;
pub mod metrics;
#[cfg(test)]
mod month;
#[cfg(feature = "oidc")]
mod oidc;
mod openapi;
pub mod own_backup;
mod secret;
pub mod server;
pub mod store;
pub mod token;
pub mod verdict;
pub mod view;
pub mod watch;

pub use config::ServerConfig;
pub use secret::SecretError;
