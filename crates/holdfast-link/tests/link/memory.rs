//! Over memory, with paused time: hours pass in no time, and timers fire in order.

use std::sync::{Arc, Mutex};

use holdfast_link::{
    Client, ClientConfig, ServeConfig,
    dial::{Dial, DialError},
    server::serve,
    store::memory::MemoryStore,
    transport::{Transport, memory},
};
use holdfast_protocol::message::config::Secret;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{House, Keys, Machine, TOKEN, append, connected, identity, numbers, soon};

/// Frames that fit between the two ends before a write waits.
const CAPACITY: usize = 1;

/// Every dial starts a session of the house over memory.
struct Doorbell {
    house: Arc<House>,
    /// The sessions started, oldest first.
    sessions: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Dial for Doorbell {
    async fn dial(&self, _token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        let (ours, theirs) = memory::pair(CAPACITY);
        let house = Arc::clone(&self.house);
        let session = tokio::spawn(async move {
            let stop = CancellationToken::new();
            serve(Box::new(theirs), &*house, &ServeConfig::default(), stop).await;
        });
        self.sessions.lock().unwrap().push(session);
        Ok(Box::new(ours))
    }
}

struct Pair {
    house: Arc<House>,
    store: Arc<MemoryStore>,
    client: Client<MemoryStore>,
    sessions: Arc<Mutex<Vec<JoinHandle<()>>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Pair {
    fn start(house: Arc<House>) -> Self {
        let sessions: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let doorbell = Doorbell { house: Arc::clone(&house), sessions: Arc::clone(&sessions) };
        let store = Arc::new(MemoryStore::default());
        let config = ClientConfig::new("http://localhost".parse().unwrap());
        let client = Client::with_dialer(
            config,
            identity(),
            Arc::clone(&store),
            Keys::new(TOKEN),
            Machine,
            doorbell,
        );
        let stop = CancellationToken::new();
        let (runner, token) = (client.clone(), stop.clone());
        let task = tokio::spawn(async move { runner.run(token).await.unwrap() });
        Self { house, store, client, sessions, stop, task }
    }

    async fn finish(self) {
        self.stop.cancel();
        soon(self.task).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn records_survive_a_cut_at_any_place() {
    let pair = Pair::start(Arc::default());
    for round in 0..20u32 {
        append(&pair.store, round * 50..(round + 1) * 50);
        pair.client.wake();
        connected(&pair.client).await;
        let some = (round as usize * 50) + 7 + round as usize;
        soon(pair.house.store.wait_until(|store| store.applied().len() >= some)).await;
        pair.sessions.lock().unwrap().last().unwrap().abort();
    }
    soon(pair.house.store.wait_until(|store| store.applied().len() == 1000)).await;
    assert_eq!(numbers(&pair.house.store), (0..1000).collect::<Vec<_>>());
    pair.finish().await;
}
