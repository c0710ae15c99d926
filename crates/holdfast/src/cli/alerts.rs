//! The words about alerts and whom they reach.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::age;

/// `holdfast alerts`.
#[derive(Debug, Args)]
pub(crate) struct Alerts {
    /// Also list those that are over.
    #[arg(long)]
    pub(crate) all: bool,
    /// How many at most.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub(crate) limit: u32,
}

/// `holdfast alert …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Alert {
    /// Take an alert on, so that others know that somebody does.
    Ack(AlertId),
    /// Set whether a rule is watched, and how long a trouble must last before there is an alert.
    Rule {
        /// The rule, as `alert rules` lists it.
        name: String,
        /// How long, such as `90m` or `24h`; `0m` for at once.
        #[arg(long, value_name = "AGE", value_parser = age::seconds)]
        grace: Option<u64>,
        /// Watch it.
        #[arg(long, conflicts_with = "off")]
        on: bool,
        /// Do not watch it.
        #[arg(long)]
        off: bool,
    },
    /// List the rules.
    Rules,
    /// Show everything known about an alert.
    Show(AlertId),
    /// Have nobody told for a while. Without a subject it covers all alerts.
    Silence(Silence),
    /// List the silences that have not ended.
    Silences,
    /// End a silence.
    Unsilence {
        /// The silence's id, or its beginning.
        id: String,
    },
}

/// An alert.
#[derive(Debug, Args)]
pub(crate) struct AlertId {
    /// The alert's id, or enough of its beginning, as `alerts` lists it.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// `holdfast alert silence`.
#[derive(Debug, Args)]
pub(crate) struct Silence {
    /// Only this alert, by id or enough of its beginning.
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Only alerts of this host.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Only alerts of this source group of the host.
    #[arg(long, value_name = "NAME", requires = "host")]
    pub(crate) group: Option<String>,
    /// Only alerts of this rule.
    #[arg(long, value_name = "RULE")]
    pub(crate) rule: Option<String>,
    /// For how long, such as `8h`; at most 90 days.
    #[arg(long = "for", value_name = "AGE", value_parser = age::seconds)]
    pub(crate) length: u64,
    /// Why, for those who wonder.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// `holdfast channel …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    /// Add a channel. It tells of what happens from now on.
    Add {
        /// What the channel is called.
        name: String,
        /// A file with the settings as JSON, such as `{"kind":"slack","url":"https://…"}`; `-` reads
        /// standard input. See docs/alerts.md for the kinds.
        #[arg(long, value_name = "FILE", required_unless_present = "address_file")]
        settings_file: Option<PathBuf>,
        /// A file with an address as Apprise writes it, such as `ntfys://host/topic`, instead of
        /// settings; `-` reads standard input.
        #[arg(long, value_name = "FILE", conflicts_with = "settings_file")]
        address_file: Option<PathBuf>,
        /// Only alerts at least this grave: `info`, `warning` or `critical`.
        #[arg(long, value_name = "SEVERITY", default_value = "warning")]
        severity: String,
        /// Only of this host.
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// Only of this source group of the host.
        #[arg(long, value_name = "NAME", requires = "host")]
        group: Option<String>,
    },
    /// Show or set when a channel gets its digest: what became of the backups since the last one.
    Digest {
        /// The channel's name.
        #[arg(value_name = "CHANNEL")]
        channel: String,
        /// Send it.
        #[arg(long, conflicts_with = "off")]
        on: bool,
        /// Do not send it.
        #[arg(long)]
        off: bool,
        /// When, as a cron expression of five fields, such as `0 8 * * 1`.
        #[arg(long, value_name = "CRON")]
        cron: Option<String>,
        /// The zone in which that is read, such as Europe/Berlin.
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
        /// Show the digest that would be sent now.
        #[arg(long, conflicts_with_all = ["on", "off", "cron", "zone"])]
        preview: bool,
    },
    /// List what was sent by a channel and what became of it.
    Log(ChannelName),
    /// Remove a channel and its log.
    Remove(ChannelName),
    /// Send a test message and tell whether it arrived.
    Test(ChannelName),
}

/// A channel by name or id.
#[derive(Debug, Args)]
pub(crate) struct ChannelName {
    /// The channel's name.
    #[arg(value_name = "CHANNEL")]
    pub(crate) channel: String,
}
