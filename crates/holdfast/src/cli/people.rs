//! The words about people, their tokens and what they did.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::age;

/// `holdfast audit …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List who did what, the newest first.
    List {
        /// Only of this user, API token or host.
        #[arg(long, value_name = "NAME")]
        actor: Option<String>,
        /// Only this action, such as `host.add`, or all of a noun, such as `host`.
        #[arg(long, value_name = "ACTION")]
        action: Option<String>,
        /// How many at most.
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: u32,
    },
    /// Tell whether an entry was changed, taken out, moved or is missing at the end. Exits with 1
    /// when one was.
    Verify {
        /// What an earlier `audit verify` printed as the anchor.
        #[arg(long, value_name = "SEQ:HASH")]
        anchor: Option<String>,
    },
}

/// `holdfast user …`.
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Make a user.
    Add {
        /// The user's name.
        name: String,
        /// What the user may do.
        #[arg(long, value_enum)]
        role: Role,
        /// A file that holds the password; `-` reads standard input.
        #[arg(long, value_name = "FILE")]
        password_file: PathBuf,
        /// Only on hosts of this host group. May be given several times.
        #[arg(long, value_name = "NAME")]
        host_group: Vec<String>,
    },
    /// List the users.
    List,
    /// Change a user, who is signed out everywhere.
    Set {
        /// The user's name.
        name: String,
        /// What the user may do.
        #[arg(long, value_enum)]
        role: Option<Role>,
        /// A file that holds a new password; `-` reads standard input.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Only on hosts of this host group; `*` for all. May be given several times.
        #[arg(long, value_name = "NAME")]
        host_group: Vec<String>,
        /// Keep the user out.
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        /// Let the user in again.
        #[arg(long)]
        enable: bool,
        /// Forget the user's authenticator app.
        #[arg(long)]
        forget_totp: bool,
    },
    /// Remove a user.
    Remove {
        /// The user's name.
        name: String,
    },
}

/// `holdfast token …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it. It cannot be shown again.
    Create {
        /// What the token is called in lists.
        name: String,
        /// What its bearer may do.
        #[arg(long, value_enum)]
        role: Role,
        /// Only on hosts of this host group. May be given several times.
        #[arg(long, value_name = "NAME", conflicts_with = "data")]
        host_group: Vec<String>,
        /// For how long, such as `90d`; without an end when left out.
        #[arg(long = "for", value_name = "AGE", value_parser = age::seconds, conflicts_with = "data")]
        life: Option<u64>,
        /// The server's data directory, on its own machine: takes no token. The server may be
        /// running.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// List the tokens.
    List,
    /// Remove a token: its bearer is turned away from now on.
    Remove {
        /// The token's name or id.
        token: String,
    },
}

/// What a token's bearer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// See everything but secrets.
    Viewer,
    /// Also start, pause and end jobs.
    Operator,
    /// Also change hosts, repositories, source groups and schedules.
    Admin,
}

impl Role {
    /// The word in the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}
