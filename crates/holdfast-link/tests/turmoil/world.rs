//! A server and its agents, with disks that outlive crashes.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use holdfast_link::{
    Admission, Client, ClientConfig, CloseReason, Credentials, CredentialsError, Dice, Ended, Gate,
    Host, Identity, Mailbox, Positions, Record, ServeConfig, Store, StoreError, Unsequenced,
    dial::{Dial, DialError},
    server::serve,
    store::memory::MemoryStore,
    transport::{
        Transport,
        metered::Metered,
        websocket::{Socket, limits},
    },
};
use holdfast_protocol::{
    Incarnation, Payload, Seq, SessionId,
    message::{
        config::Secret,
        link::{Facts, Hello, Reject},
    },
};
use tokio_tungstenite::{accept_async_with_config, client_async_with_config};
use tokio_util::sync::CancellationToken;
use turmoil::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::nemesis::Nemesis;

/// How many agents a world has.
pub(crate) const AGENTS: usize = 3;
/// Records in each direction of each link.
const RECORDS: u32 = 60;
/// The weather is bad for this long.
const STORM: Duration = Duration::from_secs(150);
/// And then everything must settle within this: a dead peer is noticed, a redial waited for.
const CALM_MAX: Duration = Duration::from_secs(240);
const TICK: Duration = Duration::from_millis(20);
const PORT: u16 = 7400;

/// What happened in one world or in many.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) worlds: u64,
    pub(crate) sessions: u64,
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
struct Disk {
    shelf: MemoryStore,
    dice: Dice,
    name: String,
    trace: Arc<Trace>,
    /// Only the session of this epoch may write.
    epoch: AtomicU64,
}

impl Disk {
    async fn spin(&self) {
        tokio::time::sleep(Duration::from_micros((self.dice.roll() * 40_000.0) as u64)).await;
    }

    /// Bodies count from 0, so the newest number is in the stream's own position.
    async fn append_until_full(&self, kind: &str, wake: impl Fn()) {
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
struct Held {
    disk: Arc<Disk>,
    epoch: u64,
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
struct Household {
    number: usize,
    agent: Arc<Disk>,
    server: Arc<Disk>,
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
        let config = ClientConfig { dice, ..ClientConfig::new("http://server".parse()?) };
        let identity = Identity { incarnation: self.incarnation(), boot };
        let store = Arc::new(Held { disk: Arc::clone(&self.agent), epoch: 0 });
        let client = Client::with_dialer(config, identity, store, Machine, Machine, Road);
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

fn mix(seed: u64, parts: &[u64]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, parts).hash(&mut hasher);
    hasher.finish()
}

struct Machine;

impl Credentials for Machine {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        Ok(Secret::new("token"))
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

/// A WebSocket over the simulated network.
struct Road;

impl Dial for Road {
    async fn dial(&self, _token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        let lost = |cause: String| DialError::Unreachable { server: "server".to_owned(), cause };
        let stream = TcpStream::connect(("server", PORT)).await;
        let stream = stream.map_err(|error| lost(error.to_string()))?;
        let dialled =
            client_async_with_config("ws://server/", Metered::new(stream), Some(limits())).await;
        let (socket, _) = dialled.map_err(|error| lost(error.to_string()))?;
        Ok(Box::new(Socket::new(socket)))
    }
}

/// One life of the server's process.
struct House {
    households: Vec<Arc<Household>>,
    mailboxes: Mutex<BTreeMap<usize, Mailbox>>,
    sessions: Arc<AtomicU64>,
}

impl House {
    async fn run(self: Arc<Self>, dice: Dice) -> turmoil::Result {
        for household in &self.households {
            let (house, household) = (Arc::clone(&self), Arc::clone(household));
            tokio::spawn(async move {
                let wake = || house.wake(household.number);
                household.server.append_until_full("command.run", wake).await;
            });
        }
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(Arc::clone(&self).serve(stream, dice.clone()));
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, dice: Dice) {
        let stream = Metered::new(stream);
        let Ok(socket) = accept_async_with_config(stream, Some(limits())).await else { return };
        let config = ServeConfig { dice, ..ServeConfig::default() };
        serve(Box::new(Socket::new(socket)), &*self, &config, CancellationToken::new()).await;
    }

    fn wake(&self, number: usize) {
        if let Some(mailbox) = self.mailboxes.lock().unwrap().get(&number) {
            mailbox.wake();
        }
    }
}

impl Gate for House {
    type Store = Held;

    async fn admit(&self, hello: Hello) -> Result<Admission<Held>, Reject> {
        let number = hello.incarnation.as_uuid().as_u128() as usize;
        let disk = Arc::clone(&self.households[number].server);
        disk.spin().await;
        let epoch = disk.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        disk.trace.note(turmoil::sim_elapsed().unwrap(), ("admit", number, epoch));
        Ok(Admission {
            // The number in front tells whose it is.
            session_id: SessionId::from_uuid(Uuid::from_u64_pair(number as u64, session)),
            epoch,
            store: Arc::new(Held { disk, epoch }),
            states: Vec::new(),
            redial_spread: Duration::from_secs(2),
        })
    }

    async fn opened(&self, mailbox: Mailbox) {
        let number = mailbox.session_id().as_uuid().as_u64_pair().0 as usize;
        let mut mailboxes = self.mailboxes.lock().unwrap();
        if mailboxes.get(&number).is_some_and(|other| other.epoch() > mailbox.epoch()) {
            return mailbox.close(CloseReason::Fenced);
        }
        if let Some(older) = mailboxes.insert(number, mailbox) {
            older.close(CloseReason::Fenced);
        }
    }

    async fn closed(&self, session_id: SessionId, ended: &Ended) {
        let (number, _) = session_id.as_uuid().as_u64_pair();
        let trace = &self.households[number as usize].server.trace;
        trace.note(turmoil::sim_elapsed().unwrap(), ("closed", number, ended.code()));
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
    let sessions = Arc::new(AtomicU64::new(0));
    let households: Vec<_> =
        (0..AGENTS).map(|number| Arc::new(Household::new(number, seed, &trace))).collect();
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(STORM + CALM_MAX)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(200))
        .build();
    let (homes, count, boots) = (households.clone(), Arc::clone(&sessions), AtomicU64::new(0));
    sim.host("server", move || {
        let boot = boots.fetch_add(1, Ordering::Relaxed);
        let (households, sessions) = (homes.clone(), Arc::clone(&count));
        let house = House { households, mailboxes: Mutex::default(), sessions };
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
    let sessions = sessions.load(Ordering::Relaxed);
    Report { worlds: 1, sessions, trace: trace.sum(), ..nemesis.report }
}
