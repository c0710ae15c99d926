//! The craft: runs restic as a child process and tells the truth about it.
//!
//! [`Restic::discover`] finds a usable restic once. Each of its operations then runs one or more
//! children, every one in a process group of its own, and ends in a typed result:
//!
//! * [`Restic::backup`] never fails to answer: whatever happens, it returns an [`Outcome`].
//! * [`Restic::snapshots`] lists what a repository holds for a host.
//! * [`Restic::unlock_stale`] removes locks whose owners are gone, and only those.
//!
//! While a job runs it says what happens through [`Event`]s and obeys a [`Control`]. Dropping the
//! future of an operation kills its process group. What a crashed agent left behind is ended with
//! [`reap_orphan`].
//!
//! Who owns whom, from the outside in:
//!
//! ```text
//! operation::*      what to run, in which order, and what its end means
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
pub use operation::backup::Backup;
pub use outcome::Outcome;
pub use patience::Patience;
pub use process_group::{Child, Reaped, reap_orphan};
pub use progress::EngineProgress;
pub use restic::access::Access;
pub use restic::version::{MINIMUM, ParseVersionError, Version};
pub use restic::{DiscoverError, Restic};
