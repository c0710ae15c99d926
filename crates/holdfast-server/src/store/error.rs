//! Why the store said no.

use std::{error::Error as StdError, path::PathBuf};

use holdfast_protocol::dialect::{Ability, Unsayable};
use jiff::Timestamp;

use super::host::ConfigTooLarge;
use crate::secret::SecretError;

/// Why an operation on the store did not happen.
///
/// One enum serves all operations, because every variant has one face towards people: a stable
/// [`code`](Self::code), a sentence, and [what to do](Self::action).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database refused; nothing was changed.
    #[error("the database failed while {phase}")]
    Database {
        /// What was being done.
        phase: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A host of that name exists.
    #[error("there is already a host named `{name}`")]
    HostExists {
        /// The name.
        name: String,
    },
    /// No such host.
    #[error("there is no host `{host}`")]
    HostNotFound {
        /// The id or name that was asked for.
        host: String,
    },
    /// A repository of that name exists.
    #[error("there is already a repository named `{name}`")]
    RepositoryExists {
        /// The name.
        name: String,
    },
    /// No such repository.
    #[error("there is no repository `{repository}`")]
    RepositoryNotFound {
        /// The id or name that was asked for.
        repository: String,
    },
    /// The host has a group of that name.
    #[error("the host already has a source group named `{name}`")]
    GroupExists {
        /// The name.
        name: String,
    },
    /// The host has no such group.
    #[error("the host has no source group `{group}`")]
    GroupNotFound {
        /// The name that was asked for.
        group: String,
    },
    /// The host uses several repositories, or none, and nobody said which is meant.
    #[error("it is not clear which repository is meant")]
    RepositoryRequired,
    /// None of the host's groups uses the repository, and the asker may not change that.
    #[error("the host has no source group in this repository")]
    RepositoryNotUsed,
    /// The host's agent cannot do such jobs.
    #[error("the host's agent cannot run `{operation}` jobs")]
    OperationUnsupported {
        /// The operation.
        operation: &'static str,
    },
    /// No such snapshot, or none that the asker may know of.
    #[error("there is no snapshot `{snapshot}`")]
    SnapshotNotFound {
        /// The id that was asked for, or its beginning.
        snapshot: String,
    },
    /// The group has no schedule.
    #[error("the source group `{group}` has no schedule")]
    ScheduleNotFound {
        /// The group.
        group: String,
    },
    /// No such job.
    #[error("there is no job `{job}`")]
    JobNotFound {
        /// The id that was asked for.
        job: String,
    },
    /// The job has ended already.
    #[error("the job has already ended ({status})")]
    JobEnded {
        /// How.
        status: &'static str,
    },
    /// Too many commands wait for this host.
    #[error("{count} commands already wait for this host")]
    OutboxFull {
        /// How many.
        count: u64,
    },
    /// A channel of that name exists.
    #[error("there is already a channel named `{name}`")]
    ChannelExists {
        /// The name.
        name: String,
    },
    /// No such channel.
    #[error("there is no channel `{channel}`")]
    ChannelNotFound {
        /// The id or name that was asked for.
        channel: String,
    },
    /// No such alert.
    #[error("there is no alert `{alert}`")]
    AlertNotFound {
        /// The id that was asked for.
        alert: String,
    },
    /// The alert is over.
    #[error("the alert is already resolved")]
    AlertResolved,
    /// No such silence.
    #[error("there is no silence `{silence}`")]
    SilenceNotFound {
        /// The id that was asked for.
        silence: String,
    },
    /// No such sign-in.
    #[error("there is no sign-in `{id}`")]
    SignInNotFound {
        /// The id that was asked for.
        id: String,
    },
    /// A user of that name exists.
    #[error("there is already a user named `{name}`")]
    UserExists {
        /// The name.
        name: String,
    },
    /// The identity provider decides about this user.
    #[error("the identity provider decides about the user `{name}`")]
    UserOfProvider {
        /// The name.
        name: String,
    },
    /// No such user.
    #[error("there is no user `{name}`")]
    UserNotFound {
        /// The name that was asked for.
        name: String,
    },
    /// No such API token.
    #[error("there is no token `{token}`")]
    TokenNotFound {
        /// The id or name that was asked for.
        token: String,
    },
    /// Nobody would be left who may change users.
    #[error("nobody would be left who may change everything")]
    LastAdmin,
    /// An API token of that name exists.
    #[error("there is already a token named `{name}`")]
    TokenExists {
        /// The name.
        name: String,
    },
    /// Nobody ever issued this enrolment token, or its host was removed.
    #[error("the enrolment token is not known to this server")]
    EnrolmentTokenInvalid,
    /// The enrolment token has done its one enrolment.
    #[error("the enrolment token has already been used")]
    EnrolmentTokenUsed,
    /// The enrolment token came too late.
    #[error("the enrolment token expired at {expired_at}")]
    EnrolmentTokenExpired {
        /// When.
        expired_at: Timestamp,
    },
    /// The host's groups and schedules are more than one message to its agent can hold.
    #[error("with this change the host's source groups are too large to be sent to its agent")]
    ConfigTooLarge,
    /// The host's agent speaks words that cannot say it.
    #[error(transparent)]
    HostCannot(Unsayable),
    /// The page cursor was not one of ours.
    #[error("the page cursor is not valid")]
    InvalidCursor,
}

impl Error {
    pub(crate) fn database(phase: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| match source {
            sqlx::Error::Encode(cause) if cause.is::<ConfigTooLarge>() => Self::ConfigTooLarge,
            source => Self::Database { phase, source: source.into() },
        }
    }

    pub(crate) fn damaged(phase: &'static str) -> impl Fn(SecretError) -> Self {
        move |source| Self::Database { phase, source: source.into() }
    }

    /// A stable, machine-readable word for it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Database { .. } => "database_failed",
            Self::HostExists { .. } => "host_exists",
            Self::HostNotFound { .. } => "host_not_found",
            Self::RepositoryExists { .. } => "repository_exists",
            Self::RepositoryNotFound { .. } => "repository_not_found",
            Self::GroupExists { .. } => "group_exists",
            Self::GroupNotFound { .. } => "group_not_found",
            Self::RepositoryRequired => "repository_required",
            Self::RepositoryNotUsed => "repository_not_used",
            Self::OperationUnsupported { .. } => "operation_unsupported",
            Self::SnapshotNotFound { .. } => "snapshot_not_found",
            Self::ScheduleNotFound { .. } => "schedule_not_found",
            Self::JobNotFound { .. } => "job_not_found",
            Self::JobEnded { .. } => "job_ended",
            Self::OutboxFull { .. } => "outbox_full",
            Self::ChannelExists { .. } => "channel_exists",
            Self::ChannelNotFound { .. } => "channel_not_found",
            Self::AlertNotFound { .. } => "alert_not_found",
            Self::AlertResolved => "alert_resolved",
            Self::SilenceNotFound { .. } => "silence_not_found",
            Self::SignInNotFound { .. } => "sign_in_not_found",
            Self::UserExists { .. } => "user_exists",
            Self::UserOfProvider { .. } => "user_of_provider",
            Self::UserNotFound { .. } => "user_not_found",
            Self::LastAdmin => "last_admin",
            Self::TokenNotFound { .. } => "token_not_found",
            Self::TokenExists { .. } => "token_exists",
            Self::EnrolmentTokenInvalid => "enrolment_token_invalid",
            Self::EnrolmentTokenUsed => "enrolment_token_used",
            Self::EnrolmentTokenExpired { .. } => "enrolment_token_expired",
            Self::ConfigTooLarge => "config_too_large",
            Self::HostCannot(refusal) => host_cannot(refusal.ability),
            Self::InvalidCursor => "invalid_cursor",
        }
    }

    /// What to do about it, in one sentence.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Database { .. } => {
                "Check the free space and the health of the server's data directory, then try again."
            }
            Self::HostExists { .. } | Self::RepositoryExists { .. } | Self::GroupExists { .. } => {
                "Choose another name, or remove the existing one first."
            }
            Self::HostNotFound { .. } => "List the hosts and use one of their names or ids.",
            Self::RepositoryNotFound { .. } => {
                "List the repositories and use one of their names or ids."
            }
            Self::GroupNotFound { .. } => {
                "List the host's source groups and use one of their names."
            }
            Self::RepositoryRequired => "Name the repository.",
            Self::RepositoryNotUsed => {
                "Add a source group there, or have an admin do it: it gives the host the repository's credentials."
            }
            Self::OperationUnsupported { .. } => {
                "Update the agent of this host, or use another host that has the repository."
            }
            Self::SnapshotNotFound { .. } => {
                "List the host's snapshots and use one of their ids, with all its digits."
            }
            Self::ScheduleNotFound { .. } => "Nothing needs to be done: it does not run by itself.",
            Self::JobNotFound { .. } => "List the jobs and use one of their ids.",
            Self::JobEnded { .. } => "Start a new job if it should run again.",
            Self::OutboxFull { .. } => {
                "Connect the host's agent so that it takes them, or cancel some of the jobs."
            }
            Self::ChannelExists { .. } => "Choose another name, or remove the existing one first.",
            Self::ChannelNotFound { .. } => "List the channels and use one of their names or ids.",
            Self::AlertNotFound { .. } => "List the alerts and use one of their ids.",
            Self::AlertResolved => "Nothing needs to be done: the trouble is over.",
            Self::SilenceNotFound { .. } => "List the silences and use one of their ids.",
            Self::SignInNotFound { .. } => "List the sign-ins and use one of their ids.",
            Self::UserExists { .. } => "Choose another name for the user.",
            Self::UserOfProvider { .. } => {
                "Change the user's groups at the provider, or the roles that they give."
            }
            Self::UserNotFound { .. } => "List the users and use one of their names.",
            Self::TokenNotFound { .. } => "List the tokens and use one of their ids or names.",
            Self::LastAdmin => "Make somebody else an admin of all host groups first.",
            Self::TokenExists { .. } => "Choose another name for the token.",
            Self::EnrolmentTokenInvalid => {
                "Copy the whole token again, or make a new one for the host."
            }
            Self::EnrolmentTokenUsed | Self::EnrolmentTokenExpired { .. } => {
                "Make a new enrolment token for the host and use that one."
            }
            Self::ConfigTooLarge => {
                "Use fewer or shorter paths and patterns (a pattern can stand for many paths); all of a host's together may be 3.5 MiB."
            }
            Self::HostCannot(_) => Unsayable::ACTION,
            Self::InvalidCursor => "Start again from the first page.",
        }
    }
}

/// The code that says which of its abilities an agent lacks.
fn host_cannot(ability: Ability) -> &'static str {
    match ability {
        Ability::Backup => "host_cannot_backup",
        Ability::Cancel => "host_cannot_cancel",
        Ability::Pause => "host_cannot_pause",
        Ability::Resume => "host_cannot_resume",
        Ability::Progress => "host_cannot_progress",
        Ability::Result => "host_cannot_result",
        Ability::Logs => "host_cannot_logs",
        Ability::Snapshots => "host_cannot_snapshots",
        Ability::RepositoryStats => "host_cannot_repository_stats",
        Ability::Configure => "host_cannot_configure",
        Ability::Schedule => "host_cannot_schedule",
        Ability::Restore => "host_cannot_restore",
        Ability::Look => "host_cannot_look",
        Ability::Maintain => "host_cannot_maintain",
        Ability::Browse => "host_cannot_browse",
        Ability::Acknowledge => "host_cannot_acknowledge",
    }
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The data directory cannot be made or used.
    #[error("cannot use the data directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The key file cannot be used.
    #[error("cannot read the key that opens the stored credentials")]
    Key {
        /// Why.
        #[source]
        source: SecretError,
    },
    /// The database file cannot be opened.
    #[error("cannot open the database {}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// A newer Holdfast has written it.
    #[error(
        "the database was written by a newer version of Holdfast (schema {found}, this version knows {known})"
    )]
    Newer {
        /// The newest schema step in the database.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The schema could not be brought up to date.
    #[error("cannot bring the database up to date")]
    Migration {
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

impl OpenError {
    /// What to do about it, in one sentence.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Directory { .. } => {
                "Choose a directory that this user may write to, or make it one."
            }
            Self::Key { .. } => {
                "Restore the file `key` of the data directory from a copy; without it the stored credentials are lost."
            }
            Self::Database { .. } => {
                "Check that the file is a Holdfast database, readable and not on a full disk."
            }
            Self::Newer { .. } => {
                "Start that newer version again; going back needs a copy of the data directory from before the upgrade."
            }
            Self::Migration { .. } => {
                "Restore the data directory from a copy and report this: an upgrade should not fail."
            }
        }
    }
}
