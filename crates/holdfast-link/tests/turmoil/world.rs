//! A server and its agents, with disks that outlive crashes.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use holdfast_link::{
    Client, ClientConfig, Credentials, CredentialsError, Dice, Host, Identity, Positions, Record,
    Store, StoreError, Unsequenced, store::memory::MemoryStore,
};
use holdfast_protocol::{
    Incarnation, Payload, Seq,
    message::{config::Secret, link::Facts},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    house::{House, Tally},
    nemesis::Nemesis,
    road::Road,
};

/// How many agents a world has.
pub(crate) const AGENTS: usize = 3;
/// Records in each direction of each link.
const RECORDS: u32 = 60;
/// The weather is bad for this long.
const STORM: Duration = Duration::from_secs(150);
/// And then everything must settle within this: a dead peer is noticed, a redial waited for.
const CALM_MAX: Duration = Duration::from_secs(240);
const TICK: Duration = Duration::from_millis(20);

/// What happened in one world or in many.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) worlds: u64,
    pub(crate) sessions: u64,
    /// Links over long polls, in which sessions were or were to be.
    pub(crate) polled: u64,
    pub(crate) crashes: u64,
    pub(crate) cuts: u64,
    pub(crate) one_way_cuts: u64,
    pub(crate) holds: u64,
    /// Everything that happened and when, as one number.
    pub(crate) trace: u64,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.sessions += other.sessions;
        self.polled += other.polled;
        self.crashes += other.crashes;
        self.cuts += other.cuts;
        self.one_way_cuts += other.one_way_cuts;
        self.holds += other.holds;
        self.trace ^= other.trace;
    }
}

/// What happened, in order.
#[derive(Debug, Default)]
pub(crate) struct Trace(Mutex<DefaultHasher>);

impl Trace {
    pub(crate) fn note(&self, at: Duration, what: impl Hash) {
        let mut trace = self.0.lock().unwrap();
        at.hash(&mut *trace);
        what.hash(&mut *trace);
    }

    fn sum(&self) -> u64 {
        self.0.lock().unwrap().finish()
    }
}

/// A disk that takes its time. A crash before the commit leaves no trace of it.
pub(crate) struct Disk {
    pub(crate) shelf: MemoryStore,
    dice: Dice,
    name: String,
    pub(crate) trace: Arc<Trace>,
    /// Only the session of this epoch may write.
    pub(crate) epoch: AtomicU64,
}

impl Disk {
    pub(crate) async fn spin(&self) {
        tokio::time::sleep(Duration::from_micros((self.dice.roll() * 40_000.0) as u64)).await;
    }

    /// Bodies count from 0, so the newest number is in the stream's own position.
    pub(crate) async fn append_until_full(&self, kind: &str, wake: impl Fn()) {
        loop {
            let pause = Duration::from_millis((self.dice.roll() * 4_000.0) as u64);
            tokio::time::sleep(pause).await;
            let next = self.shelf.positions().await.unwrap().next;
            if next > u64::from(RECORDS) {
                return;
            }
            self.shelf.append(kind, Payload::of(&(next - 1)));
            wake();
        }
    }

    fn numbers(&self) -> Vec<u32> {
        self.shelf.applied().iter().map(|record| record.payload.parse().unwrap()).collect()
    }

    fn is_full(&self) -> bool {
        self.shelf.applied().len() >= RECORDS as usize
    }
}

/// A disk as one session sees it.
pub(crate) struct Held {
    pub(crate) disk: Arc<Disk>,
    pub(crate) epoch: u64,
}

impl Held {
    fn may_write(&self) -> Result<(), StoreError> {
        if self.disk.epoch.load(Ordering::Relaxed) == self.epoch {
            return Ok(());
        }
        Err(StoreError::new("writing", "a newer session has taken over"))
    }
}

impl Store for Held {
    async fn positions(&self) -> Result<Positions, StoreError> {
        self.disk.spin().await;
        self.disk.shelf.positions().await
    }

    async fn load(&self, after: Seq, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.disk.spin().await;
        self.disk.shelf.load(after, limit).await
    }

    async fn forget(&self, through: Seq) -> Result<(), StoreError> {
        self.disk.spin().await;
        self.may_write()?;
        self.disk.shelf.forget(through).await
    }

    async fn apply(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.disk.spin().await;
        self.may_write()?;
        let span = (records[0].seq, records.len());
        self.disk.trace.note(turmoil::sim_elapsed().unwrap(), ("apply", &self.disk.name, span));
        self.disk.shelf.apply(records).await?;
        // Durable, and not yet known to be.
        self.disk.spin().await;
        Ok(())
    }

    async fn receive(&self, message: Unsequenced) -> Result<(), StoreError> {
        self.disk.shelf.receive(message).await
    }
}

/// One link's two ends, as they are on disk.
pub(crate) struct Household {
    pub(crate) number: usize,
    agent: Arc<Disk>,
    pub(crate) server: Arc<Disk>,
    boots: AtomicU64,
    seed: u64,
}

impl Household {
    fn new(number: usize, seed: u64, trace: &Arc<Trace>) -> Self {
        let disk = |side: u64, name: &str| {
            Arc::new(Disk {
                shelf: MemoryStore::default(),
                dice: Dice::seeded(mix(seed, &[number as u64, side])),
                name: format!("{name}-{number}"),
                trace: Arc::clone(trace),
                epoch: AtomicU64::new(0),
            })
        };
        let (agent, server) = (disk(0, "agent"), disk(1, "server"));
        Self { number, agent, server, boots: AtomicU64::new(0), seed }
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation::from_uuid(Uuid::from_u128(self.number as u128))
    }

    /// One life of the agent's process.
    async fn run_agent(self: Arc<Self>) -> turmoil::Result {
        let boot = self.boots.fetch_add(1, Ordering::Relaxed) + 1;
        let dice = Dice::seeded(mix(self.seed, &[self.number as u64, 2, boot]));
        let road = Road::of(self.number, dice.clone());
        let config = ClientConfig { dice, ..ClientConfig::new("http://server".parse()?) };
        let identity = Identity { incarnation: self.incarnation(), boot };
        let store = Arc::new(Held { disk: Arc::clone(&self.agent), epoch: 0 });
        let (keys, machine) = (Machine { number: self.number }, Machine { number: self.number });
        let client = Client::with_dialer(config, identity, store, keys, machine, road);
        let working = self.agent.append_until_full("job.finished", || client.wake());
        let (ended, ()) = tokio::join!(client.run(CancellationToken::new()), working);
        ended.map_err(Into::into)
    }

    fn is_settled(&self) -> bool {
        self.agent.is_full() && self.server.is_full() && self.agent.shelf.outbox_len() == 0
    }

    fn judge(&self) {
        let all: Vec<u32> = (0..RECORDS).collect();
        for disk in [&self.agent, &self.server] {
            assert_eq!(disk.numbers(), all, "{}: lost, doubled or out of order", disk.name);
            assert!(disk.shelf.skipped().is_empty(), "{}: a gap was declared", disk.name);
        }
    }
}

pub(crate) fn mix(seed: u64, parts: &[u64]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, parts).hash(&mut hasher);
    hasher.finish()
}

struct Machine {
    number: usize,
}

impl Credentials for Machine {
    /// The number tells the house who asks.
    async fn token(&self) -> Result<Secret, CredentialsError> {
        Ok(Secret::new(self.number.to_string()))
    }
}

impl Host for Machine {
    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn capabilities(&self) -> Vec<String> {
        Vec::new()
    }

    fn heartbeat(&self) -> Payload {
        Payload::of(&serde_json::json!({}))
    }
}

/// A runtime that goes down drops its tasks in an order that depends on their numbers, which the
/// whole process counts. Makes the numbers of every world begin alike.
fn align_task_numbers() {
    const ALIGNED: u64 = 256;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let number = || runtime.spawn(async {}).id().to_string().parse::<u64>().unwrap();
    while number() % ALIGNED != 0 {}
}

/// Lives through one world and judges it.
pub(crate) fn live(seed: u64) -> Report {
    align_task_numbers();
    let trace = Arc::new(Trace::default());
    let tally = Arc::new(Tally::default());
    let households: Vec<_> =
        (0..AGENTS).map(|number| Arc::new(Household::new(number, seed, &trace))).collect();
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(STORM + CALM_MAX)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(200))
        .build();
    let (homes, count, boots) = (households.clone(), Arc::clone(&tally), AtomicU64::new(0));
    sim.host("server", move || {
        let boot = boots.fetch_add(1, Ordering::Relaxed);
        let house = House::new(homes.clone(), Arc::clone(&count));
        Arc::new(house).run(Dice::seeded(mix(seed, &[3, boot])))
    });
    for household in &households {
        let household = Arc::clone(household);
        sim.host(format!("agent-{}", household.number), move || Arc::clone(&household).run_agent());
    }
    let mut nemesis = Nemesis::new(Dice::seeded(mix(seed, &[4])), Arc::clone(&trace));
    while sim.elapsed() < STORM {
        nemesis.act(&mut sim);
        sim.step().unwrap();
    }
    nemesis.heal(&mut sim);
    while !households.iter().all(|household| household.is_settled()) {
        assert!(sim.elapsed() < STORM + CALM_MAX, "it did not settle");
        sim.step().unwrap();
    }
    for household in &households {
        household.judge();
    }
    let sessions = tally.sessions.load(Ordering::Relaxed);
    let polled = tally.polled.load(Ordering::Relaxed);
    Report { worlds: 1, sessions, polled, trace: trace.sum(), ..nemesis.report }
}
