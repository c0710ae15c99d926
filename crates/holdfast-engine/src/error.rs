//! Why a job did not do what it was for: stable codes, and sentences for people.

use holdfast_protocol::message::job::JobError;

/// The codes of [`JobError`] that the engine gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Somebody asked for the end.
    Cancelled,
    /// The repository's place does not delete for these credentials.
    DeleteRefused,
    /// restic was interrupted from outside.
    Interrupted,
    /// The job's parameters are not acceptable.
    InvalidConfiguration,
    /// The snapshot does not hold what was asked for.
    PathNotFound,
    /// A pause lasted longer than restic's lock is safe.
    PauseTooLong,
    /// The repository's key and config do not belong together.
    RepositoryDamaged,
    /// A check found that the repository is not whole.
    RepositoryErrorsFound,
    /// The repository could not be created.
    RepositoryInitFailed,
    /// Somebody else holds a lock.
    RepositoryLocked,
    /// There is no repository at the location.
    RepositoryNotFound,
    /// The repository's place does not answer or refuses.
    RepositoryUnreachable,
    /// Some files could not be restored.
    RestoreIncomplete,
    /// The place to restore to is not allowed or not safe.
    RestoreTargetRefused,
    /// restic ended with an error that has no code of its own.
    ResticFailed,
    /// restic was killed by a signal.
    ResticKilled,
    /// There is no restic to run.
    ResticMissing,
    /// restic is older than [`crate::MINIMUM`].
    ResticTooOld,
    /// This restic cannot do what was asked for.
    ResticUnsuited,
    /// The job's private directory cannot be used.
    ScratchUnusable,
    /// There is no snapshot with this id.
    SnapshotNotFound,
    /// restic ended well but named no snapshot.
    SnapshotUnconfirmed,
    /// The command whose output is backed up failed.
    SourceCommandFailed,
    /// A path to back up does not exist.
    SourceMissing,
    /// Some files could not be read.
    SourceUnreadable,
    /// The disk or the backend is full.
    StorageFull,
    /// The repository has another password.
    WrongPassword,
}

impl Code {
    /// The stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::DeleteRefused => "delete_refused",
            Self::Interrupted => "interrupted",
            Self::InvalidConfiguration => "invalid_configuration",
            Self::PathNotFound => "path_not_found",
            Self::PauseTooLong => "pause_too_long",
            Self::RepositoryDamaged => "repository_damaged",
            Self::RepositoryErrorsFound => "repository_errors_found",
            Self::RepositoryInitFailed => "repository_init_failed",
            Self::RepositoryLocked => "repository_locked",
            Self::RepositoryNotFound => "repository_not_found",
            Self::RepositoryUnreachable => "repository_unreachable",
            Self::RestoreIncomplete => "restore_incomplete",
            Self::RestoreTargetRefused => "restore_target_refused",
            Self::ResticFailed => "restic_failed",
            Self::ResticKilled => "restic_killed",
            Self::ResticMissing => "restic_missing",
            Self::ResticTooOld => "restic_too_old",
            Self::ResticUnsuited => "restic_unsuited",
            Self::ScratchUnusable => "scratch_unusable",
            Self::SnapshotNotFound => "snapshot_not_found",
            Self::SnapshotUnconfirmed => "snapshot_unconfirmed",
            Self::SourceCommandFailed => "source_command_failed",
            Self::SourceMissing => "source_missing",
            Self::SourceUnreadable => "source_unreadable",
            Self::StorageFull => "storage_full",
            Self::WrongPassword => "wrong_password",
        }
    }

    /// One sentence: what to do about it.
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Self::Cancelled => "Start the job again when it is wanted.",
            Self::DeleteRefused => {
                "Give the repository's slot `admin` credentials that may delete, and name this host as the one that keeps the repository in order; where nobody may delete, leave it to the repository's own server."
            }
            Self::Interrupted => {
                "Find out who interrupted restic on the host, then start the job again."
            }
            Self::InvalidConfiguration => {
                "Correct what was asked for, the source group or the repository settings, then start the job again."
            }
            Self::PathNotFound => {
                "List the directory in the snapshot and take the path from there."
            }
            Self::PauseTooLong => {
                "Start the job again; what was already uploaded is not uploaded twice."
            }
            Self::RepositoryDamaged => {
                "If the repository is new, two hosts created it at the same time: delete it and start one backup first; otherwise run `restic check`."
            }
            Self::RepositoryErrorsFound => {
                "Keep the repository as it is and follow restic's guide to repair it, https://restic.readthedocs.io/en/stable/077_troubleshooting.html ."
            }
            Self::RepositoryInitFailed => {
                "Check that the location may be written and has space, then start the job again."
            }
            Self::RepositoryLocked => {
                "Wait until the other operation has ended, or remove its lock with `restic unlock` if it is gone."
            }
            Self::RepositoryNotFound => {
                "Check the repository's location, or run a backup, which creates the repository."
            }
            Self::RepositoryUnreachable => {
                "Check the repository's location and credentials, and that the host can reach it."
            }
            Self::RestoreIncomplete => {
                "Read the job's log for the files; check the space and the access rights at the target, and the repository."
            }
            Self::RestoreTargetRefused => {
                "Choose an empty directory below one of the host's restore roots."
            }
            Self::ResticFailed => "Read the job's log for what restic said.",
            Self::ResticKilled => {
                "Look for the out-of-memory killer in the host's kernel log, then start the job again."
            }
            Self::ResticMissing => {
                "Install restic (for example `apt install restic`), or name it with `--restic PATH`."
            }
            Self::ResticTooOld => {
                "Install restic 0.14.0 or newer, or name a newer one with `--restic PATH`."
            }
            Self::ResticUnsuited => "Install a newer restic on the host, or ask for less.",
            Self::ScratchUnusable => {
                "Check that the agent's data directory may be written and has space."
            }
            Self::SnapshotNotFound => {
                "List the repository's snapshots; the one asked for may be forgotten or have a new id."
            }
            Self::SnapshotUnconfirmed => {
                "Check that the host's restic is genuine, and list the repository's snapshots."
            }
            Self::SourceCommandFailed => {
                "Read the job's log for what the command said, and try it on the host."
            }
            Self::SourceMissing => {
                "Correct the source group's paths, or bring the missing ones back."
            }
            Self::SourceUnreadable => {
                "Read the job's log for the files, then give the agent access or exclude them."
            }
            Self::StorageFull => "Make space where the repository or the host's cache is.",
            Self::WrongPassword => {
                "Set the password this repository was created with in the repository's settings."
            }
        }
    }
}

/// The error with `code`, saying `message`.
pub(crate) fn job_error(code: Code, message: impl Into<String>) -> JobError {
    JobError {
        code: code.as_str().to_owned(),
        message: message.into(),
        action: code.action().to_owned(),
    }
}
