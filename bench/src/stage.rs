//! What most scenarios stand on: a server with a seeded fleet, and its light agents.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use holdfast_e2e::{process::Process, programs::Programs};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    account::Account,
    child::{Child, counted},
    operator::Operator,
    role::{Order, Standing},
    seed::{self, Size},
};

/// How long a server may take to read a large fleet.
const START_MAX: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Processes that share the agents, and so the limit of open files.
const FLEETS: usize = 2;

/// A server under test with its data.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    /// Where it listens.
    pub(crate) url: String,
    pub(crate) operator: Operator,
    /// An administrator's token.
    pub(crate) token: String,
    /// Seconds from its start to its first word.
    pub(crate) start_seconds: f64,
    /// Goes last.
    folder: TempDir,
}

impl Server {
    /// Seeds a fleet of `size` and starts a server on it.
    pub(crate) async fn start(programs: &Programs, size: Size) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("holdfast-bench-").tempdir()?;
        let data = folder.path().join("data");
        let token = seed::seed(&data, size).await?;
        let started = Instant::now();
        let mut process = spawn(&programs.holdfast, &data, &folder.path().join("server.log"))?;
        let url = await_ready(&mut process).await?;
        let start_seconds = started.elapsed().as_secs_f64();
        let operator = Operator::new(&url, &token)?;
        Ok(Self { process, url, operator, token, start_seconds, folder })
    }

    /// What it has used so far.
    pub(crate) fn account(&self) -> Result<Account> {
        Account::of(self.process.id())
    }

    /// Where it keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Everything of this run, for programs that need a folder of their own.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    /// Its warnings and errors, each sentence once with how often it was said.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.process.log();
        let mut seen = std::collections::BTreeMap::<String, usize>::new();
        for line in log.lines() {
            if let Some(complaint) = complaint(line) {
                *seen.entry(complaint).or_default() += 1;
            }
        }
        seen.into_iter().map(|(text, count)| format!("{count} x {text}")).collect()
    }
}

/// What a line of the log complains about, without what makes each line differ.
fn complaint(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(" WARN ").or_else(|| line.split_once(" ERROR "))?;
    let words: Vec<&str> = rest.split_whitespace().filter(|word| !word.contains('=')).collect();
    Some(words.join(" ").chars().take(100).collect())
}

fn spawn(program: &Path, data: &Path, log: &Path) -> Result<Process> {
    let mut command = Command::new(program);
    command.args(["server", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    Process::spawn("the server", &mut command, log)
}

async fn await_ready(process: &mut Process) -> Result<String> {
    let started = Instant::now();
    while started.elapsed() < START_MAX {
        process.check_running()?;
        let log = process.log();
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let url = whole.lines().find_map(|line| line.strip_prefix("listening on "));
        if let Some(url) = url {
            return Ok(url.trim().to_owned());
        }
        sleep(LOOK).await;
    }
    bail!("the server does not listen after {} s", START_MAX.as_secs())
}

/// A server and light agents, in two processes.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) server: Server,
    fleets: Vec<Child>,
    pub(crate) size: Size,
}

impl Stage {
    /// A seeded server; the agents are set up but not connected.
    pub(crate) async fn new(programs: &Programs, size: Size) -> Result<Self> {
        let server = Server::start(programs, size).await?;
        let mut fleets = Vec::new();
        let half = size.hosts.div_ceil(FLEETS);
        let jobs = size.running.to_string();
        for first in (0..size.hosts).step_by(half.max(1)) {
            let count = half.min(size.hosts - first).to_string();
            let first = first.to_string();
            let arguments = ["fleet", "--server", &server.url, "--first", &first];
            let rest = ["--count", &count, "--jobs", &jobs];
            fleets.push(Child::start(&[&arguments[..], &rest].concat()).await?);
        }
        Ok(Self { server, fleets, size })
    }

    /// The same, with all agents connected and quiet.
    pub(crate) async fn connected(programs: &Programs, size: Size) -> Result<Self> {
        let mut stage = Self::new(programs, size).await?;
        stage.connect(Duration::from_secs(180)).await?;
        stage.settle().await?;
        Ok(stage)
    }

    /// Connects all agents at once; seconds until the last one is in.
    pub(crate) async fn connect(&mut self, limit: Duration) -> Result<f64> {
        let started = Instant::now();
        for fleet in &mut self.fleets {
            fleet.tell(&Order::Connect).await?;
        }
        for fleet in &mut self.fleets {
            counted(&fleet.answer().await?)?;
        }
        while started.elapsed() < limit {
            if self.standing().await?.connected == self.size.hosts as u64 {
                return Ok(started.elapsed().as_secs_f64());
            }
            sleep(LOOK).await;
        }
        let standing = self.standing().await?;
        bail!(
            "{} of {} agents are connected after {} s; failed attempts: {:?}; server log: {:?}",
            standing.connected,
            self.size.hosts,
            limit.as_secs(),
            standing.failures,
            self.server.complaints()
        )
    }

    /// Waits until what connecting causes is worked off: the server uses next to no time.
    pub(crate) async fn settle(&self) -> Result<()> {
        let mut before = self.server.account()?;
        for _ in 0..120 {
            sleep(Duration::from_millis(500)).await;
            let now = self.server.account()?;
            if now.since(&before).cpu_seconds < 0.05 {
                return Ok(());
            }
            before = now;
        }
        Ok(())
    }

    /// All fleets together.
    pub(crate) async fn standing(&mut self) -> Result<Standing> {
        let mut sum = Standing::default();
        for fleet in &mut self.fleets {
            let standing = fleet.standing().await?;
            sum.connected += standing.connected;
            for (code, count) in standing.failures {
                *sum.failures.entry(code).or_default() += count;
            }
        }
        Ok(sum)
    }

    /// All fleets carry out the order at the same time: how many in all, the longest time.
    pub(crate) async fn all(&mut self, order: &Order) -> Result<(u64, f64)> {
        self.begin(order).await?;
        self.finish().await
    }

    /// All fleets begin with the order.
    pub(crate) async fn begin(&mut self, order: &Order) -> Result<()> {
        for fleet in &mut self.fleets {
            fleet.tell(order).await?;
        }
        Ok(())
    }

    /// All fleets are done with it.
    pub(crate) async fn finish(&mut self) -> Result<(u64, f64)> {
        let (mut count, mut seconds) = (0, 0.0_f64);
        for fleet in &mut self.fleets {
            let done = counted(&fleet.answer().await?)?;
            count += done.0;
            seconds = seconds.max(done.1);
        }
        Ok((count, seconds))
    }

    /// The fleet that has the agent of host `index`.
    pub(crate) fn fleet_of(&mut self, index: usize) -> Result<&mut Child> {
        let half = self.size.hosts.div_ceil(FLEETS).max(1);
        self.fleets.get_mut(index / half).context("no such host")
    }

    /// What a person should hear of: failed attempts, and the server's complaints.
    pub(crate) async fn remarks(&mut self, scenario: &str) -> Result<Vec<String>> {
        let standing = self.standing().await?;
        let place = format!("{scenario}, {} agents", self.size.hosts);
        let mut remarks: Vec<String> = standing
            .failures
            .iter()
            .map(|(code, count)| format!("{place}: {count} x link ended: {code}"))
            .collect();
        let away = self.size.hosts as u64 - standing.connected;
        if away > 0 {
            remarks.push(format!("{place}: {away} agents are not connected at the end"));
        }
        let complaints = self.server.complaints();
        remarks.extend(complaints.iter().map(|said| format!("{place}: server log: {said}")));
        Ok(remarks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_lose_what_differs_from_line_to_line() {
        let line = "2026-01-01T00:00:00Z  WARN holdfast_server::hub: it broke host=1234 error=x";
        assert_eq!(complaint(line).as_deref(), Some("holdfast_server::hub: it broke"));
        assert_eq!(complaint("2026-01-01T00:00:00Z  INFO all is well"), None);
    }
}
