//! The words of the command line.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, value_parser,
};
use url::Url;

use crate::failure::Failure;

mod age;
mod alerts;
mod fleet;
mod jobs;
mod oidc;
pub(crate) mod operate;
mod people;
mod server;
mod snapshots;

pub(crate) use alerts::{Alert, Alerts, Channel, ChannelName, Silence};
pub(crate) use fleet::{Age, Dialect, Group, GroupName, Host, HostAdd, Repo, RepoAdd, Schedule};
pub(crate) use jobs::{JobId, Jobs, Restore, Run};
pub(crate) use oidc::{Oidc, OidcSet};
pub(crate) use people::{Audit, Role, Token, User};
pub(crate) use server::{CopyArgs, LogFormat, Server, ServerCopy};
pub(crate) use snapshots::{Look, Snapshot, Snapshots};

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
    // It is the server, and so are its `backup` and `restore`: they speak to nobody.
    if command.get_name() == "server" {
        return command;
    }
    let command = command.mut_subcommands(with_server_url);
    if command.get_arguments().any(|arg| arg.get_long() == Some("url")) {
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
    /// Have people sign in by an identity provider (OpenID Connect).
    #[command(subcommand)]
    Oidc(Oidc),
    /// List the hosts.
    Hosts,
    /// Add, show or remove a host.
    #[command(subcommand)]
    Host(Host),
    /// List the repositories.
    Repos,
    /// Add a repository, or work on one.
    #[command(subcommand)]
    Repo(Repo),
    /// Say what of a host is backed up.
    #[command(subcommand)]
    Group(Group),
    /// Say when a source group is backed up.
    #[command(subcommand)]
    Schedule(Schedule),
    /// Remove snapshots of a host. Their data stays until a prune.
    Forget(operate::Forget),
    /// Change the tags of snapshots. They get new ids by that.
    Tag(operate::Tag),
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
    /// List a host's snapshots, or look into one: ls, find, diff, download.
    Snapshots(Snapshots),
    /// Tell why a source group is protected or not, and what became of its due backups.
    Why(GroupName),
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
    fn snapshots_are_listed_or_looked_into() {
        let snapshots = |line: &str| match read(line).unwrap().command {
            Command::Snapshots(args) => args,
            other => panic!("parsed as {other:?}"),
        };
        let listed = snapshots("holdfast snapshots web-1");
        assert_eq!((listed.host.as_deref(), listed.look.is_none()), (Some("web-1"), true));
        let looked = snapshots("holdfast snapshots ls web-1 0123abcd --url http://a");
        let Some(Look::Ls { snapshot, path }) = looked.look else { panic!("not ls") };
        assert_eq!((snapshot.host.as_str(), path.as_str()), ("web-1", "/"));
        let found = snapshots("holdfast snapshots find web-1 latest -x*");
        assert!(matches!(found.look, Some(Look::Find { pattern, .. }) if pattern == "-x*"));
        assert!(read("holdfast snapshots").is_err());
        assert!(read("holdfast snapshots download web-1 latest").is_err(), "no path");
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
        let lines = [
            "holdfast --url http://a hosts",
            "holdfast host --url http://a add web-1",
            "holdfast restore web-1 latest --url http://a",
        ];
        for line in lines {
            let url = read(line).unwrap().global.url.unwrap();
            assert_eq!(url.as_str(), "http://a/", "{line}");
        }
        let both = read("holdfast --url http://a jobs --url http://b").unwrap();
        assert_eq!(both.global.url.unwrap().as_str(), "http://b/");
    }

    #[test]
    fn the_server_itself_is_told_of_no_other() {
        for line in ["holdfast server --url http://a", "holdfast server backup --url http://a"] {
            assert!(read(line).is_err(), "{line}");
        }
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
