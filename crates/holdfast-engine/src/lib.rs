//! The craft: runs restic as a child process and tells the truth about it.
//!
//! [`Restic::discover`] finds a usable restic once. Each of its operations then runs one or more
//! children, every one in a process group of its own, and ends in an [`Outcome`]: whatever happens,
//! there is an answer, and its `stats` are typed.
//!
//! * [`Restic::backup`] and [`Restic::backup_command`] store files, or what a command writes.
//! * [`Restic::restore`], [`Restic::dump`] and [`Restic::ls`] bring back what is stored, or show
//!   it; [`Restic::diff`] compares.
//! * [`Restic::forget`], [`Restic::prune`], [`Restic::tag`], [`Restic::check`], [`Restic::stats`],
//!   [`Restic::init`] and [`Restic::unlock`] keep a repository in order.
//! * [`Restic::snapshots`] and [`Restic::unlock_stale`] are small enough to be no jobs.
//!
//! No text reaches restic as an argument of its own: parameters are types, and values are bound to
//! their options or come after `--`.
//!
//! While a job runs it says what happens through [`Event`]s and obeys a [`Control`]. Dropping the
//! future of an operation kills its process group. What a crashed agent left behind is ended with
//! [`reap_orphan`].
//!
//! Who owns whom, from the outside in:
//!
//! ```text
//! operation::*      what to run, in which order, and what its end means
//!   operation::campaign   the wait for locks, and the end in words
//!   restic::session   the secrets on disk and the environment shared by a job's children
//!     run             one supervised child: its pipes, its signals, its deadlines
//!       process_group   the group that dies with its owner
//! ```
//!
//! Secrets reach restic through 0600 files and its environment, never through its arguments.

mod control;
mod error;
mod event;
mod operation;
mod outcome;
mod patience;
mod process_group;
mod progress;
mod restic;
mod run;

pub use control::Control;
pub use error::Code;
pub use event::Event;
pub use operation::backup::{Backup, CommandBackup};
pub use operation::restore::RestorePolicy;
pub use outcome::Outcome;
pub use patience::Patience;
pub use process_group::{Child, Reaped, reap_orphan};
pub use progress::EngineProgress;
pub use restic::access::Access;
pub use restic::version::{MINIMUM, ParseVersionError, Version};
pub use restic::{DiscoverError, Restic};
pub use run::feed::SourceCommand;
