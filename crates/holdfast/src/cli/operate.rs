//! The words for work on repositories and snapshots.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Whether to follow the ordered job.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Follow {
    /// Follow the job and exit as it ends: 0 when it succeeded, 3 when it did a part, else 1.
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Which host works on a repository.
#[derive(Debug, Clone, Args)]
pub(crate) struct Runner {
    /// The repository's name.
    #[arg(value_name = "REPOSITORY")]
    pub(crate) name: String,
    /// The host that does it; the first that is online and uses the repository, when not given.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Whether to follow it.
    #[command(flatten)]
    pub(crate) follow: Follow,
}

/// `holdfast repo check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Where.
    #[command(flatten)]
    pub(crate) runner: Runner,
    /// How much of the data itself to read: `all`, a share such as `5%`, or a part such as `3/10`.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) read_data: Option<String>,
}

/// `holdfast repo maintain`.
#[derive(Debug, Args)]
pub(crate) struct Maintain {
    /// The repository's name.
    #[arg(value_name = "REPOSITORY")]
    pub(crate) name: String,
    /// What to do at a cadence.
    #[arg(value_enum)]
    pub(crate) operation: Upkeep,
    /// Five fields: minute, hour, day of month, month, day of week. Without it, what is set, or
    /// else what the server suggests.
    #[arg(long, value_name = "EXPR")]
    pub(crate) cron: Option<String>,
    /// The time zone the expression is read in, such as `Europe/Berlin`.
    #[arg(long, value_name = "IANA")]
    pub(crate) zone: Option<String>,
    /// Start it only at this time of the day, such as `22:00-06:00`; `any` lifts that.
    #[arg(long, value_name = "FROM-UNTIL")]
    pub(crate) window: Option<String>,
    /// How much of the data itself a check reads: `all`, a share such as `5%`, or a part `3/10`.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) read_data: Option<String>,
    /// Keep it and do not run it.
    #[arg(long)]
    pub(crate) off: bool,
}

/// What keeps a repository in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Upkeep {
    /// Look whether it is whole.
    Check,
    /// Remove the snapshots that the rules of their source groups do not keep.
    Forget,
    /// Delete the data that no snapshot needs any more.
    Prune,
}

impl Upkeep {
    /// The word of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Forget => "forget",
            Self::Prune => "prune",
        }
    }
}

/// A repository by name or id.
#[derive(Debug, Args)]
pub(crate) struct RepositoryName {
    /// The repository's name.
    #[arg(value_name = "REPOSITORY")]
    pub(crate) name: String,
}

/// `holdfast repo prune`.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Where.
    #[command(flatten)]
    pub(crate) runner: Runner,
    /// How much unused data may stay: a share such as `5%`, `unlimited`, or bytes.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) max_unused: Option<String>,
    /// Delete nothing; tell what would be freed.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `holdfast repo stats`.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Where.
    #[command(flatten)]
    pub(crate) runner: Runner,
    /// Measure what is stored, not what a restore would write.
    #[arg(long)]
    pub(crate) raw: bool,
}

/// `holdfast repo unlock`.
#[derive(Debug, Args)]
pub(crate) struct Unlock {
    /// Where.
    #[command(flatten)]
    pub(crate) runner: Runner,
    /// Also remove locks of those who live: their work may then destroy what others do.
    #[arg(long)]
    pub(crate) all: bool,
}

/// `holdfast forget`.
#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// The host whose snapshots are meant.
    pub(crate) host: String,
    /// Only snapshots of this source group.
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// This snapshot; may be given several times. Otherwise those that the rules do not keep.
    #[arg(long = "snapshot", value_name = "ID", conflicts_with_all = ["keep", "group"])]
    pub(crate) snapshots: Vec<String>,
    /// The repository, when the host uses several.
    #[arg(long, value_name = "NAME")]
    pub(crate) repo: Option<String>,
    /// A rule, such as `last=10`, `daily=7`, `weekly=5`, `monthly=12` or `within=30d`; may be given
    /// several times. A snapshot stays when any rule keeps it. Without one, the source group's own
    /// rules.
    #[arg(long, value_name = "RULE")]
    pub(crate) keep: Vec<String>,
    /// Remove nothing; tell what would go.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Whether to follow it.
    #[command(flatten)]
    pub(crate) follow: Follow,
}

/// `holdfast tag`.
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The host whose snapshots are meant.
    pub(crate) host: String,
    /// The snapshots, by id.
    #[arg(value_name = "SNAPSHOT", required = true)]
    pub(crate) snapshots: Vec<String>,
    /// Add this tag; may be given several times.
    #[arg(long, value_name = "TAG")]
    pub(crate) add: Vec<String>,
    /// Remove this tag; may be given several times.
    #[arg(long, value_name = "TAG", conflicts_with = "add")]
    pub(crate) remove: Vec<String>,
    /// Replace all tags by this one; may be given several times. `--set ''` leaves none.
    #[arg(long, value_name = "TAG", conflicts_with_all = ["add", "remove"])]
    pub(crate) set: Option<Vec<String>>,
    /// The repository, when the snapshots' ids do not tell it.
    #[arg(long, value_name = "NAME")]
    pub(crate) repo: Option<String>,
    /// Whether to follow it.
    #[command(flatten)]
    pub(crate) follow: Follow,
}

/// `holdfast repo credentials`.
#[derive(Debug, Args)]
pub(crate) struct Credentials {
    /// The repository's name.
    #[arg(value_name = "REPOSITORY")]
    pub(crate) name: String,
    /// What they are for.
    #[arg(long, value_enum, value_name = "SLOT")]
    pub(crate) slot: Slot,
    /// A file that holds another location of the same repository, such as one with another user.
    #[arg(long, value_name = "FILE")]
    pub(crate) url_file: Option<PathBuf>,
    /// A file that holds the password; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// A file of NAME=VALUE lines with the backend's credentials, all of them.
    #[arg(long, value_name = "FILE")]
    pub(crate) environment_file: Option<PathBuf>,
    /// A file with the certificates that the backend's own must be signed by, PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Clear the slot: all of `admin`; of `repo` all but the location and the password.
    #[arg(long, conflicts_with_all = ["url_file", "password_file", "environment_file", "ca_file"])]
    pub(crate) clear: bool,
}

/// What credentials are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Slot {
    /// What differs for work that deletes: forget, prune, tag, unlock.
    Admin,
    /// Everyday work.
    Repo,
}

impl Slot {
    /// The word of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Repo => "repo",
        }
    }
}
