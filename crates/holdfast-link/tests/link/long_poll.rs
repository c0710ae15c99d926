//! The road for networks that let no WebSocket pass.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use holdfast_link::{
    Client, Dice, ExchangeError, Exchanges, LinkEvent, ServeConfig,
    dial::{self, LongPollDialer, PlaintextRule, Roads},
    server::serve,
    store::memory::MemoryStore,
    transport::TransportKind,
};
use holdfast_protocol::{
    EXCHANGE_PATH, Payload,
    message::exchange::{Answer, Exchange},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    loopback::{Site, leaky_road, start},
    memory::{Door, Doorbell, Pair},
    world::{
        House, Keys, Machine, TOKEN, append, connected, identity, numbers, quick, soon, status,
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// A proxy that takes the wish for an upgrade out of every connection's first request.
async fn stripping_proxy(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = server.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        loop {
            let (agent, _) = listener.accept().await.unwrap();
            tokio::spawn(strip(agent, server.clone()));
        }
    });
    url
}

async fn strip(mut agent: TcpStream, server: String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = agent.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let stripped: String = head
        .split_inclusive("\r\n")
        .filter(|line| !line.to_lowercase().starts_with("upgrade:"))
        .filter(|line| !line.to_lowercase().starts_with("connection:"))
        .collect();
    let mut server = TcpStream::connect(server).await.unwrap();
    server.write_all(stripped.as_bytes()).await.unwrap();
    let _ = copy_bidirectional(&mut agent, &mut server).await;
}

#[tokio::test]
async fn an_agent_whose_upgrades_are_stripped_works_over_long_polls() {
    let site = Site::open().await;
    let url = stripping_proxy(&site.url).await;
    let store = Arc::new(MemoryStore::default());
    let client =
        Client::new(quick(&url), identity(), Arc::clone(&store), Keys::new(TOKEN), Machine);
    let client = client.unwrap();
    append(&store, 0..1000);
    append(&site.house.store, 0..300);
    let mut events = client.events();
    let (stop, task) = start(&client);
    assert_eq!(connected(&client).await.transport, Some(TransportKind::LongPoll));
    soon(site.house.store.wait_until(|store| store.applied().len() == 1000)).await;
    soon(store.wait_until(|store| store.applied().len() == 300)).await;
    // A message each way, while an exchange is held; whoever waited for it would take 25 s.
    let began = Instant::now();
    append(&store, 1000..1001);
    client.wake();
    soon(site.house.store.wait_until(|store| store.applied().len() == 1001)).await;
    append(&site.house.store, 300..301);
    site.house.mailbox().wake();
    soon(store.wait_until(|store| store.applied().len() == 301)).await;
    soon(store.wait_until(|store| store.outbox_len() == 0)).await;
    assert!(began.elapsed() < 15 * SECOND, "{:?}", began.elapsed());
    assert_eq!(numbers(&site.house.store), (0..1001).collect::<Vec<_>>());
    assert_eq!(numbers(&store), (0..301).collect::<Vec<_>>());
    stop.cancel();
    soon(task).await.unwrap();
    site.house.has_ended("bye").await;
    assert_eq!(site.house.epoch(), 1, "one session carried it all");
    let mut refusals = 0;
    while let Ok(event) = events.recv().await {
        refusals += u32::from(matches!(event, LinkEvent::Rejected { .. }));
        if event == LinkEvent::Stopped {
            break;
        }
    }
    assert_eq!(refusals, 2, "the third refusal leads to the other road");
}

fn over_long_polls(url: &str) -> (Client<MemoryStore>, Arc<MemoryStore>) {
    let server = url.parse().unwrap();
    let endpoint = dial::endpoint(&server, EXCHANGE_PATH, PlaintextRule::LoopbackOnly).unwrap();
    let dialer = LongPollDialer::new(endpoint, None);
    let store = Arc::new(MemoryStore::default());
    let (outbox, keys) = (Arc::clone(&store), Keys::new(TOKEN));
    (Client::with_dialer(quick(url), identity(), outbox, keys, Machine, dialer), store)
}

#[tokio::test]
async fn exchanges_cut_at_any_byte_lose_and_repeat_nothing() {
    let site = Site::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = site.url.trim_start_matches("http://").to_owned();
    let road = tokio::spawn(leaky_road(listener, server, 300, 701));
    let (client, store) = over_long_polls(&url);
    append(&store, 0..200);
    append(&site.house.store, 0..50);
    let (stop, task) = start(&client);
    soon(site.house.store.wait_until(|store| store.applied().len() == 200)).await;
    soon(store.wait_until(|store| store.applied().len() == 50)).await;
    assert_eq!(numbers(&site.house.store), (0..200).collect::<Vec<_>>());
    assert_eq!(numbers(&store), (0..50).collect::<Vec<_>>());
    stop.cancel();
    soon(task).await.unwrap();
    road.abort();
}

#[tokio::test]
async fn an_unknown_token_is_told_apart_from_a_blocked_road() {
    let site = Site::open().await;
    let url = stripping_proxy(&site.url).await;
    let store = Arc::new(MemoryStore::default());
    let client = Client::new(quick(&url), identity(), store, Keys::new("wrong"), Machine).unwrap();
    let (stop, task) = start(&client);
    let status =
        status(&client, |status| status.last_error_code.as_deref() == Some("unauthorised"));
    assert!(status.await.last_error.unwrap().contains("HTTP 401"));
    stop.cancel();
    soon(task).await.unwrap();
}

/// A pair whose better road is blocked.
fn blocked(house: Arc<House>) -> (Doorbell, Doorbell, Pair) {
    let better = Doorbell::new(Arc::clone(&house));
    better.set(Door::Blocked);
    let other = Doorbell::new(Arc::clone(&house)).by_long_polls();
    let roads = Roads::new(better.clone(), other.clone(), Dice::seeded(1));
    (better, other.clone(), Pair::over(house, other, roads))
}

#[tokio::test(start_paused = true)]
async fn an_agent_goes_back_when_the_better_road_is_open_again_and_not_before() {
    let house = Arc::new(House::default());
    let (better, other, pair) = blocked(house);
    connected(&pair.client).await;
    let mut events = pair.client.events();
    tokio::time::sleep(3600 * SECOND).await;
    let stayed = pair.client.status().borrow().clone();
    assert_eq!(stayed.reconnect_count, 0, "the working road was given up");
    assert_eq!(stayed.transport, Some(TransportKind::LongPoll));
    assert!((10..=16).contains(&better.dials()), "{} looks in an hour", better.dials());
    append(&pair.store, 0..10_000);
    pair.client.wake();
    better.set(Door::Open);
    soon(pair.house.store.wait_until(|store| store.applied().len() == 10_000)).await;
    tokio::time::sleep(400 * SECOND).await;
    let back = connected(&pair.client).await;
    assert_eq!((back.reconnect_count, back.transport), (1, Some(TransportKind::Memory)));
    assert_eq!((other.dials(), pair.house.epoch()), (1, 2));
    let mut between = Vec::new();
    while let Some(event) = events.try_recv() {
        between.push(event);
    }
    let lost = between.iter().any(|event| {
        matches!(event, LinkEvent::Lost { .. } | LinkEvent::RetryingAt { .. } | LinkEvent::Fenced)
    });
    assert!(!lost, "a move is no loss: {between:?}");
    assert_eq!(numbers(&pair.house.store), (0..10_000).collect::<Vec<_>>());
    pair.house.has_ended("bye").await;
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_better_road_that_opens_and_carries_nothing_is_left_at_once() {
    let house = Arc::new(House::default());
    let (better, other, pair) = blocked(house);
    connected(&pair.client).await;
    better.set(Door::Slammed);
    tokio::time::sleep(260 * SECOND).await;
    pair.lost().await;
    let lost_at = Instant::now();
    connected(&pair.client).await;
    assert!(lost_at.elapsed() <= 2 * SECOND, "{:?}", lost_at.elapsed());
    assert_eq!(other.dials(), 2);
    pair.finish().await;
}

/// One agent's exchanges, made by hand.
struct Counter {
    house: Arc<House>,
    exchanges: Exchanges,
    link: Uuid,
    opened: Mutex<u32>,
}

const AGENT: Uuid = Uuid::from_u128(1);
const HELLO: &str = r#"{"kind":"hello","ts":"2026-11-21T10:00:00Z","payload":{"protocol_version":1,
    "incarnation":"00000000-0000-0000-0000-000000000007","boot":1,"received":0,"oldest":1}}"#;

impl Counter {
    async fn open() -> Self {
        let counter = Self {
            house: Arc::default(),
            exchanges: Exchanges::default(),
            link: Uuid::from_u128(9),
            opened: Mutex::default(),
        };
        let answer = counter.exchange(AGENT, 0, 0, &[]).await.unwrap();
        assert_eq!(answer, Answer::default());
        counter
    }

    /// With the first frame at `first`; all frames of the server were received.
    async fn exchange(
        &self,
        agent: Uuid,
        number: u64,
        first: u64,
        frames: &[&str],
    ) -> Result<Answer, ExchangeError> {
        let frames = frames.iter().map(|text| Payload::from_text((*text).to_owned()).unwrap());
        let frames = frames.collect();
        let link = self.link;
        let exchange = Exchange { link, number, received: 0, first, frames, close: None };
        let body = serde_json::to_vec(&exchange).unwrap();
        let open = |transport| {
            *self.opened.lock().unwrap() += 1;
            let house = Arc::clone(&self.house);
            tokio::spawn(async move {
                let stop = CancellationToken::new();
                serve(Box::new(transport), &*house, &ServeConfig::default(), stop).await
            });
        };
        let answer = soon(self.exchanges.answer(agent, &body, open)).await?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    /// After the hello, with nothing to say; gives the answer and when it came.
    async fn hold(&self, number: u64, received: u64) -> (Answer, Instant) {
        let (link, frames) = (self.link, Vec::new());
        let exchange = Exchange { link, number, received, first: 1, frames, close: None };
        let body = serde_json::to_vec(&exchange).unwrap();
        let answer = self.exchanges.answer(AGENT, &body, |_| panic!("it is open")).await.unwrap();
        (serde_json::from_slice(&answer).unwrap(), Instant::now())
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_exchange_is_answered_alike_and_counts_once() {
    let counter = Counter::open().await;
    let first = counter.exchange(AGENT, 1, 0, &[HELLO]).await.unwrap();
    assert!(first.frames[0].as_str().contains("welcome"));
    assert_eq!((first.received, first.first), (1, 0));
    let again = counter.exchange(AGENT, 1, 0, &[HELLO]).await.unwrap();
    assert_eq!(again, first);
    // A second hello would be out of turn.
    assert!(counter.house.mailbox().is_open());
    assert_eq!(counter.house.epoch(), 1);
    assert_eq!(*counter.opened.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_comes_too_early_is_answered_at_once_and_taken_later() {
    let counter = Counter::open().await;
    let life = r#"{"kind":"heartbeat","ts":"2026-11-21T10:00:00Z","payload":{}}"#;
    let early = counter.exchange(AGENT, 2, 1, &[life]).await.unwrap();
    assert_eq!((early.received, early.frames.len()), (0, 0));
    let late = counter.exchange(AGENT, 3, 0, &[HELLO, life]).await.unwrap();
    assert_eq!(late.received, 2);
    soon(counter.house.store.wait_until(|store| store.messages().len() == 1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_exchange_is_held_until_there_is_something_to_say_or_a_newer_one_comes() {
    let counter = Counter::open().await;
    let welcome = counter.exchange(AGENT, 1, 0, &[HELLO]).await.unwrap();
    assert_eq!(welcome.frames.len(), 1);
    let began = Instant::now();
    let held = counter.hold(2, 1);
    let newer = async {
        tokio::time::sleep(SECOND).await;
        counter.hold(3, 1).await
    };
    let ((relieved, at), (ping, later)) = soon(async { tokio::join!(held, newer) }).await;
    assert_eq!((relieved.frames.len(), at - began), (0, SECOND));
    assert_eq!(ping.frames.len(), 1);
    assert!((18 * SECOND..=22 * SECOND).contains(&(later - began)), "{:?}", later - began);
    // The next ping is due 18 to 22 s after the first, so this one has to wait for a record.
    let told = async {
        tokio::time::sleep(SECOND).await;
        append(&counter.house.store, 0..1);
        counter.house.mailbox().wake();
    };
    let began = Instant::now();
    let ((record, at), ()) = soon(async { tokio::join!(counter.hold(4, 2), told) }).await;
    assert!(record.frames[0].as_str().contains("job.finished"));
    assert_eq!(at - began, SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_link_belongs_to_its_agent_and_is_gone_when_it_is_not_known() {
    let counter = Counter::open().await;
    let other = Uuid::from_u128(2);
    let stolen = counter.exchange(other, 1, 0, &[HELLO]).await;
    assert_eq!(stolen.unwrap_err(), ExchangeError::Gone);
    let malformed = counter.exchanges.answer(AGENT, b"{}", |_| panic!("opened")).await;
    assert_eq!(malformed.unwrap_err(), ExchangeError::Malformed);
    assert!(counter.house.hellos.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_last_word_waits_for_an_exchange_and_a_late_copy_of_the_first_opens_nothing() {
    let counter = Counter::open().await;
    counter.exchange(AGENT, 1, 0, &[HELLO]).await.unwrap();
    counter.house.mailbox().close(holdfast_link::CloseReason::Fenced);
    counter.house.has_ended("fenced").await;
    let copy = counter.exchange(AGENT, 0, 0, &[]).await.unwrap();
    assert_eq!(*counter.opened.lock().unwrap(), 1);
    assert!(copy.close.is_none());
    let last = counter.exchange(AGENT, 2, 1, &[]).await.unwrap();
    assert_eq!(last.close.unwrap().code, 4409);
    let again = counter.exchange(AGENT, 3, 1, &[]).await.unwrap();
    assert_eq!(again.close.unwrap().code, 4409, "it may have been lost on the way");
}

#[tokio::test(start_paused = true)]
async fn one_agent_cannot_make_the_server_keep_links_without_end() {
    let mut counter = Counter::open().await;
    for number in 0..100 {
        counter.link = Uuid::from_u128(100 + number);
        counter.exchange(AGENT, 0, 0, &[]).await.unwrap();
    }
    let mut known = 0;
    for number in 0..100 {
        counter.link = Uuid::from_u128(100 + number);
        known += u32::from(counter.exchange(AGENT, 1, 0, &[HELLO]).await.is_ok());
    }
    assert_eq!(known, 8);
}
