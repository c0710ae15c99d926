//! What all these tests begin with: a server, and a host of another system.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holdfast_e2e::{peer::Peer, stage::Stage, wait};
use serde_json::Value;

/// How long a change may take to be seen, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The host of these tests, and its source group.
pub(crate) const HOST: &str = "their-1";
/// Its source group.
pub(crate) const GROUP: &str = "home";

/// A server with one host of another system, and a peer that plays its agent.
pub(crate) struct Joined {
    /// Ends before its server does.
    pub(crate) peer: Peer,
    /// The server.
    pub(crate) stage: Stage,
    /// The host's id.
    pub(crate) host_id: String,
    /// What its agent shows.
    pub(crate) token: String,
    /// Where it connects.
    pub(crate) url: String,
}

impl Joined {
    /// Adds [`HOST`] with `dialect` by the command line, gives it [`GROUP`] with `include`.
    pub(crate) fn new(dialect: &str, include: &str) -> Result<Self> {
        let stage = Stage::new()?;
        let operator = &stage.fleet.operator;
        let added = operator.json(&["host", "add", HOST, "--dialect", dialect])?;
        let text = |name: &str| {
            let text = added[name].as_str().map(str::to_owned);
            text.with_context(|| format!("no {name} in {added}"))
        };
        let (host_id, token, url) = (text("host_id")?, text("agent_token")?, text("connect_url")?);
        operator.json(&["group", "add", HOST, GROUP, "--repo", "vault", "--include", include])?;
        Ok(Self { peer: Peer::start(dialect)?, stage, host_id, token, url })
    }

    /// Opens the agent's connection.
    pub(crate) fn connect(&mut self) -> Result<()> {
        self.peer.connect(&self.url, &self.token)
    }

    /// Waits until the host is in `state`.
    pub(crate) fn await_host(&self, state: &str) -> Result<Value> {
        self.stage.fleet.operator.await_host(HOST, state, SOON)?;
        self.host()
    }

    /// The host as the operator sees it.
    pub(crate) fn host(&self) -> Result<Value> {
        self.stage.fleet.operator.json(&["host", "show", HOST])
    }

    /// Orders a backup.
    pub(crate) fn run(&self) -> Result<String> {
        self.stage.fleet.operator.run(HOST, GROUP)
    }

    /// Waits until the job looks as it should.
    pub(crate) fn await_job(
        &self,
        job: &str,
        what: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let look = || {
            let job = self.stage.fleet.operator.job(job)?;
            Ok(fits(&job).then_some(job))
        };
        let found = wait::until(what, SOON, look);
        found.with_context(|| format!("{:?}", self.stage.fleet.operator.job(job)))
    }

    /// Waits until the job is in `status`.
    pub(crate) fn await_status(&self, job: &str, status: &str) -> Result<Value> {
        self.await_job(job, status, |job| job["status"] == status)
    }

    /// Jobs of the host, the newest first.
    pub(crate) fn jobs(&self) -> Result<Vec<Value>> {
        let all = self.stage.fleet.operator.json(&["jobs", "--host", HOST])?;
        all["jobs"].as_array().cloned().context("no list of jobs")
    }

    /// A command that must be refused; what it says.
    pub(crate) fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.stage.fleet.operator.command(arguments)?;
        ensure!(!output.status.success(), "`{}` was not refused", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
