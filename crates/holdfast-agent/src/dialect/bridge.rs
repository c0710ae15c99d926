//! Between the agent's link and another system's server.
//!
//! To the link the bridge is a server. Its store keeps nothing: a record of the agent counts as
//! applied once the other server has read it, which it shows by answering the WebSocket ping behind
//! it; a command of the other server is a record that the link takes from here at once. What a lost
//! connection leaves unproven stays in the agent's outbox and is said again, which every one of
//! these systems takes for the same.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use holdfast_link::{
    Admission, Ended, Gate, Mailbox, Positions, Record, ServeConfig, Store, StoreError,
    Unsequenced, server, transport::memory::Memory,
};
use holdfast_protocol::{
    JobId, Message, Seq, SessionId,
    message::{
        command::Verb,
        link::{Hello, Reject},
    },
};
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Notes,
    nerdbackup::Polling,
    socket::{Gone, Socket},
};

/// One system's words, spoken to its server.
pub(super) trait Tongue: Send + 'static {
    /// What a frame says. [`Gone`] ends the connection.
    fn hear(&mut self, frame: Frame) -> impl Future<Output = Result<Heard, Gone>> + Send;

    /// The frames that say a message of the agent; none for what has no word there.
    fn say(&mut self, message: &Message) -> Vec<Frame>;

    /// What is due now, asked about every second.
    fn tick(&mut self) -> Vec<Frame> {
        Vec::new()
    }

    /// How this system's agents say goodbye.
    fn goodbye(&self) -> &'static str;
}

/// What came of a frame.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Records for the agent.
    pub(super) orders: Vec<Message>,
    /// States for the agent.
    pub(super) states: Vec<Message>,
    /// What is answered at once.
    pub(super) replies: Vec<Frame>,
}

/// A connection whose greeting is over.
pub(super) struct Greeted<T> {
    pub(super) tongue: T,
    pub(super) socket: Socket,
    pub(super) notes: Arc<Notes>,
    /// What the agent must know first.
    pub(super) states: Vec<Message>,
}

/// A message of the agent on its way to the other server.
pub(super) struct Outgoing {
    pub(super) message: Message,
    /// Told when the other server has it; absent for what may be lost.
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// Messages that may wait for the socket.
const WAITING_MAX: usize = 64;
/// How long the other server may take to show that it has read a record.
const PROOF_WITHIN: Duration = Duration::from_secs(30);
/// How often it is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A server that shows none for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(50);

/// Serves the far end of the link's pipe over a socket.
pub(super) fn spawn<T: Tongue>(greeted: Greeted<T>, pipe: Memory) {
    tokio::spawn(async move {
        let Greeted { tongue, socket, notes, states } = greeted;
        notes.set_polling(false);
        let (gate, orders, outgoing) = ends(&notes, states);
        let stop = CancellationToken::new();
        let config = ServeConfig::default();
        let link = server::serve(Box::new(pipe), &gate, &config, stop);
        let mut talk = Talk { tongue, socket, notes, orders, unproven: VecDeque::new(), pings: 0 };
        let left = tokio::select! {
            biased;
            ended = Box::pin(link) => Some(ended),
            () = talk.run(outgoing) => None,
        };
        match left {
            Some(ended) => {
                tracing::debug!(%ended, "the agent has left the other server");
                let goodbye = talk.tongue.goodbye();
                talk.socket.close(1000, goodbye).await;
            }
            None => tracing::info!("the connection to the other server is lost"),
        }
    });
}

/// Serves the far end of the link's pipe by asking over HTTP.
pub(super) fn spawn_polling(polling: Polling, pipe: Memory) {
    tokio::spawn(async move {
        let (gate, orders, outgoing) = ends(polling.notes(), polling.states());
        let config = ServeConfig::default();
        let link = server::serve(Box::new(pipe), &gate, &config, CancellationToken::new());
        tokio::select! {
            biased;
            _ = Box::pin(link) => {}
            () = polling.run(outgoing, orders) => {}
        }
    });
}

fn ends(notes: &Arc<Notes>, states: Vec<Message>) -> (Near, Arc<Orders>, mpsc::Receiver<Outgoing>) {
    let (to_server, outgoing) = mpsc::channel(WAITING_MAX);
    let orders = Arc::new(Orders::default());
    let store = Arc::new(Passing { to_server, orders: Arc::clone(&orders) });
    (
        Near { store, orders: Arc::clone(&orders), notes: Arc::clone(notes), states },
        orders,
        outgoing,
    )
}

/// Commands of the other server, for the agent.
#[derive(Default)]
pub(super) struct Orders {
    inner: Mutex<Queue>,
    mailbox: OnceLock<Mailbox>,
}

#[derive(Default)]
struct Queue {
    /// Where the agent's own records begin.
    received: Seq,
    /// The last command that was taken from the other server.
    last: Seq,
    records: VecDeque<Record>,
}

/// Commands that may wait for the agent. It takes them as fast as its disk.
const ORDERS_MAX: usize = 1000;

impl Orders {
    /// Hands a command to the agent; false when too many wait.
    pub(super) fn push(&self, message: &Message) -> bool {
        let mut queue = self.lock();
        if queue.records.len() >= ORDERS_MAX {
            return false;
        }
        queue.last += 1;
        let record = Record {
            seq: queue.last,
            ts: Timestamp::now(),
            kind: message.kind().to_owned(),
            payload: message.encode(),
        };
        queue.records.push_back(record);
        drop(queue);
        if let Some(mailbox) = self.mailbox.get() {
            mailbox.wake();
        }
        true
    }

    /// Tells the agent a state.
    pub(super) fn state(&self, message: &Message) {
        if let Some(mailbox) = self.mailbox.get() {
            mailbox.send(state(message));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state(message: &Message) -> Unsequenced {
    Unsequenced {
        class: message.class(),
        key: String::new(),
        ts: Timestamp::now(),
        kind: message.kind().to_owned(),
        payload: message.encode(),
    }
}

/// The bridge as the link's server.
struct Near {
    store: Arc<Passing>,
    orders: Arc<Orders>,
    notes: Arc<Notes>,
    states: Vec<Message>,
}

impl Gate for Near {
    type Store = Passing;

    async fn admit(&self, hello: Hello) -> Result<Admission<Passing>, Reject> {
        {
            // Nothing is numbered over there, so both directions go on where the agent stands.
            let mut queue = self.orders.lock();
            queue.received = hello.oldest.saturating_sub(1).max(self.notes.delivered());
            let base = hello.received;
            queue.last = base;
            for (place, record) in (1..).zip(&mut queue.records) {
                record.seq = base + place;
            }
            let waiting = Seq::try_from(queue.records.len()).unwrap_or(0);
            queue.last += waiting;
        }
        Ok(Admission {
            session_id: SessionId::from_uuid(Uuid::new_v4()),
            epoch: hello.epoch + 1,
            store: Arc::clone(&self.store),
            states: self.states.iter().map(state).collect(),
            redial_spread: Duration::from_secs(2),
        })
    }

    async fn opened(&self, mailbox: Mailbox) {
        let _ = self.orders.mailbox.set(mailbox.clone());
        mailbox.wake();
    }

    async fn closed(&self, _session_id: SessionId, _ended: &Ended) {}
}

/// A store that passes everything on.
struct Passing {
    to_server: mpsc::Sender<Outgoing>,
    orders: Arc<Orders>,
}

impl Store for Passing {
    async fn positions(&self) -> Result<Positions, StoreError> {
        let queue = self.orders.lock();
        let oldest = queue.records.front().map_or(queue.last + 1, |record| record.seq);
        Ok(Positions { received: queue.received, oldest, next: queue.last + 1 })
    }

    async fn load(&self, after: Seq, limit: usize) -> Result<Vec<Record>, StoreError> {
        let queue = self.orders.lock();
        let fresh = queue.records.iter().filter(|record| record.seq > after);
        Ok(fresh.take(limit).cloned().collect())
    }

    async fn forget(&self, through: Seq) -> Result<(), StoreError> {
        self.orders.lock().records.retain(|record| record.seq > through);
        Ok(())
    }

    async fn apply(&self, records: Vec<Record>) -> Result<(), StoreError> {
        let mut last = None;
        for record in records {
            // A record that this build does not know has no word over there either.
            let Ok(message) = Message::decode(&record.kind, &record.payload) else { continue };
            let (done, proof) = oneshot::channel();
            let outgoing = Outgoing { message, done: Some(done) };
            let sent = timeout(PROOF_WITHIN, self.to_server.send(outgoing)).await;
            sent.map_err(|_| unread())?.map_err(|_| unread())?;
            last = Some(proof);
        }
        match last {
            // They are read in order, so the last stands for all.
            Some(proof) => {
                let proven = timeout(PROOF_WITHIN, proof).await;
                proven.map_err(|_| unread())?.map_err(|_| unread())
            }
            None => Ok(()),
        }
    }

    async fn receive(&self, message: Unsequenced) -> Result<(), StoreError> {
        if let Ok(message) = Message::decode(&message.kind, &message.payload) {
            // What finds no room is progress, a log line or a heartbeat: another follows.
            let _ = self.to_server.try_send(Outgoing { message, done: None });
        }
        Ok(())
    }
}

fn unread() -> StoreError {
    StoreError::new("telling the other server", "it has not shown to have read it")
}

/// The conversation with the other server.
struct Talk<T> {
    tongue: T,
    socket: Socket,
    notes: Arc<Notes>,
    orders: Arc<Orders>,
    unproven: VecDeque<Unproven>,
    pings: u64,
}

/// Something said, and the ping behind it.
struct Unproven {
    nonce: u64,
    done: oneshot::Sender<()>,
    ends: Option<JobId>,
}

impl<T: Tongue> Talk<T> {
    /// Talks until the connection is lost.
    async fn run(&mut self, mut outgoing: mpsc::Receiver<Outgoing>) {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard_at, mut pinged_at) = (Instant::now(), Instant::now());
        loop {
            let done = tokio::select! {
                biased;
                frame = self.socket.next() => {
                    heard_at = Instant::now();
                    match frame {
                        Some(frame) => self.take(frame).await,
                        None => return,
                    }
                }
                Some(message) = outgoing.recv() => self.tell(message).await,
                _ = seconds.tick() => {
                    if heard_at.elapsed() > SILENCE_MAX {
                        return;
                    }
                    let mut frames = self.tongue.tick();
                    if pinged_at.elapsed() > PING_EVERY {
                        pinged_at = Instant::now();
                        frames.push(Frame::Ping(b"alive".to_vec().into()));
                    }
                    self.send_all(frames).await
                }
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Gone> {
        match frame {
            Frame::Pong(nonce) => {
                self.prove(&nonce);
                return Ok(());
            }
            Frame::Close(_) => return Err(Gone),
            Frame::Ping(_) | Frame::Frame(_) => return Ok(()),
            Frame::Text(_) | Frame::Binary(_) => {}
        }
        let heard = self.tongue.hear(frame).await?;
        heard.states.iter().for_each(|state| self.orders.state(state));
        for order in &heard.orders {
            if !self.orders.push(order) {
                tracing::warn!(kind = order.kind(), "a command was dropped: too many wait");
            }
        }
        self.send_all(heard.replies).await
    }

    async fn tell(&mut self, outgoing: Outgoing) -> Result<(), Gone> {
        let Outgoing { message, done } = outgoing;
        note(&self.notes, &message);
        let frames = self.tongue.say(&message);
        let said = !frames.is_empty();
        self.send_all(frames).await?;
        let Some(done) = done else { return Ok(()) };
        let ends = last_word(&message);
        if !said && self.unproven.is_empty() {
            ends.into_iter().for_each(|job| self.notes.ended(job));
            let _ = done.send(());
            return Ok(());
        }
        self.pings += 1;
        let nonce = self.pings;
        self.unproven.push_back(Unproven { nonce, done, ends });
        self.socket.send(Frame::Ping(nonce.to_be_bytes().to_vec().into())).await
    }

    /// The other server has read everything before its answer.
    fn prove(&mut self, nonce: &[u8]) {
        let Ok(nonce) = nonce.try_into().map(u64::from_be_bytes) else { return };
        while let Some(unproven) = self.unproven.pop_front_if(|first| first.nonce <= nonce) {
            unproven.ends.into_iter().for_each(|job| self.notes.ended(job));
            let _ = unproven.done.send(());
        }
    }

    async fn send_all(&mut self, frames: Vec<Frame>) -> Result<(), Gone> {
        for frame in frames {
            self.socket.send(frame).await?;
        }
        Ok(())
    }
}

/// The job about which nothing comes after this message: it has ended, or never begins.
pub(super) fn last_word(message: &Message) -> Option<JobId> {
    match message {
        Message::JobFinished(finished) => Some(finished.job_id),
        Message::CommandResult(outcome) if outcome.command == Verb::Run && !outcome.accepted => {
            Some(outcome.job_id)
        }
        _ => None,
    }
}

/// Notes a job's start, which some systems want told with every later word about it, and which
/// jobs there are.
pub(super) fn note(notes: &Notes, message: &Message) {
    match message {
        Message::JobStarted(started) => {
            notes.started(started.job_id, &started.tag, started.started_at);
        }
        Message::Heartbeat(beat) => notes.settle(beat),
        _ => {}
    }
}
