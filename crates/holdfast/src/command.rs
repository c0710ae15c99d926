//! What each command does.
//!
//! `server` and `token create --data` work on a data directory; everything else is a question or an
//! order to a server, carried by an [`Operator`].

mod alerts;
mod audit;
mod channels;
mod foreign;
mod group;
mod hosts;
mod jobs;
mod maintain;
mod oidc;
mod operate;
mod repo;
mod restore;
mod run;
mod schedule;
mod server;
mod server_copy;
mod snapshots;
mod token;
mod user;
mod why;

use std::process::ExitCode;

use holdfast_protocol::message::config::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    cli::{self, Cli, Command, Global},
    client::{ApiError, Client, parse},
    failure::{Failure, chain},
    input,
    model::Hosts,
    output::Screen,
    suggest,
};

/// Somebody at a terminal (or a script) with a server to speak to.
pub(crate) struct Operator {
    client: Client,
    screen: Screen,
}

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Server(cli::Server { copy: Some(copy), .. }) => {
            server_copy::run(&copy, &Screen::new(cli.global.json))
        }
        Command::Server(args) => server::run(&args),
        Command::Token(cli::Token::Create { name, role, data: Some(data), .. }) => {
            token::create_here(&name, role, &data, &Screen::new(cli.global.json))
        }
        command => {
            let operator = Operator::new(&cli.global)?;
            runtime()?.block_on(operator.run(command))
        }
    }
}

/// A runtime for one command: it waits for answers, so one thread is plenty.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failure::new(
            format!("The program could not start: {}.", chain(&error)),
            "Check this user's limits on open files and processes (`ulimit -a`).",
        )
    })
}

impl Operator {
    fn new(global: &Global) -> Result<Self, Failure> {
        let client = Client::new(global.server()?, token(global)?)?;
        Ok(Self { client, screen: Screen::new(global.json) })
    }

    async fn run(&self, command: Command) -> Result<ExitCode, Failure> {
        match command {
            Command::Alert(command) => alerts::run(self, &command).await?,
            Command::Alerts(filter) => alerts::list(self, &filter).await?,
            Command::Audit(command) => return audit::run(self, &command).await,
            Command::Cancel(job) => jobs::ask(self, &job.id, jobs::Request::Cancel).await?,
            Command::Channel(command) => return channels::run(self, &command).await,
            Command::Channels => channels::list(self).await?,
            Command::Forget(args) => return operate::forget(self, &args).await,
            Command::Group(command) => group::run(self, &command).await?,
            Command::Host(command) => hosts::run(self, &command).await?,
            Command::Hosts => hosts::list(self).await?,
            Command::Job(job) => jobs::show(self, &job.id).await?,
            Command::Jobs(filter) => jobs::list(self, &filter).await?,
            Command::Logs(job) => jobs::logs(self, &job.id).await?,
            Command::Oidc(command) => oidc::run(self, &command).await?,
            Command::Pause(job) => jobs::ask(self, &job.id, jobs::Request::Pause).await?,
            Command::Repo(command) => return repo::run(self, &command).await,
            Command::Repos => repo::list(self).await?,
            Command::Restore(args) => return restore::run(self, &args).await,
            Command::Resume(job) => jobs::ask(self, &job.id, jobs::Request::Resume).await?,
            Command::Run(args) => return run::run(self, &args).await,
            Command::Schedule(command) => schedule::run(self, &command).await?,
            Command::Server(_) => unreachable!("handled without a server"),
            Command::Snapshots(args) => snapshots::run(self, &args).await?,
            Command::Tag(args) => return operate::tag(self, &args).await,
            Command::Token(command) => token::run(self, &command).await?,
            Command::User(command) => user::run(self, &command).await?,
            Command::Why(group) => why::tell(self, &group).await?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// `answer` as a `T`, for showing it to a person.
    fn read<T: DeserializeOwned>(&self, answer: &Value) -> Result<T, Failure> {
        parse(answer).ok_or_else(|| {
            Failure::new(
                format!("The answer of {} is not what this program knows.", self.client.server()),
                "Use the `holdfast` program of the server's version.",
            )
        })
    }

    /// The failure to show when something about `host` did not work: a misspelt name gets a hint.
    async fn about_host(&self, host: &str, error: ApiError) -> Failure {
        if error.code() != Some("host_not_found") {
            return error.into();
        }
        match self.host_like(host).await {
            Some(name) => Failure::from(error).with_action(format!("Did you mean `{name}`?")),
            None => error.into(),
        }
    }

    /// The answer to a question about `host`.
    async fn ask(
        &self,
        host: &str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        match self.client.fetch(path, query).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.about_host(host, error).await),
        }
    }

    async fn host_like(&self, host: &str) -> Option<String> {
        let answer = self.client.fetch_hosts().await.ok()?;
        let hosts: Hosts = parse(&answer)?;
        let names = hosts.hosts.iter().map(|host| host.name.as_str());
        suggest::nearest(host, names).map(str::to_owned)
    }
}

/// The API token: `--token-file`, else HOLDFAST_TOKEN.
fn token(global: &Global) -> Result<Secret, Failure> {
    if let Some(file) = &global.token_file {
        return input::secret(file, "API token");
    }
    match std::env::var("HOLDFAST_TOKEN") {
        Ok(token) if !token.trim().is_empty() => Ok(Secret::new(token.trim())),
        _ => Err(Failure::new(
            "No API token is given.",
            "Set HOLDFAST_TOKEN, or use --token-file; `holdfast token create` makes a token.",
        )),
    }
}
