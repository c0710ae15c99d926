//! The words about what snapshots hold.

use clap::{Args, Subcommand};

/// `holdfast snapshots`.
#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
pub(crate) struct Snapshots {
    /// The host whose snapshots are listed, the newest first.
    #[arg(value_name = "HOST", required = true)]
    pub(crate) host: Option<String>,
    /// What to do instead of listing them.
    #[command(subcommand)]
    pub(crate) look: Option<Look>,
}

/// Looking into snapshots. The host has to be online: only it can read its repository.
#[derive(Debug, Subcommand)]
pub(crate) enum Look {
    /// List a directory of a snapshot.
    Ls {
        /// The snapshot.
        #[command(flatten)]
        snapshot: Snapshot,
        /// The directory, absolute.
        #[arg(value_name = "PATH", default_value = "/")]
        path: String,
    },
    /// Look for names in all of a snapshot.
    Find {
        /// The snapshot.
        #[command(flatten)]
        snapshot: Snapshot,
        /// A part of the name, or with `*` and `?` all of it; with a `/` in it, of the whole path.
        /// Capitals do not matter.
        #[arg(value_name = "PATTERN", allow_hyphen_values = true)]
        pattern: String,
        /// How many at most, up to 1000.
        #[arg(long, value_name = "COUNT", default_value_t = 200)]
        limit: u32,
    },
    /// Tell what changed from one snapshot to another.
    Diff {
        /// The host's name.
        #[arg(value_name = "HOST")]
        host: String,
        /// The snapshot to start from: its id, or its beginning.
        #[arg(value_name = "FROM")]
        from: String,
        /// The snapshot to get to: its id, its beginning, or `latest`.
        #[arg(value_name = "TO")]
        to: String,
        /// Also tell of what has only another owner, mode or time.
        #[arg(long)]
        metadata: bool,
        /// How many changed paths to tell at most, up to 10000.
        #[arg(long, value_name = "COUNT", default_value_t = 1000)]
        limit: u32,
        /// The repository, when the snapshots' ids do not tell it.
        #[arg(long, value_name = "NAME")]
        repo: Option<String>,
    },
    /// Download a file, or a directory as a tar archive. What was broken off goes on.
    Download {
        /// The snapshot.
        #[command(flatten)]
        snapshot: Snapshot,
        /// The file or directory, absolute.
        #[arg(value_name = "PATH")]
        path: String,
        /// Where to; `-` for standard output. Without it, the file's own name, here.
        #[arg(short, long, value_name = "FILE")]
        output: Option<String>,
    },
}

/// A snapshot of a host.
#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    /// The host's name.
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
    /// The snapshot's id, or its beginning; `latest` for the newest of the host.
    #[arg(value_name = "SNAPSHOT")]
    pub(crate) id: String,
    /// The repository, when the snapshot's id does not tell it.
    #[arg(long, value_name = "NAME")]
    pub(crate) repo: Option<String>,
}
