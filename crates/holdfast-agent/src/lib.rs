//! The agent: one per protected host.
//!
//! It runs the backups it was told to run and those its schedules ask for, whether or not the
//! server can be reached, and it tells the truth about each. Everything it promises lies in one
//! file:
//!
//! ```text
//! run ─┬─ State        the durable memory: outbox, inbox, journal, settings, slots
//!      ├─ link Client  carries the outbox to the server and the server's records into the state
//!      │    └─ dialect  or to another system's server, in that system's words
//!      ├─ Scheduler    turns due slots into journal entries
//!      ├─ Runner       follows the journal; one task and one restic per running job
//!      ├─ Listings     tell the server what a repository holds after it has changed
//!      └─ Browser      answers what the server asks about snapshots, and keeps nothing
//! ```
//!
//! None of them calls another: the link and the scheduler change the journal, the runner follows
//! it, and results leave through the outbox. So each may be slow, or wait, without the others
//! noticing.
//!
//! What holds, whatever happens:
//!
//! * A command that was acknowledged is on disk, with its answer, in the same transaction.
//! * A process is started at most once per job: the intent is synced before the spawn.
//! * Every job ends in one result, and result and journal entry change together. A job that a crash
//!   cut off ends as `interrupted`.
//! * A slot fires at most once, and after downtime at most one is made up for.

pub mod agent;
pub mod browse;
pub mod config;
pub mod dialect;
pub mod enrol;
pub mod error;
pub mod facts;
pub mod job;
pub mod policy;
pub mod schedule;
mod seal;
pub mod state;
pub mod trust;

pub use agent::{RunError, RunOptions, run};
pub use config::{Directory, DirectoryError, Enrolment};
pub use dialect::{JoinError, JoinOptions, LocalOptions, LocalRepository, join};
pub use enrol::{EnrolError, EnrolOptions, enroll};
pub use trust::{Trust, TrustError};
