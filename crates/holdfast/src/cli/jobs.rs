//! The words about jobs.

use clap::{Args, ValueEnum};

/// `holdfast run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The host's name.
    pub(crate) host: String,
    /// The source group to back up.
    #[arg(long, value_name = "NAME")]
    pub(crate) group: String,
    /// Follow the job. Exits with 0 when it succeeded, 3 when some files could not be read, 1 when
    /// it failed or was cancelled. Ctrl-C ends the following, not the job.
    #[arg(long)]
    pub(crate) wait: bool,
}

/// `holdfast restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The host to restore on.
    pub(crate) host: String,
    /// The snapshot's id, or its beginning; `latest` for the newest of the host.
    pub(crate) snapshot: String,
    /// Take the snapshot of this other host, which may be gone for good.
    #[arg(long, value_name = "HOST")]
    pub(crate) from: Option<String>,
    /// The newest snapshot of this source group, when `latest` is asked for.
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Only this file or directory, absolute; may be given several times. All when not given.
    #[arg(long = "path", value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// A directory on the host, below one of its restore roots. Without it, and without
    /// `--original`, files go into a new directory below the host's first restore root.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<String>,
    /// Put the files where they were. The host's own policy has to allow it.
    #[arg(long, conflicts_with = "to")]
    pub(crate) original: bool,
    /// What happens to files that are there already.
    #[arg(long, value_enum, value_name = "RULE", default_value_t = Overwrite::Always)]
    pub(crate) overwrite: Overwrite,
    /// The repository, when the snapshot's id does not tell it.
    #[arg(long, value_name = "NAME")]
    pub(crate) repo: Option<String>,
    /// Write nothing; tell what would be done. Needs restic 0.17 on the host.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read the restored files again and compare.
    #[arg(long)]
    pub(crate) verify: bool,
    /// How much it may download, in KiB per second.
    #[arg(long, value_name = "KIB")]
    pub(crate) limit_download: Option<u32>,
    /// Follow the job, and exit as it ends: 0 when all is restored, 3 when something was left out,
    /// 1 when it failed.
    #[arg(long)]
    pub(crate) wait: bool,
}

/// What a restore does to files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Overwrite {
    /// Replace them.
    Always,
    /// Replace those whose size or time differs.
    IfChanged,
    /// Replace those that are older than the snapshot's.
    IfNewer,
    /// Leave them.
    Never,
}

impl Overwrite {
    /// The word of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::IfChanged => "if_changed",
            Self::IfNewer => "if_newer",
            Self::Never => "never",
        }
    }
}

/// `holdfast jobs`.
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Only jobs of this host.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Only jobs in this state, such as `running` or `failed`.
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// How many at most.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub(crate) limit: u32,
}

/// A job.
#[derive(Debug, Args)]
pub(crate) struct JobId {
    /// The job's id, as `holdfast run` and `holdfast jobs` print it.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}
