//! The server's end of links: one call per connection, and a mailbox per live session.

mod detached;
mod exchanges;
mod open_gate;

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use detached::{Delivery, Detached};
pub use exchanges::{EXCHANGE_SIZE_MAX, ExchangeError, Exchanges};
use holdfast_protocol::{
    Payload, SessionId,
    message::link::{Hello, Refusal, Reject},
};
use jiff::Timestamp;
pub use open_gate::OpenGate;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    dice::Dice,
    driver::{
        Answering, Driver, Outside, Wire, drain,
        handshake::{self, Caller},
        live,
    },
    post::Post,
    session::{
        Admitted, CloseReason, Config, Ended, Event, Notice, Opened, Rate, Request, RequestError,
        Session,
    },
    store::{Store, StoreError, Unsequenced},
    transport::{Transport, accepted::Accepted},
};

/// Times and bounds of the server's end.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Those of each session. Heartbeat and silence are told to the agent in the welcome; `jitter`
    /// is drawn anew for each.
    pub session: Config,
    /// Where chance comes from.
    pub dice: Dice,
}

impl Default for ServeConfig {
    /// The defaults of a session, and a limit on how fast an agent may talk.
    fn default() -> Self {
        let session = Config { rate: Some(Rate::default()), ..Config::default() };
        Self { session, dice: Dice::default() }
    }
}

/// Who may come in, and who is to know. The hub of the server implements it.
pub trait Gate: Send + Sync {
    /// The store of one host.
    type Store: Store;

    /// Decides about a hello: raises the epoch in the store, so that an older session of this agent
    /// can no longer write, and gives the host's store under the new epoch.
    ///
    /// A gate whose database was set back to an older copy sees it here, as `hello.received` above
    /// its own newest record, and may raise its numbers before it answers.
    ///
    /// # Errors
    /// A [`Reject`], which is sent as it is.
    fn admit(
        &self,
        hello: Hello,
    ) -> impl Future<Output = Result<Admission<Self::Store>, Reject>> + Send;

    /// The session is live from now on. The place to close an older one, with
    /// [`CloseReason::Fenced`], and to send again a state that has changed since `admit`. Records
    /// appended meanwhile are found without being told.
    fn opened(&self, mailbox: Mailbox) -> impl Future<Output = ()> + Send;

    /// The agent of a live session asks. It may take its time; others are asked meanwhile. The
    /// default knows nothing.
    ///
    /// # Errors
    /// A [`Refusal`], which is sent as it is.
    ///
    /// # Cancel safety
    /// Dropped half-way when the session ends.
    fn answer(
        &self,
        session_id: SessionId,
        request: Request,
    ) -> impl Future<Output = Result<Payload, Refusal>> + Send {
        let _ = session_id;
        std::future::ready(Err(Refusal::unknown(&request.kind)))
    }

    /// A session that was opened has ended; its store work is finished.
    fn closed(&self, session_id: SessionId, ended: &Ended) -> impl Future<Output = ()> + Send;
}

/// The gate's yes.
#[derive(Debug)]
pub struct Admission<S> {
    /// This session; a fresh id.
    pub session_id: SessionId,
    /// Its fencing token, higher than any before for this agent.
    pub epoch: u64,
    /// The host's store, which refuses to write once the epoch has been raised again.
    pub store: Arc<S>,
    /// What the agent must know first: its configuration, its schedules.
    pub states: Vec<Unsequenced>,
    /// How far the agents are to spread their redials, should this server go away.
    pub redial_spread: Duration,
}

/// The hub's handle to one live session. Cheap to clone; using it after the session has ended does
/// nothing.
#[derive(Clone)]
pub struct Mailbox {
    inner: Arc<MailboxInner>,
}

struct MailboxInner {
    session_id: SessionId,
    epoch: u64,
    open: AtomicBool,
    post: Post,
}

impl Mailbox {
    fn new(session_id: SessionId, epoch: u64) -> Self {
        let open = AtomicBool::new(true);
        Self { inner: Arc::new(MailboxInner { session_id, epoch, open, post: Post::default() }) }
    }

    /// Records were appended to the host's store: send them.
    pub fn wake(&self) {
        self.inner.post.wake();
    }

    /// Sends a message without number, by the overflow table. Never waits.
    pub fn send(&self, message: Unsequenced) {
        self.inner.post.send(message);
    }

    /// Asks the agent and waits for its answer, at most `timeout`.
    ///
    /// A question is not kept: when the session ends first nobody knows whether the agent has
    /// acted. What must happen exactly once belongs into a record.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe: the answer is dropped when it comes.
    pub async fn request(
        &self,
        kind: &str,
        payload: Payload,
        timeout: Duration,
    ) -> Result<Payload, RequestError> {
        self.inner.post.ask(kind, payload, timeout).await
    }

    /// Ends the session. The first reason given counts.
    pub fn close(&self, reason: CloseReason) {
        self.inner.post.close(reason);
    }

    /// The session has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inner.open.load(Ordering::Acquire)
    }

    /// Which session this is.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.inner.session_id
    }

    /// Its fencing token.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.inner.epoch
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("session_id", &self.inner.session_id)
            .field("epoch", &self.inner.epoch)
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

/// Marks the mailbox closed, also when the task that serves it is dropped.
struct OpenGuard(Mailbox);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.inner.open.store(false, Ordering::Release);
    }
}

/// Serves one agent on a connection that an [`Upgrade`](crate::Upgrade) has opened, until the
/// session ends. The request must be authenticated already.
///
/// When `stop` is cancelled, the agent is asked to go and come back later, spread over the
/// admission's `redial_spread`.
///
/// # Cancel safety
/// Not safe: dropped early, store work under way is dropped with it. Cancel `stop` instead.
pub async fn accept<G: Gate>(
    socket: Accepted,
    gate: &G,
    config: &ServeConfig,
    stop: CancellationToken,
) -> Ended {
    let transport = socket.into_transport(config.session.rate).await;
    serve(Box::new(transport), gate, config, stop).await
}

/// As [`accept`], over any transport.
///
/// # Cancel safety
/// As [`accept`].
pub async fn serve<G: Gate>(
    transport: Box<dyn Transport>,
    gate: &G,
    config: &ServeConfig,
    stop: CancellationToken,
) -> Ended {
    let clock = Clock::start();
    let session = Session::server(
        Config { jitter: config.dice.roll(), ..config.session.clone() },
        clock.now(),
    );
    let caller = match handshake::listen(
        session,
        Wire::new(transport, config.session.frame_max),
        clock,
        &stop,
    )
    .await
    {
        Ok(caller) => caller,
        Err(ended) => return ended,
    };
    // Neither of the two may be dropped half-way, so nothing is raced against them.
    let admission = match gate.admit(caller.hello.clone()).await {
        Ok(admission) => admission,
        Err(reject) => return turn_away(caller, Event::Refused(reject), clock, &stop).await,
    };
    match admission.store.positions().await {
        Ok(positions) => {
            let admitted = Admitted {
                session_id: admission.session_id,
                epoch: admission.epoch,
                positions,
                redial_spread: admission.redial_spread,
                server_time: Timestamp::now(),
            };
            converse(caller, admission, admitted, gate, clock, &stop).await
        }
        Err(error) => turn_away(caller, Event::StoreFailed(error), clock, &stop).await,
    }
}

/// Says no and closes.
async fn turn_away(caller: Caller, event: Event, clock: Clock, stop: &CancellationToken) -> Ended {
    let Caller { mut session, wire, .. } = caller;
    session.handle(event, clock.now());
    match handshake::listen(session, wire, clock, stop).await {
        Err(ended) => ended,
        // A session that was told no never asks again.
        Ok(_) => Ended::Stopped,
    }
}

async fn converse<G: Gate>(
    caller: Caller,
    admission: Admission<G::Store>,
    admitted: Admitted,
    gate: &G,
    clock: Clock,
    stop: &CancellationToken,
) -> Ended {
    let mailbox = Mailbox::new(admission.session_id, admission.epoch);
    let open = OpenGuard(mailbox.clone());
    let outside = ServerOutside { gate, session_id: admission.session_id };
    let Caller { session, wire, .. } = caller;
    let mut driver =
        Driver::new(session, wire, admission.store, clock, &mailbox.inner.post, &outside);
    for state in admission.states {
        driver.handle(Event::Send(state));
    }
    driver.handle(Event::Admitted(Box::new(admitted)));
    gate.opened(mailbox.clone()).await;
    // What was appended after the positions were read and before the hub knew this mailbox had
    // nobody to wake.
    mailbox.wake();
    let ended = live::run(&mut driver, stop).await;
    drop(open);
    drain::finish(driver).await;
    tracing::debug!(session_id = %admission.session_id, code = ended.code(), %ended, "link closed");
    gate.closed(admission.session_id, &ended).await;
    ended
}

struct ServerOutside<'a, G> {
    gate: &'a G,
    session_id: SessionId,
}

impl<G: Gate> Outside for ServerOutside<'_, G> {
    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(self.gate.answer(self.session_id, request))
    }

    fn heartbeat(&self) -> Payload {
        // Sessions of the server's end send pings and never ask for this.
        Payload::of(&())
    }

    fn opened(&self, opened: &Opened) {
        tracing::debug!(session_id = %opened.session_id, epoch = opened.epoch, "link open");
    }

    fn notice(&self, notice: &Notice) {
        tracing::warn!(session_id = %self.session_id, ?notice, "link notice");
    }
}

/// A reject for a gate whose database refused: the agent comes back by its backoff.
#[must_use]
pub fn reject_for_store(error: &StoreError) -> Reject {
    tracing::error!(%error, "an agent was turned away because the database refused");
    Reject {
        code: "store_unavailable".to_owned(),
        message: "the server cannot reach its database; the agent will try again".to_owned(),
        retry_after_ms: None,
        fatal: false,
    }
}
