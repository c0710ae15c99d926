//! Over memory, with paused time: hours pass in no time, and timers fire in order.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use holdfast_link::{
    Client, ClientConfig, CloseReason, Ended, Fatal, LinkEvent, LinkState, Record, ServeConfig,
    Store, Unsequenced,
    dial::{Dial, DialError},
    server::serve,
    session::Loss,
    store::memory::MemoryStore,
    transport::{Incoming, Outgoing, Transport, TransportKind, memory},
};
use holdfast_protocol::{
    Class, Envelope, Payload,
    message::{
        config::Secret,
        link::{Hello, Reject},
    },
};
use jiff::Timestamp;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::world::{
    House, Keys, Machine, TOKEN, append, connected, identity, numbers, soon, status,
};

/// Frames that fit between the two ends before a write waits.
const CAPACITY: usize = 1;
const SECOND: Duration = Duration::from_secs(1);

/// What a dial meets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// A box in between refuses.
    Blocked,
    /// The house answers.
    Open,
    /// It is opened and slammed at once.
    Slammed,
    /// Only a token other than [`TOKEN`] opens it.
    Locked,
    /// Nobody answers, ever.
    Silent,
}

/// Every dial starts a session of the house over memory.
#[derive(Clone)]
pub(crate) struct Doorbell {
    house: Arc<House>,
    door: Arc<Mutex<Door>>,
    dials: Arc<AtomicU64>,
    /// Which road its connections claim to be.
    kind: TransportKind,
    valve: Valve,
    /// The sessions started, oldest first.
    sessions: Arc<Mutex<Vec<JoinHandle<Ended>>>>,
}

impl Doorbell {
    pub(crate) fn set(&self, door: Door) {
        *self.door.lock().unwrap() = door;
    }

    pub(crate) fn dials(&self) -> u64 {
        self.dials.load(Ordering::Relaxed)
    }

    pub(crate) fn new(house: Arc<House>) -> Self {
        Self {
            house,
            door: Arc::new(Mutex::new(Door::Open)),
            dials: Arc::default(),
            kind: TransportKind::Memory,
            valve: Valve::default(),
            sessions: Arc::default(),
        }
    }

    /// The same, as the other road.
    pub(crate) fn by_long_polls(self) -> Self {
        Self { kind: TransportKind::LongPoll, ..self }
    }

    fn open(&self) -> Box<dyn Transport> {
        let (ours, theirs) = memory::pair(CAPACITY);
        let house = Arc::clone(&self.house);
        self.sessions.lock().unwrap().push(tokio::spawn(async move {
            let stop = CancellationToken::new();
            serve(Box::new(theirs), &*house, &ServeConfig::default(), stop).await
        }));
        Box::new(Valved { inner: ours, kind: self.kind, valve: self.valve.clone() })
    }
}

impl Dial for Doorbell {
    async fn dial(&self, token: &Secret) -> Result<Box<dyn Transport>, DialError> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        let door = *self.door.lock().unwrap();
        match door {
            Door::Open => Ok(self.open()),
            Door::Blocked => Err(DialError::UpgradeRefused { status: 200 }),
            Door::Slammed => Ok(Box::new(memory::pair(CAPACITY).0)),
            Door::Locked if token.expose() == TOKEN => {
                Err(DialError::Unauthorised { status: 401, said: None })
            }
            Door::Locked => Ok(self.open()),
            Door::Silent => pending().await,
        }
    }
}

/// Shuts either direction of a connection without anyone being told.
#[derive(Clone, Default)]
struct Valve {
    to_agent: Arc<AtomicBool>,
    to_server: Arc<AtomicBool>,
}

struct Valved {
    inner: memory::Memory,
    kind: TransportKind,
    valve: Valve,
}

impl Transport for Valved {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        loop {
            let incoming = self.inner.poll_receive(cx);
            let shut = self.valve.to_agent.load(Ordering::Relaxed);
            if !(shut && matches!(incoming, Poll::Ready(Incoming::Text(_)))) {
                return incoming;
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        self.inner.poll_ready(cx)
    }

    fn start_send(&mut self, outgoing: Outgoing) -> Result<(), Loss> {
        if self.valve.to_server.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.inner.start_send(outgoing)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        self.inner.poll_flush(cx)
    }

    fn kind(&self) -> TransportKind {
        self.kind
    }
}

pub(crate) struct Pair {
    pub(crate) house: Arc<House>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) client: Client<MemoryStore>,
    keys: Keys,
    bell: Doorbell,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Fatal>>,
}

impl Pair {
    pub(crate) fn start() -> Self {
        Self::start_with(Arc::default(), Door::Open)
    }

    pub(crate) fn start_with(house: Arc<House>, door: Door) -> Self {
        let bell = Doorbell::new(Arc::clone(&house));
        bell.set(door);
        Self::over(house, bell.clone(), bell)
    }

    /// A pair whose client dials with `dialer`, of which `bell` is a part.
    pub(crate) fn over(house: Arc<House>, bell: Doorbell, dialer: impl Dial) -> Self {
        let store = Arc::new(MemoryStore::default());
        let config = ClientConfig::new("http://localhost".parse().unwrap());
        let keys = Keys::new(TOKEN);
        let client = Client::with_dialer(
            config,
            identity(),
            Arc::clone(&store),
            keys.clone(),
            Machine,
            dialer,
        );
        let stop = CancellationToken::new();
        let (runner, token) = (client.clone(), stop.clone());
        let task = tokio::spawn(async move { runner.run(token).await });
        Self { house, store, client, keys, bell, stop, task }
    }

    /// Ends the server's end of the present session without a word.
    pub(crate) fn cut(&self) {
        if let Some(session) = self.bell.sessions.lock().unwrap().last() {
            session.abort();
        }
    }

    fn dials(&self) -> u64 {
        self.bell.dials()
    }

    pub(crate) async fn lost(&self) {
        status(&self.client, |status| !status.is_connected()).await;
    }

    pub(crate) async fn finish(self) {
        self.stop.cancel();
        soon(self.task).await.unwrap().unwrap();
    }
}

fn message(class: Class, kind: &str, key: &str, number: u32) -> Unsequenced {
    let (key, kind) = (key.to_owned(), kind.to_owned());
    Unsequenced { class, key, ts: Timestamp::UNIX_EPOCH, kind, payload: Payload::of(&number) }
}

/// The bodies of the messages of `kind` that came.
fn bodies(store: &MemoryStore, kind: &str) -> Vec<u32> {
    let messages = store.messages();
    let of_kind = messages.iter().filter(|message| message.kind == kind);
    of_kind.map(|message| message.payload.parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn records_survive_a_cut_at_any_place() {
    let pair = Pair::start();
    for round in 0..20u32 {
        append(&pair.store, round * 50..(round + 1) * 50);
        pair.client.wake();
        connected(&pair.client).await;
        let some = (round as usize * 50) + 7 + round as usize;
        soon(pair.house.store.wait_until(|store| store.applied().len() >= some)).await;
        pair.cut();
    }
    soon(pair.house.store.wait_until(|store| store.applied().len() == 1000)).await;
    assert_eq!(numbers(&pair.house.store), (0..1000).collect::<Vec<_>>());
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_link_at_rest_stays_up_for_hours_and_shows_life() {
    let pair = Pair::start();
    let first = connected(&pair.client).await;
    tokio::time::sleep(6 * 3600 * SECOND).await;
    let last = connected(&pair.client).await;
    assert_eq!((first.session_id, last.reconnect_count), (last.session_id, 0));
    let beats = pair.house.store.messages().len();
    assert!((900..=1200).contains(&beats), "{beats} heartbeats in six hours");
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_noticed_in_time_in_every_direction() {
    for (to_agent, to_server) in [(true, true), (true, false), (false, true)] {
        let pair = Pair::start();
        connected(&pair.client).await;
        tokio::time::sleep(100 * SECOND).await;
        let shut_at = Instant::now();
        pair.bell.valve.to_agent.store(to_agent, Ordering::Relaxed);
        pair.bell.valve.to_server.store(to_server, Ordering::Relaxed);
        pair.lost().await;
        let noticed = shut_at.elapsed();
        // The close frame of the other end may arrive where that direction is still open.
        assert!(noticed <= 52 * SECOND, "{to_agent} {to_server}: {noticed:?}");
        let session = pair.bell.sessions.lock().unwrap().remove(0);
        soon(session).await.unwrap();
        assert!(shut_at.elapsed() <= 52 * SECOND, "the server's end: {:?}", shut_at.elapsed());
        pair.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_drops_at_once_is_dialled_ever_more_rarely() {
    let pair = Pair::start_with(Arc::default(), Door::Slammed);
    tokio::time::sleep(60 * SECOND).await;
    let early = pair.dials();
    assert!(early <= 40, "{early} dials in the first minute");
    tokio::time::sleep(600 * SECOND).await;
    let late = pair.dials() - early;
    assert!((5..=60).contains(&late), "{late} dials in the next ten minutes");
    *pair.bell.door.lock().unwrap() = Door::Open;
    connected(&pair.client).await;
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_flapping_link_makes_progress_and_short_sessions_do_not_reset_the_backoff() {
    let pair = Pair::start();
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < 600 * SECOND {
        append(&pair.store, number..number + 1);
        pair.client.wake();
        number += 1;
        connected(&pair.client).await;
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(pair.house.store.applied().len(), number as usize);
        pair.cut();
        pair.lost().await;
    }
    assert!(pair.dials() <= 100, "{} dials in ten minutes", pair.dials());
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_lasted_resets_the_backoff() {
    let pair = Pair::start();
    let mut waits = Vec::new();
    for _ in 0..20 {
        connected(&pair.client).await;
        tokio::time::sleep(31 * SECOND).await;
        pair.cut();
        pair.lost().await;
        let lost_at = Instant::now();
        connected(&pair.client).await;
        waits.push(lost_at.elapsed());
    }
    assert!(waits.iter().all(|wait| *wait <= SECOND + SECOND / 100), "{waits:?}");
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_server_spreads_the_first_redial() {
    let house = Arc::new(House::default());
    *house.redial_spread.lock().unwrap() = 120 * SECOND;
    let pair = Pair::start_with(house, Door::Open);
    let mut waits = Vec::new();
    for _ in 0..30 {
        connected(&pair.client).await;
        tokio::time::sleep(31 * SECOND).await;
        pair.cut();
        pair.lost().await;
        let lost_at = Instant::now();
        connected(&pair.client).await;
        waits.push(lost_at.elapsed());
    }
    let late = waits.iter().filter(|wait| **wait > 30 * SECOND).count();
    assert!(late > 5 && waits.iter().all(|wait| *wait <= 121 * SECOND), "{waits:?}");
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_nobody_answers_is_given_up_and_tried_again() {
    let pair = Pair::start_with(Arc::default(), Door::Silent);
    let refused = status(&pair.client, |status| status.last_error.is_some()).await;
    assert_eq!(
        refused.last_error.as_deref(),
        Some("cannot reach http://localhost: no answer within 15s")
    );
    *pair.bell.door.lock().unwrap() = Door::Open;
    connected(&pair.client).await;
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_shown_rarely_and_a_new_one_soon() {
    let pair = Pair::start_with(Arc::default(), Door::Locked);
    tokio::time::sleep(3600 * SECOND).await;
    assert!((30..=61).contains(&pair.dials()), "{} dials in an hour", pair.dials());
    status(&pair.client, |status| status.state == LinkState::Waiting).await;
    let enrolled_at = Instant::now();
    *pair.keys.0.lock().unwrap() = Some(Secret::new("hf_agt_new"));
    connected(&pair.client).await;
    assert!(enrolled_at.elapsed() <= 5 * SECOND + SECOND / 10, "{:?}", enrolled_at.elapsed());
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_is_immediate_while_dialling_and_while_waiting() {
    for door in [Door::Locked, Door::Silent, Door::Slammed] {
        let pair = Pair::start_with(Arc::default(), door);
        tokio::time::sleep(100 * SECOND).await;
        let (stopped_at, client) = (Instant::now(), pair.client.clone());
        let mut events = client.events();
        pair.finish().await;
        assert_eq!(stopped_at.elapsed(), Duration::ZERO);
        assert_eq!(client.status().borrow().state, LinkState::Stopped);
        assert_eq!(soon(events.recv()).await, Ok(LinkEvent::Stopped));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fatal_reject_is_asked_again_slowly_and_a_passing_one_when_it_says() {
    for (fatal, retry_after_ms, early, late) in
        [(true, None, 60, 120), (false, Some(7000), 7, 8), (false, None, 0, 1)]
    {
        let house = Arc::new(House::default());
        *house.reject.lock().unwrap() = Some(Reject {
            code: "unknown_incarnation".to_owned(),
            message: "this agent is not known; enrol it again".to_owned(),
            retry_after_ms,
            fatal,
        });
        let pair = Pair::start_with(Arc::clone(&house), Door::Open);
        let refused = status(&pair.client, |status| status.state == LinkState::Waiting).await;
        let refused_at = Instant::now();
        assert_eq!(refused.last_error_code.as_deref(), Some("unknown_incarnation"));
        assert_eq!(refused.last_error.as_deref(), Some("this agent is not known; enrol it again"));
        house.reject.lock().unwrap().take();
        connected(&pair.client).await;
        let waited = refused_at.elapsed();
        assert!(
            (early * SECOND..=late * SECOND + SECOND / 10).contains(&waited),
            "{fatal} {retry_after_ms:?}: {waited:?}"
        );
        pair.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_asked_to_go_comes_back_when_it_was_told_to() {
    let pair = Pair::start();
    connected(&pair.client).await;
    tokio::time::sleep(40 * SECOND).await;
    pair.house.mailbox().close(CloseReason::Draining { after: 90 * SECOND });
    pair.lost().await;
    let asked_at = Instant::now();
    connected(&pair.client).await;
    let waited = asked_at.elapsed();
    assert!((90 * SECOND..=91 * SECOND + SECOND / 10).contains(&waited), "{waited:?}");
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_was_shut_out_does_not_fight() {
    let pair = Pair::start();
    connected(&pair.client).await;
    pair.house.mailbox().close(CloseReason::Fenced);
    pair.lost().await;
    let fenced_at = Instant::now();
    connected(&pair.client).await;
    assert!(fenced_at.elapsed() >= 60 * SECOND);
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_set_back_ends_the_run() {
    let house = Arc::new(House::default());
    let ahead = |seq| Record {
        seq,
        ts: Timestamp::UNIX_EPOCH,
        kind: "job.finished".to_owned(),
        payload: Payload::of(&1),
    };
    house.store.apply((1..=5).map(ahead).collect()).await.unwrap();
    let pair = Pair::start_with(house, Door::Open);
    let Pair { task, bell, .. } = pair;
    let ended = soon(task).await.unwrap();
    assert_eq!(ended, Err(Fatal::SetBack { ours: 0, theirs: 5 }));
    assert_eq!(bell.dials.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_disk_refuses_loses_nothing() {
    let pair = Pair::start();
    connected(&pair.client).await;
    pair.house.store.set_failing(true);
    append(&pair.store, 0..100);
    pair.client.wake();
    pair.house.has_ended("store_failed").await;
    pair.house.store.set_failing(false);
    soon(pair.house.store.wait_until(|store| store.applied().len() == 100)).await;
    assert_eq!(numbers(&pair.house.store), (0..100).collect::<Vec<_>>());
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_disk_refuses_comes_back_when_it_does_not() {
    let pair = Pair::start();
    connected(&pair.client).await;
    pair.store.set_failing(true);
    append(&pair.house.store, 0..10);
    pair.house.mailbox().wake();
    let refused = status(&pair.client, |status| status.last_error.is_some()).await;
    assert_eq!(refused.last_error_code.as_deref(), Some("store_failed"));
    pair.store.set_failing(false);
    soon(pair.store.wait_until(|store| store.applied().len() == 10)).await;
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_state_is_sent_at_the_start_of_every_session() {
    let pair = Pair::start();
    connected(&pair.client).await;
    pair.client.send(message(Class::State, "config.update", "", 1));
    soon(pair.house.store.wait_until(|store| bodies(store, "config.update") == [1])).await;
    *pair.bell.door.lock().unwrap() = Door::Slammed;
    pair.cut();
    pair.lost().await;
    pair.client.send(message(Class::State, "config.update", "", 2));
    pair.client.send(message(Class::State, "config.update", "", 3));
    *pair.bell.door.lock().unwrap() = Door::Open;
    soon(pair.house.store.wait_until(|store| bodies(store, "config.update") == [1, 3])).await;
    pair.cut();
    soon(pair.house.store.wait_until(|store| bodies(store, "config.update") == [1, 3, 3])).await;
    pair.client.withdraw("config.update", "");
    pair.cut();
    pair.lost().await;
    connected(&pair.client).await;
    append(&pair.store, 0..1);
    pair.client.wake();
    soon(pair.house.store.wait_until(|store| store.applied().len() == 1)).await;
    assert_eq!(bodies(&pair.house.store, "config.update"), [1, 3, 3]);
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn logs_of_an_outage_are_sent_later_as_far_as_there_was_room() {
    let pair = Pair::start_with(Arc::default(), Door::Slammed);
    for number in 0..300 {
        pair.client.send(message(Class::Log, "log.stream", "", number));
        pair.client.send(message(Class::Progress, "job.progress", "job", number));
    }
    assert_eq!(pair.client.dropped().logs, 44);
    *pair.bell.door.lock().unwrap() = Door::Open;
    soon(
        pair.house
            .store
            .wait_until(|store| bodies(store, "log.stream") == (44..300).collect::<Vec<_>>()),
    )
    .await;
    soon(pair.house.store.wait_until(|store| bodies(store, "job.progress") == [299])).await;
    assert_eq!(pair.client.dropped().logs, 44);
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn progress_withdrawn_during_an_outage_is_never_sent() {
    let pair = Pair::start_with(Arc::default(), Door::Slammed);
    pair.client.send(message(Class::Progress, "job.progress", "job", 1));
    pair.client.send(message(Class::Progress, "job.progress", "other", 2));
    pair.client.withdraw("job.progress", "job");
    *pair.bell.door.lock().unwrap() = Door::Open;
    soon(pair.house.store.wait_until(|store| !bodies(store, "job.progress").is_empty())).await;
    append(&pair.store, 0..1);
    pair.client.wake();
    soon(pair.house.store.wait_until(|store| store.applied().len() == 1)).await;
    assert_eq!(bodies(&pair.house.store, "job.progress"), [2]);
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_must_know_comes_first() {
    let house = Arc::new(House::default());
    append(&house.store, 0..1);
    house.states.lock().unwrap().push(message(Class::State, "config.update", "", 9));
    let pair = Pair::start_with(house, Door::Open);
    soon(
        pair.store.wait_until(|store| {
            store.applied().is_empty() || bodies(store, "config.update") == [9]
        }),
    )
    .await;
    soon(pair.store.wait_until(|store| store.applied().len() == 1)).await;
    assert_eq!(bodies(&pair.store, "config.update"), [9]);
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_is_closed_with_its_session() {
    let pair = Pair::start();
    connected(&pair.client).await;
    let mailbox = pair.house.mailbox();
    assert!(mailbox.is_open());
    assert_eq!(Some(mailbox.session_id()), pair.client.status().borrow().session_id);
    pair.stop.cancel();
    pair.house.has_ended("bye").await;
    assert!(!mailbox.is_open());
    mailbox.wake();
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_hello_says_who_and_where_this_is() {
    let pair = Pair::start();
    connected(&pair.client).await;
    pair.cut();
    pair.lost().await;
    connected(&pair.client).await;
    let hellos: Vec<Hello> = pair.house.hellos.lock().unwrap().clone();
    let [first, second] = &hellos[..] else { panic!("{} hellos", hellos.len()) };
    assert_eq!((first.epoch, second.epoch), (0, 1));
    assert_eq!((second.boot, second.incarnation), (1, identity().incarnation));
    assert_eq!(
        (second.facts.hostname.as_str(), &second.capabilities[..]),
        ("box", &["pause".to_owned()][..])
    );
    pair.finish().await;
}

/// Speaks to the house by hand.
struct ByHand {
    transport: memory::Memory,
}

impl ByHand {
    async fn say(&mut self, text: &str) {
        let text = text.replace("TS", r#""ts":"2026-11-21T10:00:00Z""#);
        std::future::poll_fn(|cx| self.transport.poll_ready(cx)).await.unwrap();
        self.transport.start_send(Outgoing::Text(text)).unwrap();
    }

    async fn hear(&mut self) -> Incoming {
        soon(std::future::poll_fn(|cx| self.transport.poll_receive(cx))).await
    }

    async fn hear_kind(&mut self) -> String {
        match self.hear().await {
            Incoming::Text(text) => Envelope::from_json(&text).unwrap().kind,
            other => panic!("expected a frame: {other:?}"),
        }
    }
}

const HELLO: &str = r#"{"kind":"hello",TS,"payload":{"protocol_version":1,
    "incarnation":"00000000-0000-0000-0000-000000000007","boot":1,"received":0,"oldest":1}}"#;

fn by_hand(house: &Arc<House>) -> (ByHand, JoinHandle<Ended>) {
    let (ours, theirs) = memory::pair(CAPACITY);
    let house = Arc::clone(house);
    let session = tokio::spawn(async move {
        let stop = CancellationToken::new();
        serve(Box::new(theirs), &*house, &ServeConfig::default(), stop).await
    });
    (ByHand { transport: ours }, session)
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_says_nothing_is_closed_in_time() {
    let house = Arc::new(House::default());
    let (mut caller, session) = by_hand(&house);
    let called_at = Instant::now();
    let Incoming::Lost(Loss::Closed { code, .. }) = caller.hear().await else { panic!("a frame") };
    assert_eq!((code, called_at.elapsed()), (Some(4408), 10 * SECOND));
    assert_eq!(soon(session).await.unwrap().code(), "handshake_timed_out");
    assert!(house.hellos.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_given_up_on_and_holds_no_memory() {
    let house = Arc::new(House::default());
    let (mut caller, session) = by_hand(&house);
    caller.say(HELLO).await;
    assert_eq!(caller.hear_kind().await, "welcome");
    append(&house.store, 0..10_000);
    let mailbox = house.mailbox();
    mailbox.wake();
    let began = Instant::now();
    let ended = soon(session).await.unwrap();
    // Its close frame finds no room either; that takes another second.
    assert_eq!(ended.code(), "stalled");
    assert!(began.elapsed() <= 12 * SECOND, "{:?}", began.elapsed());
    assert!(!mailbox.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_drip_of_frames_without_records_keeps_nobody_from_leaving() {
    let house = Arc::new(House::default());
    let (mut caller, session) = by_hand(&house);
    caller.say(HELLO).await;
    assert_eq!(caller.hear_kind().await, "welcome");
    house.mailbox().close(CloseReason::Draining { after: SECOND });
    assert_eq!(caller.hear_kind().await, "goaway");
    let asked_at = Instant::now();
    while !session.is_finished() {
        if asked_at.elapsed() < 5 * SECOND {
            caller.say(r#"{"kind":"heartbeat",TS,"payload":{}}"#).await;
        }
        tokio::time::sleep(SECOND / 10).await;
    }
    assert!(asked_at.elapsed() <= 7 * SECOND, "{:?}", asked_at.elapsed());
    assert_eq!(soon(session).await.unwrap().code(), "draining");
}

#[tokio::test(start_paused = true)]
async fn signs_of_life_that_waited_while_the_server_slept_count() {
    let house = Arc::new(House::default());
    *house.standstill.lock().unwrap() = 60 * SECOND;
    let (mut caller, _session) = by_hand(&house);
    caller.say(HELLO).await;
    // It comes at once and waits in the pipe; when the server wakes, every deadline has passed.
    caller.say(r#"{"kind":"heartbeat",TS,"payload":{}}"#).await;
    assert_eq!(caller.hear_kind().await, "welcome");
    assert_eq!(caller.hear_kind().await, "ping");
    assert!(house.mailbox().is_open());
}

#[tokio::test(start_paused = true)]
async fn a_record_appended_before_there_was_a_mailbox_is_found() {
    let house = Arc::new(House::default());
    *house.late.lock().unwrap() = 3;
    let pair = Pair::start_with(house, Door::Open);
    soon(pair.store.wait_until(|store| numbers(store) == [0, 1, 2])).await;
    pair.finish().await;
}
