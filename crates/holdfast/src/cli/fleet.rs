//! The words about hosts, repositories, source groups and schedules.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use url::Url;

use super::{age, operate};

/// `holdfast host …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Host {
    /// Add a host and print the command that enrols it.
    Add(HostAdd),
    /// Make a new enrolment token for a host. Its agent stays valid until the token is used.
    Renew(HostName),
    /// Show everything known about a host.
    Show(HostName),
    /// Remove a host: its agent is turned away from now on. Its snapshots stay in the repository.
    Remove(HostName),
}

/// A host by name or id.
#[derive(Debug, Args)]
pub(crate) struct HostName {
    /// The host's name.
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
}

/// `holdfast host add`.
#[derive(Debug, Args)]
pub(crate) struct HostAdd {
    /// The host's name.
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
    /// The words its agent speaks, when it is an agent of another system.
    #[arg(long, value_enum, value_name = "DIALECT")]
    pub(crate) dialect: Option<Dialect>,
    /// Where the server dials the agent, such as ws://host:8080/ws. Only with `--dialect local`.
    #[arg(long, value_name = "URL", requires = "dialect")]
    pub(crate) address: Option<Url>,
    /// A file with what the server shows at that address; `-` reads standard input.
    #[arg(long, value_name = "FILE", requires = "address")]
    pub(crate) address_token_file: Option<PathBuf>,
}

/// The words of another system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// Backupy: protobuf over /v1/agents/connect.
    Backupy,
    /// The plain request/response envelope over /connect.
    Envelope,
    /// An agent that listens at /ws; the server dials it.
    Local,
    /// NerdBackup: JSON over /ws/agent.
    Nerdbackup,
}

impl Dialect {
    /// The word for it in the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Backupy => "backupy",
            Self::Envelope => "envelope",
            Self::Local => "local",
            Self::Nerdbackup => "nerdbackup",
        }
    }
}

/// `holdfast repo …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Repo {
    /// Add a repository. restic creates it at the first backup when it does not exist.
    Add(RepoAdd),
    /// Look whether a repository is whole.
    Check(operate::Check),
    /// Change what opens a repository, for everyday work or for work that deletes.
    Credentials(operate::Credentials),
    /// Create a repository, or find that it is there.
    Init(operate::Runner),
    /// Set when a repository is kept in order.
    Maintain(operate::Maintain),
    /// Delete the data that no snapshot needs any more.
    Prune(operate::Prune),
    /// Show everything known about a repository.
    Show(operate::RepositoryName),
    /// Measure what is stored.
    Stats(operate::Stats),
    /// Remove abandoned locks.
    Unlock(operate::Unlock),
}

/// `holdfast repo add`.
#[derive(Debug, Args)]
pub(crate) struct RepoAdd {
    /// What the repository is called.
    pub(crate) name: String,
    /// restic's repository location, such as `/srv/backup` or `sftp:user@host:/srv/backup`.
    #[arg(long, value_name = "URL", required_unless_present = "url_file")]
    pub(crate) url: Option<String>,
    /// A file that holds the location, for one that carries a password.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub(crate) url_file: Option<PathBuf>,
    /// A file that holds the repository's password; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: PathBuf,
    /// A file of NAME=VALUE lines with the backend's credentials, such as AWS_ACCESS_KEY_ID.
    #[arg(long, value_name = "FILE")]
    pub(crate) environment_file: Option<PathBuf>,
}

/// `holdfast group …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// Add a source group to a host.
    Add {
        /// The host's name.
        host: String,
        /// What the source group is called; also the tag of its snapshots.
        name: String,
        /// The repository its snapshots go to.
        #[arg(long, value_name = "NAME")]
        repo: String,
        /// Absolute paths to back up.
        #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
        include: Vec<String>,
        /// restic exclude patterns.
        #[arg(long, value_name = "PATTERN", num_args = 1..)]
        exclude: Vec<String>,
    },
    /// List a host's source groups.
    List(HostName),
    /// Say how old a source group's newest snapshot may be.
    Set {
        /// The source group.
        #[command(flatten)]
        target: GroupName,
        /// The greatest age, such as `26h` or `7d`; `default` lets the schedule decide.
        #[arg(long, value_name = "AGE", value_parser = age::parse)]
        objective: Age,
    },
    /// Remove a source group and its schedule. Its snapshots stay.
    Remove(GroupName),
}

/// How old a snapshot may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// As the schedule says.
    Default,
    /// In seconds.
    Seconds(u64),
}

/// A source group of a host.
#[derive(Debug, Args)]
pub(crate) struct GroupName {
    /// The host's name.
    pub(crate) host: String,
    /// The source group's name.
    pub(crate) group: String,
}

/// `holdfast schedule …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Set when a source group is backed up.
    Set {
        /// The source group.
        #[command(flatten)]
        target: GroupName,
        /// Five fields: minute, hour, day of month, month, day of week.
        #[arg(long, value_name = "EXPR")]
        cron: String,
        /// The time zone the expression is read in, such as `Europe/Berlin`.
        #[arg(long, value_name = "IANA", default_value = "UTC")]
        zone: String,
        /// Keep the schedule but do not run it.
        #[arg(long)]
        disabled: bool,
    },
    /// Back up the source group only when somebody asks.
    Remove(GroupName),
}
