//! Holdfast from outside: the real programs, started as a person would start them, with real
//! restic and real files.
//!
//! Nothing here knows the product's crates. Whoever is driven is driven through the command line
//! (with `--json`) and through what restic says. `cargo xtask demo` stands on the same parts.
//!
//! - [`stage`]: what most tests begin with
//! - [`fleet`]: a server and its agents in one folder, and the operator's commands
//! - [`api`]: the REST API as a script meets it
//! - [`process`]: a child that never outlives us
//! - [`race`]: hosts that want to work on one repository all at once
//! - [`restic`]: restic asked directly, as the judge of what was really saved
//! - [`rest_server`]: a real rest-server, which may refuse to delete
//! - [`slow_restic`]: a restic that leaves time for something to happen in mid-backup
//! - [`postgresql`]: a database cluster of our own
//! - [`peer`]: an agent or a server of another system
//! - [`browser`]: the dashboard in a real browser
//! - [`data`]: files to back up, from a seed
//! - [`tree`]: folders compared as a restore must bring them back
//! - [`wait`]: waiting for a condition, with a limit
//! - [`wiretap`]: somebody on the line who writes down what passes

pub mod api;
pub mod browser;
pub mod data;
pub mod fleet;
pub mod operator;
pub mod peer;
pub mod postgresql;
pub mod process;
pub mod programs;
pub mod race;
pub mod rest_server;
pub mod restic;
pub mod slow_restic;
pub mod stage;
pub mod tree;
pub mod wait;
pub mod wiretap;
