//! Light agents: the agent's real end of the link, over a store in memory.
//!
//! They answer commands and configurations as the agent does, so the server does all its work; but
//! thousands of them fit into one process, and none has a disk.

mod light;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use holdfast_link::{Client, ClientConfig, Credentials, CredentialsError, Identity, Unsequenced};
use holdfast_protocol::{
    Message,
    message::{
        config::Secret,
        job::{Progress, StateChange, Status},
    },
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Order, Standing, Voice, Word};
use crate::seed;
use light::{LightHost, LightStore};

/// How often messages that are due are sent; short, so that they come evenly.
const TICK: Duration = Duration::from_millis(10);
/// How often it is looked whether all is delivered.
const LOOK: Duration = Duration::from_millis(20);

/// Which agents to be.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The server
    #[arg(long)]
    server: Url,
    /// The first host's number
    #[arg(long)]
    first: usize,
    /// How many
    #[arg(long)]
    count: usize,
    /// Running jobs of each
    #[arg(long)]
    jobs: usize,
}

/// Runs the agents until the driver is gone.
pub(crate) async fn run(options: Options) -> Result<()> {
    super::serve(Word::Ready { port: 0 }, move |voice| {
        let fleet = Arc::new(Fleet::new(options, voice));
        move |order| Arc::clone(&fleet).carry_out(order)
    })
    .await
}

struct Fleet {
    options: Options,
    voice: Voice,
    tally: Arc<Tally>,
    agents: tokio::sync::RwLock<Vec<Agent>>,
}

/// What all agents together have seen.
#[derive(Default)]
struct Tally {
    connected: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

struct Agent {
    index: usize,
    client: Client<LightStore>,
    store: Arc<LightStore>,
}

struct Token(String);

impl Credentials for Token {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        Ok(Secret::new(self.0.clone()))
    }
}

impl Fleet {
    fn new(options: Options, voice: Voice) -> Self {
        Self { options, voice, tally: Arc::default(), agents: tokio::sync::RwLock::default() }
    }

    async fn carry_out(self: Arc<Self>, order: Order) -> Result<Word> {
        match order {
            Order::Connect => self.connect().await,
            Order::Progress { period_seconds, seconds } => {
                self.progress(period_seconds, seconds).await
            }
            Order::Records { each } => self.records(each).await,
            Order::Status => Ok(Word::Status(self.standing())),
            Order::Pace { .. } | Order::Echo { .. } => anyhow::bail!("not an order for a fleet"),
        }
    }

    /// Starts all agents at once. It is the driver who watches how they come in.
    async fn connect(&self) -> Result<Word> {
        let mut agents = self.agents.write().await;
        let last = self.options.first + self.options.count;
        for index in self.options.first..last {
            agents.push(self.start(index)?);
        }
        Ok(Word::Done { count: agents.len() as u64, seconds: 0.0 })
    }

    fn start(&self, index: usize) -> Result<Agent> {
        let jobs = (0..self.options.jobs).map(|job| seed::running_job(index, job)).collect();
        let store = Arc::new(LightStore::new(self.voice.clone(), jobs));
        let identity = Identity { incarnation: seed::incarnation(index), boot: 1 };
        let client = Client::new(
            ClientConfig::new(self.options.server.clone()),
            identity,
            Arc::clone(&store),
            Token(seed::token(index)),
            LightHost::new(Arc::clone(&store)),
        )
        .context("a link cannot be set up")?;
        store.belong_to(client.clone());
        let running = client.clone();
        tokio::spawn(async move { running.run(CancellationToken::new()).await });
        tokio::spawn(watch(client.clone(), Arc::clone(&self.tally)));
        Ok(Agent { index, client, store })
    }

    async fn progress(&self, period_seconds: f64, seconds: f64) -> Result<Word> {
        let agents = self.agents.read().await;
        let jobs = self.options.jobs;
        let total = agents.len() * jobs;
        let per_second = total as f64 / period_seconds;
        let started = Instant::now();
        let mut sent = 0_usize;
        let mut tick = tokio::time::interval(TICK);
        while started.elapsed().as_secs_f64() < seconds {
            tick.tick().await;
            let due = started.elapsed().as_secs_f64() * per_second;
            while total > 0 && (sent as f64) < due {
                let agent = &agents[(sent % total) / jobs];
                agent.tell_progress(sent % jobs, sent);
                sent += 1;
            }
        }
        Ok(Word::Done { count: sent as u64, seconds: started.elapsed().as_secs_f64() })
    }

    async fn records(&self, each: usize) -> Result<Word> {
        let agents = self.agents.read().await;
        let started = Instant::now();
        for agent in agents.iter() {
            agent.append(each);
        }
        let mut look = tokio::time::interval(LOOK);
        while agents.iter().any(|agent| !agent.store.is_delivered()) {
            look.tick().await;
        }
        let count = (agents.len() * each) as u64;
        Ok(Word::Done { count, seconds: started.elapsed().as_secs_f64() })
    }

    fn standing(&self) -> Standing {
        Standing {
            connected: self.tally.connected.load(Ordering::Relaxed),
            failures: self.tally.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..Standing::default()
        }
    }
}

impl Agent {
    fn tell_progress(&self, job: usize, number: usize) {
        let job_id = seed::running_job(self.index, job);
        let message = Message::JobProgress(Progress {
            job_id,
            percent_done: (number % 1000) as f64 / 1000.0,
            files_done: number as u64,
            total_files: 1_000_000,
            bytes_done: number as u64 * 4096,
            total_bytes: 1 << 40,
            eta_seconds: Some(3600),
            throughput_bps: 104_857_600,
            current_files: vec!["/srv/data/some/folder/with/a/file.dat".to_owned()],
            error_count: 0,
        });
        self.client.send(Unsequenced {
            class: message.class(),
            key: job_id.to_string(),
            ts: Timestamp::now(),
            kind: message.kind().to_owned(),
            payload: message.encode(),
        });
    }

    /// Its first job is paused and goes on, so many times in all.
    fn append(&self, count: usize) {
        let job_id = seed::running_job(self.index, 0);
        for number in 0..count {
            let status = if number % 2 == 0 { Status::Paused } else { Status::Running };
            let changed_at = Timestamp::now();
            self.store.append(&Message::JobState(StateChange { job_id, status, changed_at }), None);
        }
        self.client.wake();
    }
}

/// Counts connections and what ended them.
async fn watch(client: Client<LightStore>, tally: Arc<Tally>) {
    let mut status = client.status();
    let mut connected = false;
    while status.changed().await.is_ok() {
        let now = status.borrow_and_update().clone();
        match (connected, now.is_connected()) {
            (false, true) => tally.connected.fetch_add(1, Ordering::Relaxed),
            (true, false) => tally.connected.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        connected = now.is_connected();
        // The wait after an attempt is where its error is known.
        if let (Some(_), Some(code)) = (now.retry_at, now.last_error_code) {
            let mut failures = tally.failures.lock().unwrap_or_else(PoisonError::into_inner);
            *failures.entry(code).or_default() += 1;
        }
    }
}
