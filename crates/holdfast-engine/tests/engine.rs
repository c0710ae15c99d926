//! The engine through its public face: against recorded words of real restics, against stubs that
//! misbehave in every known way, and against the real programs.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "engine/command_backup.rs"]
mod command_backup;
#[path = "engine/maintenance.rs"]
mod maintenance;
#[path = "engine/options.rs"]
mod options;
#[path = "engine/racing.rs"]
mod racing;
#[path = "engine/reading.rs"]
mod reading;
#[path = "engine/real_restic.rs"]
mod real_restic;
#[path = "engine/recorded.rs"]
mod recorded;
#[path = "engine/restoring.rs"]
mod restoring;
#[path = "engine/stubs.rs"]
mod stubs;
#[path = "engine/support.rs"]
mod support;
