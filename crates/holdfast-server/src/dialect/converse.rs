//! The conversation with one foreign agent, whatever its words.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use holdfast_protocol::{
    JobId, Message, Seq,
    dialect::{Ability, Dialect, Ledger, Said, convert},
    message::{
        command::{self, Verb},
        job::{JobError, Status},
    },
};
use jiff::Timestamp;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    nerdbackup::Call,
    socket::{Frame, Gone, Incoming, Socket},
};
use crate::hub::desk::{Desk, DeskError, Order};

/// One dialect's words, as far as its driver needs them.
pub(super) trait Tongue: Send {
    /// Which dialect it is.
    fn dialect(&self) -> Dialect;

    /// What a frame says, and what is answered to it.
    ///
    /// # Errors
    /// [`Breach`] for what the dialect does not forgive.
    fn hear(&mut self, frame: Frame, ledger: &mut Ledger, now: Timestamp) -> Result<Heard, Breach>;

    /// The frames that carry an order; none when the dialect needs no words for it.
    fn say(
        &mut self,
        order: &Message,
        desk: &mut Desk,
    ) -> impl Future<Output = Result<Vec<Frame>, JobError>> + Send;

    /// What the peer must get every twenty seconds beside the WebSocket's own ping.
    fn tick(&mut self, _now: Timestamp) -> Vec<Frame> {
        Vec::new()
    }

    /// How long an agent whose runs die with its connection may take to speak of those it kept.
    fn orphans_after(&self) -> Option<Duration> {
        None
    }

    /// Whether its agent falls silent about a job that was cancelled.
    fn cancels_silently(&self) -> bool {
        false
    }

    /// What its agent asked over HTTP.
    fn call(
        &mut self,
        call: Call,
        desk: &mut Desk,
    ) -> impl Future<Output = Result<(), DeskError>> + Send {
        let _ = desk;
        drop(call);
        std::future::ready(Ok(()))
    }
}

/// What came of one frame.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// What it says.
    pub(super) said: Vec<Said>,
    /// What is answered.
    pub(super) replies: Vec<Frame>,
    /// The peer says goodbye.
    pub(super) leaves: bool,
}

impl Heard {
    pub(super) fn said(said: Vec<Said>) -> Self {
        Self { said, ..Self::default() }
    }
}

/// Something that ends the connection, in the words of WebSockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Breach {
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

/// How often the peer is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A peer that shows none for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(50);
/// Orders that wait in memory for another job of their group to end. More wait in the outbox.
const HELD_MAX: usize = 256;

/// Speaks with the agent until either side has enough.
///
/// # Errors
/// [`DeskError`] when the store refused; the connection is closed then too.
pub(super) async fn converse<T: Tongue>(
    mut socket: Socket,
    mut desk: Desk,
    tongue: T,
    calls: mpsc::Receiver<Call>,
    stop: CancellationToken,
) -> Result<(), DeskError> {
    let mut conversation = Conversation::new(tongue, calls);
    let end = conversation.run(&mut socket, &mut desk, &stop).await;
    desk.leave().await;
    match end {
        Ok(breach) => {
            tracing::debug!(code = breach.code, reason = breach.reason, "foreign link closes");
            socket.close(breach.code, breach.reason).await;
            Ok(())
        }
        Err(Failure::Gone) => Ok(()),
        Err(Failure::Desk(error)) => {
            socket.close(1011, "the server cannot go on").await;
            Err(error)
        }
    }
}

struct Conversation<T> {
    tongue: T,
    calls: mpsc::Receiver<Call>,
    /// Orders that must wait for the end of another job of their group.
    held: VecDeque<Order>,
    /// Orders on the socket that the peer has not yet shown to have read.
    unproven: Option<Proof>,
    proofs: u64,
    /// There may be more in the outbox.
    waiting: bool,
    heard_at: Instant,
    unknown: u64,
}

/// What is delivered once the peer answers a ping.
struct Proof {
    nonce: Vec<u8>,
    runs: Vec<JobId>,
    cancels: Vec<JobId>,
}

enum Failure {
    Gone,
    Desk(DeskError),
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<DeskError> for Failure {
    fn from(error: DeskError) -> Self {
        Self::Desk(error)
    }
}

impl<T: Tongue> Conversation<T> {
    fn new(tongue: T, calls: mpsc::Receiver<Call>) -> Self {
        Self {
            tongue,
            calls,
            held: VecDeque::new(),
            unproven: None,
            proofs: 0,
            waiting: true,
            heard_at: Instant::now(),
            unknown: 0,
        }
    }

    async fn run(
        &mut self,
        socket: &mut Socket,
        desk: &mut Desk,
        stop: &CancellationToken,
    ) -> Result<Breach, Failure> {
        let mut ticks = interval(PING_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.deliver(socket, desk).await?;
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    return Ok(Breach { code: 1001, reason: "the server is going away" });
                }
                delivery = desk.delivery() => {
                    if let Some(reason) = delivery.close {
                        return Ok(Breach { code: 1008, reason: Desk::farewell(&reason) });
                    }
                    self.waiting |= delivery.wake;
                    if !delivery.messages.is_empty() {
                        self.configure(&delivery.messages, socket, desk).await?;
                    }
                }
                incoming = socket.next() => {
                    if let Some(breach) = self.take(incoming, socket, desk).await? {
                        return Ok(breach);
                    }
                }
                Some(call) = self.calls.recv() => self.tongue.call(call, desk).await?,
                _ = ticks.tick() => {
                    if self.heard_at.elapsed() > SILENCE_MAX {
                        return Ok(Breach { code: 1008, reason: "no sign of life" });
                    }
                    self.tick(socket, desk).await?;
                }
            }
        }
    }

    async fn tick(&mut self, socket: &mut Socket, desk: &mut Desk) -> Result<(), Failure> {
        desk.give_up(self.tongue.orphans_after()).await?;
        self.waiting |= !self.held.is_empty();
        for frame in self.tongue.tick(Timestamp::now()) {
            socket.send(frame).await?;
        }
        // A ping that is waited for already is one.
        if self.unproven.is_none() {
            socket.send(Frame::Ping(b"alive".to_vec())).await?;
        }
        Ok(())
    }

    /// One thing from the socket; a breach when it ends the connection.
    async fn take(
        &mut self,
        incoming: Incoming,
        socket: &mut Socket,
        desk: &mut Desk,
    ) -> Result<Option<Breach>, Failure> {
        self.heard_at = Instant::now();
        let frame = match incoming {
            Incoming::Lost => return Err(Failure::Gone),
            Incoming::Broken(code) => {
                return Ok(Some(Breach { code, reason: "this frame cannot be read" }));
            }
            Incoming::Frame(Frame::Close(..)) => {
                return Ok(Some(Breach { code: 1000, reason: "goodbye" }));
            }
            Incoming::Frame(Frame::Ping(_)) => return Ok(None),
            Incoming::Frame(Frame::Pong(nonce)) => {
                self.prove(&nonce, desk).await?;
                return Ok(None);
            }
            Incoming::Frame(frame) => frame,
        };
        let heard = match self.tongue.hear(frame, desk.ledger(), Timestamp::now()) {
            Ok(heard) => heard,
            Err(breach) => return Ok(Some(breach)),
        };
        for said in heard.said {
            self.hear(said, desk).await?;
        }
        for reply in heard.replies {
            socket.send(reply).await?;
        }
        Ok(heard.leaves.then_some(Breach { code: 1000, reason: "goodbye" }))
    }

    async fn hear(&mut self, said: Said, desk: &mut Desk) -> Result<(), DeskError> {
        match said {
            Said::Introduction(introduction) => desk.introduce(&introduction).await,
            Said::Message(message) => {
                // The end of a job lets another of its group begin.
                self.waiting |= matches!(message, Message::JobFinished(_));
                desk.hear(message).await
            }
            Said::Other { kind, .. } | Said::Unplaced { kind } => {
                self.unknown += 1;
                // Counted in powers of two, so that a chatty peer cannot fill the log.
                if self.unknown.is_power_of_two() {
                    let count = self.unknown;
                    tracing::debug!(host = %desk.host(), kind, count, "nothing was done about it");
                }
                Ok(())
            }
        }
    }

    /// Sends what waits for the agent, as far as it may go now.
    async fn deliver(&mut self, socket: &mut Socket, desk: &mut Desk) -> Result<(), Failure> {
        while self.waiting && self.unproven.is_none() {
            self.deliver_some(socket, desk).await?;
        }
        Ok(())
    }

    async fn deliver_some(&mut self, socket: &mut Socket, desk: &mut Desk) -> Result<(), Failure> {
        let mut orders: Vec<Order> = self.held.drain(..).collect();
        let room = HELD_MAX.saturating_sub(orders.len());
        let fresh = if room > 0 { desk.orders().await? } else { Vec::new() };
        self.waiting = !fresh.is_empty();
        orders.extend(fresh);
        let mut proof = Proof { nonce: Vec::new(), runs: Vec::new(), cancels: Vec::new() };
        let mut busy = Busy::default();
        for order in orders {
            self.give(order, &mut proof, &mut busy, socket, desk).await?;
        }
        if proof.runs.is_empty() && proof.cancels.is_empty() {
            return Ok(desk.settle(self.settled(desk)).await?);
        }
        self.proofs += 1;
        proof.nonce = format!("order {}", self.proofs).into_bytes();
        socket.send(Frame::Ping(proof.nonce.clone())).await?;
        self.unproven = Some(proof);
        Ok(())
    }

    /// Gives one order to the agent, or keeps it, or finds that it needs no more.
    async fn give(
        &mut self,
        order: Order,
        proof: &mut Proof,
        busy: &mut Busy,
        socket: &mut Socket,
        desk: &mut Desk,
    ) -> Result<(), Failure> {
        match &order.message {
            Message::CommandRun(run) => {
                if desk.ledger().job(run.job_id).is_some() || desk.has_ended(run.job_id).await? {
                    return Ok(());
                }
                if desk.is_unwanted(run.job_id).await? {
                    return Ok(desk.end_job(run.job_id, Status::Cancelled, cancelled()).await?);
                }
                if busy.is(run, desk.ledger()) {
                    busy.note(&run.tag);
                    self.held.push_back(order);
                    return Ok(());
                }
                return self.start(&order.message, run, proof, socket, desk).await;
            }
            Message::CommandCancel(cancel) => {
                let job = cancel.job_id;
                if let Some(place) = self.held_run(job) {
                    self.held.remove(place);
                    desk.end_job(job, Status::Cancelled, cancelled()).await?;
                    return Ok(());
                }
                if desk.ledger().job(job).is_none() {
                    return Ok(());
                }
                desk.ledger().mark_cancelling(job);
                proof.cancels.push(job);
            }
            _ => {}
        }
        // Pause and resume of a job that is not open are for nobody: some agents would take
        // another job instead.
        if let Some(job) = about(&order.message)
            && desk.ledger().job(job).is_none()
        {
            return Ok(());
        }
        match self.tongue.say(&order.message, desk).await {
            Ok(frames) => send_all(socket, frames).await,
            Err(error) => {
                tracing::warn!(host = %desk.host(), code = error.code, "{}", error.message);
                Ok(())
            }
        }
    }

    async fn start(
        &mut self,
        message: &Message,
        run: &command::Run,
        proof: &mut Proof,
        socket: &mut Socket,
        desk: &mut Desk,
    ) -> Result<(), Failure> {
        let can = self.tongue.dialect().require(Ability::of_operation(run.operation));
        if let Err(refusal) = can {
            let error = JobError {
                code: "not_in_dialect".to_owned(),
                message: crate::api::problem::sentence(&refusal.to_string()),
                action: holdfast_protocol::dialect::Unsayable::ACTION.to_owned(),
            };
            return Ok(desk.end_job(run.job_id, Status::Failed, error).await?);
        }
        desk.open_job(run.job_id, &run.tag);
        match self.tongue.say(message, desk).await {
            Ok(frames) => {
                proof.runs.push(run.job_id);
                send_all(socket, frames).await
            }
            Err(error) => Ok(desk.end_job(run.job_id, Status::Failed, error).await?),
        }
    }

    /// Notes that the peer has read everything before its answer.
    async fn prove(&mut self, nonce: &[u8], desk: &mut Desk) -> Result<(), DeskError> {
        let Some(proof) = self.unproven.take_if(|proof| proof.nonce == nonce) else {
            return Ok(());
        };
        for job_id in proof.runs {
            let taken =
                command::Outcome { job_id, command: Verb::Run, accepted: true, error: None };
            desk.hear(Message::CommandResult(taken)).await?;
        }
        if self.tongue.cancels_silently() {
            for job in proof.cancels {
                if desk.ledger().job(job).is_some() {
                    desk.end_job(job, Status::Cancelled, cancelled()).await?;
                    self.waiting = true;
                }
            }
        }
        desk.settle(self.settled(desk)).await
    }

    /// Up to where the outbox is done with.
    fn settled(&self, desk: &Desk) -> Seq {
        self.held.iter().map(|order| order.seq - 1).min().unwrap_or(desk.taken())
    }

    fn held_run(&self, job: JobId) -> Option<usize> {
        let is_it =
            |order: &Order| matches!(&order.message, Message::CommandRun(run) if run.job_id == job);
        self.held.iter().position(is_it)
    }

    /// Tells the agent of a change of its configuration.
    async fn configure(
        &mut self,
        states: &[holdfast_link::Unsequenced],
        socket: &mut Socket,
        desk: &mut Desk,
    ) -> Result<(), Failure> {
        desk.learn_groups().await?;
        for state in states {
            let Ok(message) = Message::decode(&state.kind, &state.payload) else { continue };
            if self.tongue.dialect().require(Ability::Configure).is_err() {
                continue;
            }
            if let Ok(frames) = self.tongue.say(&message, desk).await {
                send_all(socket, frames).await?;
            }
            if let Message::ConfigUpdate(update) = &message {
                desk.told_config(update.version).await?;
            }
        }
        Ok(())
    }
}

/// Groups with a run that waits. A second run of a group is not sent while the first is open: some
/// agents tell their runs apart by the group alone.
#[derive(Default)]
struct Busy {
    groups: BTreeSet<String>,
}

impl Busy {
    fn is(&self, run: &command::Run, ledger: &Ledger) -> bool {
        let open = || ledger.jobs().any(|job| ledger.group_of(job) == run.tag);
        self.groups.contains(&run.tag) || open()
    }

    fn note(&mut self, group: &str) {
        self.groups.insert(group.to_owned());
    }
}

async fn send_all(socket: &mut Socket, frames: Vec<Frame>) -> Result<(), Failure> {
    for frame in frames {
        socket.send(frame).await?;
    }
    Ok(())
}

fn about(message: &Message) -> Option<JobId> {
    match message {
        Message::CommandPause(pause) => Some(pause.job_id),
        Message::CommandResume(resume) => Some(resume.job_id),
        _ => None,
    }
}

/// The reason of a job that ended because somebody asked.
pub(super) fn cancelled() -> JobError {
    convert::reason(Status::Cancelled, "").unwrap_or_else(|| JobError {
        code: "cancelled".to_owned(),
        message: "The job was cancelled.".to_owned(),
        action: String::new(),
    })
}
