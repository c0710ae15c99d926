//! What a restic can be asked for.
//!
//! Each of these runs jobs to their end and tells what happens on the way. `events` may be read as
//! slowly as one likes, restic is not slowed by it. A repository that somebody else has locked is
//! waited for, where the operation needs a lock.

use holdfast_protocol::message::{
    job::JobError,
    parameters::{Check, Diff, Dump, Find, Forget, Ls, Prune, Restore, Stat, Stats, Tag, Unlock},
    result::{Entry, Found},
    snapshot::Snapshot,
};
use tokio::sync::mpsc;

use crate::{
    Access, Backup, CommandBackup, Control, Event, Outcome, Restic, RestorePolicy,
    event::Reporter,
    operation::{
        backup, check, diff, dump, find, forget, init, ls, prune, restore, snapshots, stats, tag,
        unlock,
    },
};

impl Restic {
    /// Backs up; creates the repository first when restic says there is none.
    ///
    /// It always answers: everything that can go wrong is an [`Outcome`]. A locked repository is
    /// waited for. `events` may be read as slowly as one likes, restic is not slowed by it.
    ///
    /// # Cancel safety
    /// Dropping the future kills restic's process group. Its lock stays and is stale then; to end
    /// a job orderly use [`Control::cancel`].
    pub async fn backup(
        &self,
        access: &Access,
        backup: &Backup,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = backup::run(self, access, backup, control, &mut reporter).await;
        reporter.finish().await;
        outcome
    }

    /// The snapshots that the repository holds for `host`, oldest first.
    ///
    /// # Errors
    /// What restic could not do, with one of the codes of [`Code`](crate::Code).
    ///
    /// # Cancel safety
    /// Safe: it only reads, and takes no lock.
    pub async fn snapshots(&self, access: &Access, host: &str) -> Result<Vec<Snapshot>, JobError> {
        snapshots::run(self, access, host).await
    }

    /// Removes locks whose owners are gone, as restic judges it; a live lock stays.
    ///
    /// # Errors
    /// What restic could not do, with one of the codes of [`Code`](crate::Code).
    ///
    /// # Cancel safety
    /// Safe: the call can be repeated.
    pub async fn unlock_stale(&self, access: &Access) -> Result<(), JobError> {
        unlock::run(self, access).await
    }
    /// Backs up what a command writes to its standard output, as one file.
    ///
    /// There is a snapshot only if the command ends well: restic is kept waiting until then. A
    /// pause stops restic, and the command as soon as nobody takes what it writes. A try that finds
    /// the repository locked, or none there, starts the command anew.
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn backup_command(
        &self,
        access: &Access,
        backup: &CommandBackup,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = backup::run_command(self, access, backup, control, &mut reporter).await;
        reporter.finish().await;
        outcome
    }

    /// Creates the repository, or finds that it is there; the result is
    /// [`Initialised`](holdfast_protocol::message::result::Initialised).
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn init(
        &self,
        access: &Access,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = init::job(self, access, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Restores files; the result is [`Restored`](holdfast_protocol::message::result::Restored).
    ///
    /// [`Status::Partial`](holdfast_protocol::message::job::Status::Partial) when something was
    /// left out. A cancelled restore leaves what it has written.
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn restore(
        &self,
        access: &Access,
        restore: &Restore,
        policy: &RestorePolicy,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = restore::run(self, access, restore, policy, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Lists one directory of a snapshot; the entries come through `entries`, whose reader sets the
    /// pace, and the result is [`Listing`](holdfast_protocol::message::result::Listing). Dropping
    /// the receiver ends it as cancelled.
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn ls(
        &self,
        access: &Access,
        ls: &Ls,
        entries: mpsc::Sender<Entry>,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = ls::run(self, access, ls, entries, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Tells what one path of a snapshot is; the result is an
    /// [`Entry`](holdfast_protocol::message::result::Entry).
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn stat(
        &self,
        access: &Access,
        stat: &Stat,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = ls::stat::run(self, access, stat, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Looks for names in all of a snapshot; what is found comes through `matches`, whose reader
    /// sets the pace, and the result is
    /// [`Listing`](holdfast_protocol::message::result::Listing). Dropping the receiver ends it as
    /// cancelled.
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn find(
        &self,
        access: &Access,
        find: &Find,
        matches: mpsc::Sender<Found>,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = find::run(self, access, find, matches, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Reads a file of a snapshot, or a directory as a tar archive; the bytes come through
    /// `chunks`, at most 64 KiB each, whose reader sets the pace. The result is
    /// [`Dumped`](holdfast_protocol::message::result::Dumped).
    ///
    /// What came is whole only if the outcome says success. Dropping the receiver ends it as
    /// cancelled.
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn dump(
        &self,
        access: &Access,
        dump: &Dump,
        chunks: mpsc::Sender<Vec<u8>>,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = dump::run(self, access, dump, chunks, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Compares two snapshots; the result is
    /// [`Difference`](holdfast_protocol::message::result::Difference).
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn diff(
        &self,
        access: &Access,
        diff: &Diff,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = diff::run(self, access, diff, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Removes snapshots of `host`; the result is
    /// [`Forgotten`](holdfast_protocol::message::result::Forgotten).
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn forget(
        &self,
        access: &Access,
        host: &str,
        forget: &Forget,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = forget::run(self, access, host, forget, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Changes tags of snapshots of `host`; the result is
    /// [`Retagged`](holdfast_protocol::message::result::Retagged).
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn tag(
        &self,
        access: &Access,
        host: &str,
        tag: &Tag,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = tag::run(self, access, host, tag, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Deletes the data that no snapshot needs; the result is
    /// [`Pruned`](holdfast_protocol::message::result::Pruned). Progress counts anew in each of its
    /// steps.
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn prune(
        &self,
        access: &Access,
        prune: &Prune,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = prune::run(self, access, prune, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Checks the repository; the result is
    /// [`Checked`](holdfast_protocol::message::result::Checked), also of a check that failed
    /// because it found errors. Progress counts anew in each of its steps.
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn check(
        &self,
        access: &Access,
        check: &Check,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = check::run(self, access, check, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Measures what is stored; the result is [`Sizes`](holdfast_protocol::message::result::Sizes).
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn stats(
        &self,
        access: &Access,
        stats: &Stats,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = stats::run(self, access, stats, control, &mut reporter).await;
        settle(outcome, reporter).await
    }

    /// Removes locks; the result is [`Unlocked`](holdfast_protocol::message::result::Unlocked).
    ///
    /// # Cancel safety
    /// As [`Restic::backup`].
    pub async fn unlock(
        &self,
        access: &Access,
        unlock: Unlock,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let mut reporter = Reporter::new(events);
        let outcome = unlock::job(self, access, unlock, control, &mut reporter).await;
        settle(outcome, reporter).await
    }
}

/// Both ends of an operation are its end.
async fn settle(outcome: Result<Outcome, Outcome>, reporter: Reporter) -> Outcome {
    reporter.finish().await;
    outcome.unwrap_or_else(|outcome| outcome)
}
