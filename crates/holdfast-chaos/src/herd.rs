//! A server restart under thousands of connected agents.
//!
//! The agents are links of the product over memory, many to a process; the server is `holdfast
//! server`. What is measured is when they dial and when they are back.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::{process::Process, wait};
use holdfast_link::{
    Client, ClientConfig, Credentials, CredentialsError, Host, Identity, LinkEvent,
    store::memory::MemoryStore,
};
use holdfast_protocol::{
    Payload,
    message::{config::Secret, job::Heartbeat, link::Facts},
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::stand::{Bench, Stand};

/// The server spreads redials so that about so many come in a second (`redial_spread_ms`).
const SPREAD_PER_SECOND: usize = 300;
/// The shortest time over which it spreads them, in seconds.
const SPREAD_SECONDS_MIN: usize = 2;
/// How much a second may lie above the average: dice are no clockwork, and whoever finds nobody at
/// the door comes again.
const SPREAD_SLACK: usize = 2;
/// How long the whole herd may take.
const BACK_LIMIT: Duration = Duration::from_secs(120);
/// Processes that share the agents, for the sake of the limit on open files.
const PROCESSES: usize = 2;

/// What came of it.
#[derive(Debug)]
pub struct Report {
    agents: usize,
    /// Dials in each second after the server was gone.
    curve: Vec<usize>,
    bound: usize,
    most: Duration,
    all: Duration,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let peak = self.curve.iter().max().copied().unwrap_or_default();
        for (second, dials) in self.curve.iter().enumerate() {
            writeln!(f, "{second:>4} s {dials:>5} dials {}", "#".repeat(dials / 10))?;
        }
        write!(
            f,
            "{} agents: 99 % back after {:.1} s, all after {:.1} s; at most {peak} dials in a \
             second, the bound is {}",
            self.agents,
            self.most.as_secs_f64(),
            self.all.as_secs_f64(),
            self.bound,
        )
    }
}

/// Connects `agents`, kills the server, starts it again, and waits until all are back.
///
/// # Errors
/// When one does not come back, or too many dial in one second.
pub fn run(bench: &Bench, agents: usize) -> Result<Report> {
    let mut stand = Stand::new(bench)?;
    let peers = start_peers(&stand, bench, agents)?;
    await_online(&stand, agents, Duration::from_secs(300)).context("the first time")?;
    let gone_at = SystemTime::now();
    stand.fleet.server.kill()?;
    let gone = Instant::now();
    stand.fleet.server.restart()?;
    await_online(&stand, agents, BACK_LIMIT)?;
    let all = gone.elapsed();
    drop(peers);
    let events = read_events(stand.path(), gone_at)?;
    let spread = (agents / SPREAD_PER_SECOND).max(SPREAD_SECONDS_MIN);
    let bound = agents.div_ceil(spread) * SPREAD_SLACK;
    let report = Report { agents, curve: curve(&events), bound, most: most(&events), all };
    let peak = report.curve.iter().max().copied().unwrap_or_default();
    ensure!(peak <= bound, "too many dials in one second:\n{report}");
    Ok(report)
}

fn start_peers(stand: &Stand, bench: &Bench, agents: usize) -> Result<Vec<Process>> {
    let mut peers = Vec::new();
    for process in 0..PROCESSES {
        let list = stand.path().join(format!("herd-{process}.agents"));
        let mut file = BufWriter::new(File::create(&list).context("cannot write the list")?);
        for index in (process..agents).step_by(PROCESSES) {
            let incarnation = Uuid::new_v4().to_string();
            let token = stand.api.enrol_by_hand(&format!("herd-{index}"), &incarnation)?;
            writeln!(file, "{incarnation} {token}")?;
        }
        file.flush()?;
        let mut command = Command::new(&bench.chaos);
        command.arg("peer-herd").arg("--server").arg(stand.fleet.server.url()).arg("--list");
        let events = list.with_extension("events");
        command.arg(&list).arg("--events").arg(&events);
        peers.push(Process::spawn("the herd", &mut command, &list.with_extension("log"))?);
    }
    Ok(peers)
}

fn await_online(stand: &Stand, agents: usize, limit: Duration) -> Result<()> {
    wait::until(&format!("{agents} agents to be online"), limit, || {
        let Ok(overview) = stand.api.call("GET", "/overview", None) else { return Ok(None) };
        let online = overview["hosts_online"].as_u64().unwrap_or_default();
        Ok((online >= agents as u64).then_some(()))
    })
}

/// What happened how long after the server was gone.
struct Event {
    at: Duration,
    dial: bool,
}

fn read_events(folder: &Path, gone_at: SystemTime) -> Result<Vec<Event>> {
    let gone_ms = gone_at.duration_since(UNIX_EPOCH)?.as_millis();
    let mut events = Vec::new();
    for process in 0..PROCESSES {
        let path = folder.join(format!("herd-{process}.events"));
        let text = std::fs::read_to_string(&path).context("the herd wrote nothing")?;
        // The last line may be half written.
        for line in text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines() {
            let (at, what) = line.split_once(' ').context("the herd wrote nonsense")?;
            let at: u128 = at.parse().context("the herd wrote nonsense")?;
            let Some(after) = at.checked_sub(gone_ms) else { continue };
            let at = Duration::from_millis(u64::try_from(after)?);
            events.push(Event { at, dial: what == "dial" });
        }
    }
    Ok(events)
}

fn curve(events: &[Event]) -> Vec<usize> {
    let mut curve = Vec::new();
    for event in events.iter().filter(|event| event.dial) {
        let second = usize::try_from(event.at.as_secs()).unwrap_or(usize::MAX);
        if curve.len() <= second {
            curve.resize(second + 1, 0);
        }
        curve[second] += 1;
    }
    curve
}

/// When 99 of 100 were back.
fn most(events: &[Event]) -> Duration {
    let mut back: Vec<Duration> =
        events.iter().filter(|event| !event.dial).map(|event| event.at).collect();
    back.sort();
    back.get((back.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// One process full of agents.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The server's URL
    #[arg(long)]
    server: url::Url,
    /// A file with a line per agent: its incarnation and its token
    #[arg(long)]
    list: PathBuf,
    /// Where to write down when they dial and when they are connected
    #[arg(long)]
    events: PathBuf,
}

/// Runs the agents of a list until SIGTERM.
///
/// # Errors
/// When the list cannot be read.
pub fn run_peers(options: &Options) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no runtime for the herd")?
        .block_on(play(options))
}

async fn play(options: &Options) -> Result<()> {
    let list = std::fs::read_to_string(&options.list).context("cannot read the list")?;
    let events = File::create(&options.events).context("cannot write the events")?;
    let events = Arc::new(Mutex::new(events));
    let stop = CancellationToken::new();
    for line in list.lines() {
        let (incarnation, token) = line.split_once(' ').context("the list is damaged")?;
        let incarnation = incarnation.parse()?;
        let client = Client::new(
            ClientConfig::new(options.server.clone()),
            Identity { incarnation, boot: 1 },
            Arc::new(MemoryStore::default()),
            Token(Secret::new(token)),
            Nobody,
        )?;
        tokio::spawn(watch(client.clone(), Arc::clone(&events)));
        let stop = stop.clone();
        tokio::spawn(async move { client.run(stop).await });
        // The herd gathers at its leisure; only its return is of interest.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    signal(SignalKind::terminate())?.recv().await;
    stop.cancel();
    Ok(())
}

async fn watch(client: Client<MemoryStore>, events: Arc<Mutex<File>>) {
    let mut heard = client.events();
    while let Ok(event) = heard.recv().await {
        let what = match event {
            LinkEvent::Dialing => "dial",
            LinkEvent::Connected { .. } => "back",
            _ => continue,
        };
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let line = format!("{at} {what}\n");
        let mut file = events.lock().unwrap_or_else(PoisonError::into_inner);
        // A disk that is full shows in the figures.
        let _ = file.write_all(line.as_bytes());
    }
}

struct Token(Secret);

impl Credentials for Token {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        Ok(self.0.clone())
    }
}

struct Nobody;

impl Host for Nobody {
    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn capabilities(&self) -> Vec<String> {
        Vec::new()
    }

    fn heartbeat(&self) -> Payload {
        Payload::of(&Heartbeat {
            sent_at: jiff::Timestamp::now(),
            active_job_ids: Vec::new(),
            queue_depth: 0,
            config_version: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_counts_dials_by_the_second() {
        let event = |at: u64, dial| Event { at: Duration::from_millis(at), dial };
        let events = [event(100, true), event(900, true), event(2500, true), event(3000, false)];
        assert_eq!(curve(&events), [2, 0, 1]);
        assert_eq!(most(&events), Duration::from_secs(3));
    }
}
