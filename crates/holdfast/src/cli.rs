//! The words of the command line.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    value_parser,
};
use holdfast_server::alert::guard::Range;
use url::Url;

use crate::failure::Failure;

mod age;

/// The id of the option that names the server; its long form is `--url`.
const SERVER_URL: &str = "server_url";

/// Where the server is when nobody says.
const DEFAULT_URL: &str = "http://127.0.0.1:7400";

/// Keeps fleets of machines backed up.
///
/// `holdfast server` is the control plane; every other command speaks to one over its REST API.
/// The API token is read from HOLDFAST_TOKEN or --token-file, never from the command line, where
/// every user of the machine could read it.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, propagate_version = true)]
pub(crate) struct Cli {
    /// Where and how to speak to the server.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads a command line.
    ///
    /// # Errors
    /// clap's, which is also how `--help` and `--version` come back.
    pub(crate) fn read(
        line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let matches = with_server_url(Self::command()).try_get_matches_from(line)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.global.url = server_url(&matches);
        Ok(cli)
    }
}

/// Gives every command that speaks to a server the option `--url`.
///
/// clap's own global options cannot do it: in `repo add`, `--url` is the repository's. There the
/// server's comes before the command (`holdfast --url … repo add …`) or from the environment.
fn with_server_url(command: clap::Command) -> clap::Command {
    let command = command.mut_subcommands(with_server_url);
    let local = ["server", "backup", "restore"].contains(&command.get_name());
    if local || command.get_arguments().any(|arg| arg.get_long() == Some("url")) {
        return command;
    }
    command.arg(
        Arg::new(SERVER_URL)
            .long("url")
            .value_name("URL")
            .value_parser(value_parser!(Url))
            .help(format!("The server's address [env: HOLDFAST_URL] [default: {DEFAULT_URL}]")),
    )
}

/// The server's address as given nearest to the command's end.
fn server_url(matches: &ArgMatches) -> Option<Url> {
    let here = matches.try_get_one::<Url>(SERVER_URL).ok().flatten().cloned();
    let deeper = matches.subcommand().and_then(|(_, matches)| server_url(matches));
    deeper.or(here)
}

impl Global {
    /// The server's address: `--url`, else HOLDFAST_URL, else this machine.
    pub(crate) fn server(&self) -> Result<Url, Failure> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        let text = std::env::var("HOLDFAST_URL").unwrap_or_default();
        let text = if text.is_empty() { DEFAULT_URL } else { &text };
        Url::parse(text).map_err(|error| {
            Failure::new(
                format!("HOLDFAST_URL is not an address: {error}."),
                format!("Set it to something like {DEFAULT_URL}, or use --url."),
            )
        })
    }
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The server's address, from `--url` or HOLDFAST_URL; see [`with_server_url`].
    #[arg(skip)]
    pub(crate) url: Option<Url>,
    /// A file that holds the API token; `-` reads standard input. Wins over HOLDFAST_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Print the API's answer as one JSON document.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what somebody has to mend.
    Alerts(Alerts),
    /// Take an alert on, silence it, or set what is watched.
    #[command(subcommand)]
    Alert(Alert),
    /// List the channels by which people are told.
    Channels,
    /// Add, try or remove a channel.
    #[command(subcommand)]
    Channel(Channel),
    /// Tell who did what, and whether that was tampered with.
    #[command(subcommand)]
    Audit(Audit),
    /// Run the control plane: links to all agents, REST API and dashboard.
    Server(Server),
    /// Make, list or remove API tokens.
    #[command(subcommand)]
    Token(Token),
    /// Make, list, change or remove users.
    #[command(subcommand)]
    User(User),
    /// List the hosts.
    Hosts,
    /// Add, show or remove a host.
    #[command(subcommand)]
    Host(Host),
    /// List the repositories.
    Repos,
    /// Add a repository.
    #[command(subcommand)]
    Repo(Repo),
    /// Say what of a host is backed up.
    #[command(subcommand)]
    Group(Group),
    /// Say when a source group is backed up.
    #[command(subcommand)]
    Schedule(Schedule),
    /// Bring files back from a snapshot.
    Restore(Restore),
    /// Back up a source group now.
    Run(Run),
    /// List jobs, the newest first.
    Jobs(Jobs),
    /// Show everything known about a job.
    Job(JobId),
    /// Show a job's log.
    Logs(JobId),
    /// End a job. What it has stored so far stays in the repository for the next run.
    Cancel(JobId),
    /// Stop a running job where it stands.
    Pause(JobId),
    /// Let a paused job go on.
    Resume(JobId),
    /// List a host's snapshots, the newest first.
    Snapshots(HostName),
    /// Tell why a source group is protected or not, and what became of its due backups.
    Why(GroupName),
}

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

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
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
        #[arg(long, value_name = "FILE")]
        settings_file: PathBuf,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        Cli::read(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        with_server_url(Cli::command()).debug_assert();
    }

    #[test]
    fn a_group_takes_several_includes_and_excludes() {
        let line = "holdfast group add web-1 etc --repo main --include /etc /srv --exclude *.tmp";
        let cli = read(line).unwrap();
        let Command::Group(Group::Add { include, exclude, .. }) = cli.command else {
            panic!("parsed as {:?}", cli.command);
        };
        assert_eq!(include, ["/etc", "/srv"]);
        assert_eq!(exclude, ["*.tmp"]);
    }

    #[test]
    fn no_command_takes_a_token_as_an_argument() {
        for line in ["holdfast hosts --token x", "holdfast --token x hosts"] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn json_may_follow_the_command() {
        assert!(read("holdfast host add web-1 --json").unwrap().global.json);
    }

    #[test]
    fn the_server_may_be_named_before_or_after_the_command() {
        for line in ["holdfast --url http://a hosts", "holdfast host --url http://a add web-1"] {
            let url = read(line).unwrap().global.url.unwrap();
            assert_eq!(url.as_str(), "http://a/", "{line}");
        }
        let both = read("holdfast --url http://a jobs --url http://b").unwrap();
        assert_eq!(both.global.url.unwrap().as_str(), "http://b/");
    }

    #[test]
    fn the_url_of_a_new_repository_is_not_the_servers() {
        let line = "holdfast --url http://a repo add main --url /srv/backup --password-file -";
        let cli = read(line).unwrap();
        assert_eq!(cli.global.url.unwrap().as_str(), "http://a/");
        let Command::Repo(Repo::Add(add)) = cli.command else { panic!("another command") };
        assert_eq!(add.url.as_deref(), Some("/srv/backup"));
    }
}
