//! The words of `holdfast server`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use holdfast_server::alert::guard::Range;

/// `holdfast server`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Server {
    /// Back the control plane up, or bring it back.
    #[command(subcommand)]
    pub(crate) copy: Option<ServerCopy>,
    /// The directory that holds everything the server must keep. Made when it does not exist.
    #[arg(long, value_name = "DIR", required = true)]
    pub(crate) data: Option<PathBuf>,
    /// The address to listen at; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    pub(crate) listen: String,
    /// A network inside that notifications may go to, such as `192.168.1.5` or `10.0.0.0/8`. May be
    /// given several times. All else that is not public is closed to them.
    #[arg(long, value_name = "NETWORK")]
    pub(crate) notify_allow: Vec<Range>,
    /// A proxy before the server, such as `127.0.0.1` or `10.0.0.0/8`. Only its word counts about
    /// who a browser is (X-Forwarded-For) and whether it speaks HTTPS (X-Forwarded-Proto). May be
    /// given several times.
    #[arg(long, value_name = "NETWORK")]
    pub(crate) trusted_proxy: Vec<Range>,
    /// A name that browsers may ask this server by, such as `backup.example`. May be given several
    /// times; any other name is then refused, so that no page elsewhere can have its own name lead
    /// here. Addresses and `localhost` always count. Without it every name counts, unless the
    /// server listens at a loopback address.
    #[arg(long, value_name = "NAME")]
    pub(crate) host_name: Vec<String>,
    /// Answer `/metrics` to everybody. Otherwise it takes an API token of the role viewer.
    #[arg(long)]
    pub(crate) metrics_public: bool,
    /// How log lines on standard error look. HOLDFAST_LOG sets which (default: info).
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// `holdfast server backup` and `holdfast server restore`.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerCopy {
    /// Put a copy of the control plane into a restic repository. The server may be running.
    Backup(CopyArgs),
    /// Bring the control plane back into an empty data directory.
    Restore {
        /// Where the copy is and where it goes.
        #[command(flatten)]
        copy: CopyArgs,
        /// The snapshot; the newest when left out.
        #[arg(long, value_name = "ID", default_value = "latest")]
        snapshot: String,
    },
}

/// Where the control plane's own copy goes, and what opens it.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The server's data directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// A file that holds restic's repository location.
    #[arg(long, value_name = "FILE")]
    pub(crate) repo_file: PathBuf,
    /// A file that holds the repository's password.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: PathBuf,
    /// A file that holds the passphrase under which the key is sealed. Keep it elsewhere too:
    /// without it the copy opens no stored credential.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: PathBuf,
    /// A file of NAME=VALUE lines with the backend's credentials.
    #[arg(long, value_name = "FILE")]
    pub(crate) environment_file: Option<PathBuf>,
    /// restic's program.
    #[arg(long, value_name = "FILE", default_value = "restic")]
    pub(crate) restic: PathBuf,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
