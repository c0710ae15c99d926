//! Two thousand agents and one server that goes away, in virtual time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use holdfast_link::{
    Admission, Client, ClientConfig, Dice, Ended, Gate, Identity, Mailbox, ServeConfig,
    dial::{Dial, DialError},
    server::serve,
    store::memory::MemoryStore,
    transport::{Transport, memory},
};
use holdfast_protocol::{
    Incarnation, SessionId,
    message::{
        config::Secret,
        link::{Facts, Hello, Reject},
    },
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::soon;

const AGENTS: usize = 2000;
const SECOND: Duration = Duration::from_secs(1);
/// What the server tells its agents: a second for every 300 of them.
const SPREAD: Duration = Duration::from_millis(AGENTS as u64 * 1000 / 300);

/// A server, and the log of everybody who came to its door.
#[derive(Default)]
struct Town {
    is_up: AtomicBool,
    dials: Mutex<Vec<Instant>>,
    sessions: Mutex<Vec<JoinHandle<Ended>>>,
    opened: watch::Sender<usize>,
}

impl Gate for Town {
    type Store = MemoryStore;

    async fn admit(&self, hello: Hello) -> Result<Admission<MemoryStore>, Reject> {
        Ok(Admission {
            session_id: SessionId::from_uuid(Uuid::new_v4()),
            epoch: hello.epoch + 1,
            store: Arc::default(),
            states: Vec::new(),
            redial_spread: SPREAD,
        })
    }

    async fn opened(&self, _mailbox: Mailbox) {
        self.opened.send_modify(|count| *count += 1);
    }

    async fn closed(&self, _session_id: SessionId, _ended: &Ended) {}
}

struct Road(Arc<Town>);

impl Dial for Road {
    async fn dial(&self, _token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        let town = Arc::clone(&self.0);
        town.dials.lock().unwrap().push(Instant::now());
        if !town.is_up.load(Ordering::Relaxed) {
            let (server, cause) = ("town".to_owned(), "connection refused".to_owned());
            return Err(DialError::Unreachable { server, cause });
        }
        let (ours, theirs) = memory::pair(4);
        let session = tokio::spawn({
            let town = Arc::clone(&town);
            async move {
                let stop = CancellationToken::new();
                serve(Box::new(theirs), &*town, &ServeConfig::default(), stop).await
            }
        });
        town.sessions.lock().unwrap().push(session);
        Ok(Box::new(ours))
    }
}

impl Town {
    /// A server with all its agents, for a while already.
    async fn settled() -> Arc<Self> {
        let town = Arc::new(Self::default());
        town.is_up.store(true, Ordering::Relaxed);
        for number in 0..AGENTS as u64 {
            let dice = Dice::seeded(number);
            let config = ClientConfig { dice, ..ClientConfig::new("http://town".parse().unwrap()) };
            let incarnation = Incarnation::from_uuid(Uuid::from_u128(number.into()));
            let identity = Identity { incarnation, boot: 1 };
            let (store, road) = (Arc::new(MemoryStore::default()), Road(Arc::clone(&town)));
            let (token, machine) = (Secret::new("token"), Facts::default());
            let client = Client::with_dialer(config, identity, store, token, machine, road);
            tokio::spawn(async move { client.run(CancellationToken::new()).await });
        }
        town.all_open(AGENTS).await;
        tokio::time::sleep(60 * SECOND).await;
        town
    }

    async fn all_open(&self, count: usize) {
        let mut opened = self.opened.subscribe();
        soon(opened.wait_for(|opened| *opened >= count)).await.unwrap();
    }

    /// Kills the server, has it back after `outage`, and waits for everybody. Gives when the dials
    /// came, and how long after its return 99 % and all were back.
    async fn restart(&self, outage: Duration) -> (Vec<Duration>, Duration, Duration) {
        self.dials.lock().unwrap().clear();
        self.is_up.store(false, Ordering::Relaxed);
        let died_at = Instant::now();
        for session in self.sessions.lock().unwrap().drain(..) {
            session.abort();
        }
        tokio::time::sleep(outage).await;
        self.is_up.store(true, Ordering::Relaxed);
        let up_at = Instant::now();
        self.all_open(AGENTS + AGENTS * 99 / 100).await;
        let most = up_at.elapsed();
        self.all_open(2 * AGENTS).await;
        let dials = self.dials.lock().unwrap();
        (dials.iter().map(|at| *at - died_at).collect(), most, up_at.elapsed())
    }
}

/// The most dials in any second.
fn peak(dials: &[Duration]) -> usize {
    let ends = dials.iter().map(|at| dials.partition_point(|other| *other < *at + SECOND));
    ends.enumerate().map(|(start, end)| end - start).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_herd_comes_back_from_a_restart_spread_out_and_soon() {
    let town = Town::settled().await;
    let (dials, most, all) = town.restart(2 * SECOND).await;
    // 300 a second come for the first time, and those who came too early for a second time.
    assert!(peak(&dials) <= AGENTS / 4, "{} dials in one second", peak(&dials));
    assert!(dials.len() <= 2 * AGENTS, "{} dials", dials.len());
    assert!(most <= 10 * SECOND && all <= 20 * SECOND, "{most:?} {all:?}");
}

#[tokio::test(start_paused = true)]
async fn a_herd_that_waits_for_long_does_not_trample_the_door() {
    let town = Town::settled().await;
    let (dials, most, all) = town.restart(600 * SECOND).await;
    let late = dials.partition_point(|at| *at < 300 * SECOND);
    // Two dials per agent and spread, 600 a second, and a quarter for chance.
    assert!(peak(&dials) <= 750, "{} dials in one second", peak(&dials));
    // Full jitter up to a minute: half a minute on average between two dials of one agent.
    assert!(peak(&dials[late..]) <= AGENTS / 15, "{} in one second", peak(&dials[late..]));
    assert!(most <= 60 * SECOND && all <= 61 * SECOND, "{most:?} {all:?}");
}
