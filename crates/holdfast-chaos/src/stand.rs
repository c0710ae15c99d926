//! What most checks begin with: a server, agents behind a misbehaving proxy, and a restic that only
//! says that it was called; and the judgement at the end.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use holdfast_agent::state::State;
use holdfast_e2e::{
    fleet::{Agent, Fleet},
    process::{self, Process},
    programs::Programs,
    wait,
};
use holdfast_link::{Positions, Store};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{api::Api, database::Database, fault_proxy::FaultProxy, stub_restic::StubRestic};

/// The one source group of every host.
pub(crate) const GROUP: &str = "docs";
/// Longer than the longest wait between two dials.
pub(crate) const BACK_LIMIT: Duration = Duration::from_secs(90);
/// For what should take a moment, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Where the programs under test are, and this one.
#[derive(Debug, Clone)]
pub struct Bench {
    pub(crate) programs: Programs,
    /// The program with the hidden commands of [`crate::peer`] and [`crate::herd`].
    pub(crate) chaos: PathBuf,
}

impl Bench {
    /// The programs in `folder`.
    ///
    /// # Errors
    /// When one is missing.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let chaos = folder.join("holdfast-chaos");
        ensure!(chaos.is_file(), "{} is missing: cargo build --workspace", chaos.display());
        Ok(Self { programs: Programs::in_folder(folder)?, chaos })
    }
}

/// A server and its agents.
pub(crate) struct Stand {
    pub(crate) fleet: Fleet,
    pub(crate) api: Api,
    pub(crate) stub: StubRestic,
    pub(crate) proxy: FaultProxy,
    pub(crate) bench: Bench,
    orders: Mutex<Vec<String>>,
    folder: TempDir,
}

impl Stand {
    /// A server without hosts, and an honest proxy before it.
    pub(crate) fn new(bench: &Bench) -> Result<Self> {
        Self::with_stub(bench, StubRestic::new)
    }

    pub(crate) fn with_stub(
        bench: &Bench,
        stub: impl FnOnce(&Path) -> Result<StubRestic>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir().context("no room for the stand")?;
        let stub = stub(folder.path())?;
        let fleet = Fleet::start(&bench.programs, stub.program(), folder.path())?;
        let api = Api::new(fleet.server.url(), fleet.operator.token())?;
        let proxy = FaultProxy::start(api.address())?;
        let (orders, bench) = (Mutex::default(), bench.clone());
        Ok(Self { fleet, api, stub, proxy, bench, orders, folder })
    }

    /// The same with `count` agents that come through the proxy: `host-0`, `host-1`, …
    pub(crate) fn with_agents(bench: &Bench, count: usize) -> Result<Self> {
        let mut stand = Self::new(bench)?;
        for index in 0..count {
            stand.add_agent(&format!("host-{index}"))?;
        }
        Ok(stand)
    }

    pub(crate) fn add_agent(&mut self, name: &str) -> Result<()> {
        let program = self.bench.programs.agent.clone();
        let url = self.proxy.url();
        self.add_agent_at(name, &program, &url)
    }

    /// An agent by another program, which finds the server at `url`.
    pub(crate) fn add_agent_at(&mut self, name: &str, program: &Path, url: &str) -> Result<()> {
        let token = self.enrolment(name)?;
        let mut agent = Agent::new(program, self.stub.program(), self.path(), name)?;
        agent.enrol(url, &token)?;
        agent.start()?;
        self.fleet.agents.push(agent);
        self.await_state(name, "online", LIMIT)?;
        Ok(())
    }

    /// Adds a host with its group, and mints its enrolment token.
    pub(crate) fn enrolment(&self, name: &str) -> Result<String> {
        let added = self.api.call("POST", "/hosts", Some(&json!({ "name": name })))?;
        self.add_group(name, GROUP, &[])?;
        Ok(added["enrolment_token"].as_str().context("no enrolment token")?.to_owned())
    }

    pub(crate) fn add_group(&self, host: &str, group: &str, excludes: &[String]) -> Result<()> {
        let body = json!({
            "name": group, "repository": "vault", "includes": [self.path()], "excludes": excludes,
        });
        self.api.call("POST", &format!("/hosts/{host}/groups"), Some(&body)).map(drop)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The server's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("server")
    }

    pub(crate) fn database(&self) -> Result<Database> {
        Database::open(&self.data())
    }

    /// Orders a backup that [`Stand::judge`] will ask for.
    pub(crate) fn order(&self, host: &str) -> Result<String> {
        let job = self.api.order(host, GROUP)?;
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(job.clone());
        Ok(job)
    }

    /// Orders although the server may be away.
    pub(crate) fn order_patiently(&self, host: &str) -> Result<String> {
        wait::until("the server to take an order", LIMIT, || Ok(self.order(host).ok()))
    }

    /// Waits until the job has ended.
    pub(crate) fn await_end(&self, job: &str, limit: Duration) -> Result<Value> {
        wait::until(&format!("the end of job {job}"), limit, || {
            // A server that is just being killed has no opinion.
            let Ok(seen) = self.api.job(job) else { return Ok(None) };
            Ok(holdfast_e2e::operator::has_ended(&seen).then_some(seen))
        })
    }

    /// How long it takes until the host is in this state.
    pub(crate) fn await_state(&self, host: &str, state: &str, limit: Duration) -> Result<Duration> {
        let started = Instant::now();
        wait::until(&format!("{host} to be {state}"), limit, || {
            Ok(self.api.host(host).ok().filter(|host| host["state"] == state).map(drop))
        })?;
        Ok(started.elapsed())
    }

    /// Waits until the job's process runs.
    pub(crate) fn await_call(&self, job: &str) -> Result<()> {
        wait::until("restic to be started", LIMIT, || {
            Ok(self.stub.calls()?.contains_key(job).then_some(()))
        })
    }

    /// How many sessions the host has had.
    pub(crate) fn sessions(&self, host: &str) -> Result<i64> {
        self.database()?.number("SELECT sessions FROM hosts WHERE name = $1", host)
    }

    pub(crate) fn server_pid(&self) -> Result<Pid> {
        self.pid("the server", |line| line.contains("\0server\0--listen"))
    }

    pub(crate) fn agent_pid(&self, index: usize) -> Result<Pid> {
        let data = self.fleet.agents[index].data().to_string_lossy().into_owned();
        self.pid("the agent", |line| line.contains(&format!("\0run\0--data\0{data}\0")))
    }

    fn pid(&self, what: &str, is_it: impl Fn(&str) -> bool) -> Result<Pid> {
        let found = process::naming(self.path()).into_iter().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            is_it(&String::from_utf8_lossy(&line))
        });
        found.with_context(|| format!("{what} does not run"))
    }

    /// Stops the process, and lets it go on after `duration`.
    pub(crate) fn freeze(&self, pid: Pid, duration: Duration) -> Result<()> {
        signal::kill(pid, Signal::SIGSTOP).context("cannot stop the process")?;
        last(duration);
        signal::kill(pid, Signal::SIGCONT).context("cannot wake the process")
    }

    /// An agent without restic, which appends `messages` to its state, as a process.
    pub(crate) fn peer(&self, data: &Path, arguments: &[&str]) -> Result<Process> {
        let mut command = std::process::Command::new(&self.bench.chaos);
        command.arg("peer-agent").arg("--data").arg(data).args(arguments);
        Process::spawn("the peer", &mut command, &data.with_extension("log"))
    }

    /// Enrols a host for [`Stand::peer`] and gives its data directory.
    pub(crate) fn enrol_peer(&self, name: &str, url: &str) -> Result<PathBuf> {
        let token = self.enrolment(name)?;
        let program = &self.bench.programs.agent;
        let agent = Agent::new(program, self.stub.program(), self.path(), name)?;
        agent.enrol(url, &token)?;
        Ok(agent.data().to_path_buf())
    }

    /// The judgement: every order has ended in one of these ways, each process was started at most
    /// once, nothing was set aside or given up, and both ends agree on both streams to the last
    /// record. It stops the fleet.
    pub(crate) fn judge(&mut self, ends: &[&str]) -> Result<String> {
        self.stub.release()?;
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.judge_orders(&orders, ends)?;
        self.judge_calls()?;
        self.await_delivery()?;
        let mut database = self.database()?;
        for agent in &self.fleet.agents {
            judge_streams(&mut database, agent)?;
        }
        Ok(format!("{} jobs ended, each once", orders.len()))
    }

    /// Stops the agents when all they wrote has been delivered. An agent that is stopped keeps what
    /// it could not deliver within seconds for its next start, so it gets one; that start may write
    /// something, too.
    fn await_delivery(&mut self) -> Result<()> {
        const STARTS_MAX: usize = 5;
        let mut database = self.database()?;
        for agent in &mut self.fleet.agents {
            let host = database.host_id(agent.name())?;
            for _ in 0..STARTS_MAX {
                agent.stop()?;
                let newest = positions(&agent.data().join("state.redb"))?.next - 1;
                if database.received(&host)? >= newest {
                    break;
                }
                agent.start()?;
                wait::until("the last records to be delivered", LIMIT, || {
                    Ok((database.received(&host)? >= newest).then_some(()))
                })?;
            }
        }
        Ok(())
    }

    fn judge_orders(&self, orders: &[String], ends: &[&str]) -> Result<()> {
        ensure!(orders.iter().collect::<BTreeSet<_>>().len() == orders.len(), "an id came twice");
        for job in orders {
            let end = self.await_end(job, BACK_LIMIT)?;
            let status = end["status"].as_str().unwrap_or_default();
            ensure!(ends.contains(&status), "a job ended as {status}: {end}");
        }
        Ok(())
    }

    fn judge_calls(&self) -> Result<()> {
        let twice = self.stub.calls()?.into_iter().find(|(_, count)| *count > 1);
        match twice {
            Some((job, count)) => bail!("the process of job {job} was started {count} times"),
            None => Ok(()),
        }
    }
}

fn judge_streams(database: &mut Database, agent: &Agent) -> Result<()> {
    let name = agent.name();
    let host = database.host_id(name)?;
    let agents = positions(&agent.data().join("state.redb"))?;
    let received = database.received(&host)?;
    ensure!(
        received == agents.next - 1,
        "{name} wrote {} records and the server has {received}",
        agents.next - 1,
    );
    let next = database.number("SELECT next_seq FROM hosts WHERE id = $1", &host)?;
    ensure!(
        i64::try_from(agents.received).ok() == Some(next - 1),
        "the server wrote {} commands and {name} has {}",
        next - 1,
        agents.received,
    );
    let aside = database.number("SELECT COUNT(*) FROM dead_letters WHERE host_id = $1", &host)?;
    ensure!(aside == 0, "{aside} records of {name} were set aside");
    let gaps = "SELECT COUNT(*) FROM audit WHERE action = 'link.gap' AND subject LIKE $1 || '%'";
    let gaps = database.number(gaps, &host)?;
    ensure!(gaps == 0, "{gaps} gaps were declared although nothing was lost");
    Ok(())
}

/// Where the streams of a state file stand. Its agent must not run.
pub(crate) fn positions(state: &Path) -> Result<Positions> {
    let state = State::open(state).context("the agent's state cannot be opened")?;
    block_on(async { state.positions().await.context("the agent's state cannot be read") })
}

/// How many records wait to be acknowledged; those that are kept for a server from yesterday do
/// not.
pub(crate) fn waiting(state: &Path) -> Result<u64> {
    let state = State::open(state).context("the agent's state cannot be opened")?;
    Ok(state.summary().context("the agent's state cannot be read")?.1)
}

/// Runs a future to its end on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("no runtime")?.block_on(future)
}

/// Copies a directory with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).context("cannot copy")?;
        }
    }
    Ok(())
}

/// Lets a fault last. A fault has a duration; everything else is waited for.
pub(crate) fn last(duration: Duration) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        wait::pause(end.saturating_duration_since(Instant::now()));
    }
}
