//! One task opens sessions: agents that come at once share a commit.
//!
//! When a whole fleet comes back, each opening would otherwise wait for the disk by itself, and the
//! last agents would have lost their patience long before. The same task writes down when agents
//! that have gone were last heard, for the same reason.

use std::collections::BTreeSet;

use holdfast_link::crash;
use holdfast_protocol::{HostId, message::link::Hello};
use jiff::Timestamp;
use sqlx::SqlitePool;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Error,
    background::Background,
    host,
    session::{self, Opened, Refusal},
};
use crate::{bus::Bus, clock::Clock};

/// Where agents are let in, and seen off.
pub(super) struct Doorway {
    callers: mpsc::Sender<Caller>,
    task: Background,
}

/// What a hello is answered.
pub(super) type Answer = Result<Result<Opened, Refusal>, Error>;

enum Caller {
    Comes { host: HostId, hello: Box<Hello>, reply: oneshot::Sender<Answer> },
    Goes { host: HostId, heard_at: Timestamp },
}

/// One commit holds at most so many; each takes twelve of a statement's parameters.
const ROUND_MAX: usize = 256;
/// Waiting beyond these, callers wait outside.
const WAITING: usize = 1024;
const PHASE: &str = "opening a session";

impl Doorway {
    pub(super) fn spawn(pool: SqlitePool, bus: Bus, clock: Clock) -> Self {
        let (callers, callers_in) = mpsc::channel(WAITING);
        let task = Task { pool, bus, clock, callers: callers_in };
        Self { callers, task: Background::spawn(|stop| task.run(stop)) }
    }

    /// Checks a hello and takes the epoch for a new session.
    pub(super) async fn enter(&self, host: HostId, hello: Hello) -> Answer {
        let (reply, answer) = oneshot::channel();
        let caller = Caller::Comes { host, hello: Box::new(hello), reply };
        let closed = || Error::database(PHASE)(sqlx::Error::PoolClosed);
        self.callers.send(caller).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Has it written down when an agent that has gone was last heard.
    pub(super) async fn leave(&self, host: HostId, heard_at: Timestamp) {
        // A server that is stopping has written it down already.
        let _ = self.callers.send(Caller::Goes { host, heard_at }).await;
    }

    /// Writes what waits and ends the task.
    pub(super) async fn close(&self) {
        self.task.close().await;
    }
}

struct Task {
    pool: SqlitePool,
    bus: Bus,
    clock: Clock,
    callers: mpsc::Receiver<Caller>,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                Some(first) = self.callers.recv() => first,
                () = stop.cancelled() => break,
                else => break,
            };
            let mut next = Some(first);
            while let Some(first) = next {
                let (round, again) = self.gather(first);
                self.answer(round).await;
                next = again;
            }
        }
    }

    /// Those who wait, up to the first whose host is among them already: that one goes after it.
    fn gather(&mut self, first: Caller) -> (Vec<Caller>, Option<Caller>) {
        let mut hosts = BTreeSet::from([first.host()]);
        let mut round = vec![first];
        while round.len() < ROUND_MAX {
            let Ok(caller) = self.callers.try_recv() else { break };
            if !hosts.insert(caller.host()) {
                return (round, Some(caller));
            }
            round.push(caller);
        }
        (round, None)
    }

    async fn answer(&self, round: Vec<Caller>) {
        match self.commit(&round).await {
            Ok(verdicts) => {
                for (caller, verdict) in round.into_iter().zip(verdicts) {
                    self.tell(caller, verdict);
                }
            }
            Err(error) => refuse_all(round, &error),
        }
    }

    /// All of a round in one transaction. What is refused writes nothing.
    async fn commit(
        &self,
        round: &[Caller],
    ) -> Result<Vec<Option<Result<Opened, Refusal>>>, sqlx::Error> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let now = self.clock.now();
        let opened = session::open(&mut tx, &coming(round), now).await?;
        host::note_seen(&mut tx, &going(round)).await?;
        crash::point(PHASE, "before the commit");
        tx.commit().await?;
        crash::point(PHASE, "after the commit");
        let mut opened = opened.into_iter();
        let verdict = |caller: &Caller| match caller {
            Caller::Comes { .. } => opened.next(),
            Caller::Goes { .. } => None,
        };
        Ok(round.iter().map(verdict).collect())
    }

    fn tell(&self, caller: Caller, verdict: Option<Result<Opened, Refusal>>) {
        match (caller, verdict) {
            (Caller::Comes { host, reply, .. }, Some(verdict)) => {
                if let Ok(opened) = &verdict {
                    self.bus.fence(host, opened.epoch);
                    self.bus.touch_host(host);
                }
                let _ = reply.send(Ok(verdict));
            }
            (caller, _) => self.bus.touch_host(caller.host()),
        }
    }
}

impl Caller {
    fn host(&self) -> HostId {
        match self {
            Self::Comes { host, .. } | Self::Goes { host, .. } => *host,
        }
    }
}

fn coming(round: &[Caller]) -> Vec<(HostId, &Hello)> {
    let coming = |caller| match caller {
        &Caller::Comes { host, ref hello, .. } => Some((host, &**hello)),
        Caller::Goes { .. } => None,
    };
    round.iter().filter_map(coming).collect()
}

fn going(round: &[Caller]) -> Vec<(HostId, Timestamp)> {
    let going = |caller: &Caller| match caller {
        Caller::Goes { host, heard_at } => Some((*host, *heard_at)),
        Caller::Comes { .. } => None,
    };
    round.iter().filter_map(going).collect()
}

fn refuse_all(round: Vec<Caller>, error: &sqlx::Error) {
    tracing::error!(%error, callers = round.len(), "agents could not be let in or seen off");
    for caller in round {
        if let Caller::Comes { reply, .. } = caller {
            let told = sqlx::Error::Protocol(error.to_string());
            let _ = reply.send(Err(Error::database(PHASE)(told)));
        }
    }
}
