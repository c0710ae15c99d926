//! Connections of the simulated world: what is sent arrives in order and late, or not at all.

use std::{collections::BTreeMap, time::Duration};

use holdfast_link::Moment;

use crate::scenario::Way;

/// Names one connection.
pub(crate) type ConnId = u64;

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Agent,
    Server,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Agent => Self::Server,
            Self::Server => Self::Agent,
        }
    }
}

/// How many frames a swallowed direction still takes before the sender's write hangs: the socket
/// buffers on the way.
const BUFFERED_FRAMES: u32 = 32;

/// All connections that at least one end still believes in.
#[derive(Debug, Default)]
pub(crate) struct Network {
    conns: BTreeMap<ConnId, Conn>,
    next: ConnId,
}

#[derive(Debug)]
struct Conn {
    agent: usize,
    to_server: Pipe,
    to_agent: Pipe,
}

#[derive(Debug, Default)]
struct Pipe {
    /// Nothing overtakes: the next frame arrives no earlier than this.
    free_at: Moment,
    swallowed: Option<u32>,
    shut: bool,
}

/// What becomes of a frame that is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives then.
    Arrives(Moment),
    /// The write succeeds and nobody ever sees it.
    Swallowed,
    /// The write never ends.
    Hangs,
}

impl Network {
    pub(crate) fn open(&mut self, agent: usize) -> ConnId {
        self.next += 1;
        let conn = Conn { agent, to_server: Pipe::default(), to_agent: Pipe::default() };
        self.conns.insert(self.next, conn);
        self.next
    }

    pub(crate) fn agent_of(&self, conn: ConnId) -> Option<usize> {
        self.conns.get(&conn).map(|conn| conn.agent)
    }

    /// Writes one frame at `now` from `side`, on its way for `delay`.
    pub(crate) fn write(&mut self, conn: ConnId, side: Side, now: Moment, delay: Duration) -> Fate {
        let Some(pipe) = self.pipe(conn, side) else { return Fate::Swallowed };
        match &mut pipe.swallowed {
            Some(count) if *count >= BUFFERED_FRAMES => Fate::Hangs,
            Some(count) => {
                *count += 1;
                Fate::Swallowed
            }
            None if pipe.shut => Fate::Swallowed,
            None => {
                pipe.free_at = pipe.free_at.max(now + delay) + Duration::from_micros(10);
                Fate::Arrives(pipe.free_at)
            }
        }
    }

    /// `side` closes: nothing more comes from it. When the other end hears of it.
    pub(crate) fn shut(
        &mut self,
        conn: ConnId,
        side: Side,
        now: Moment,
        delay: Duration,
    ) -> Option<Moment> {
        let pipe = self.pipe(conn, side)?;
        if pipe.shut {
            return None;
        }
        pipe.shut = true;
        pipe.swallowed.is_none().then(|| pipe.free_at.max(now + delay))
    }

    /// From now on the connection swallows what is written.
    pub(crate) fn swallow(&mut self, conn: ConnId, way: Way) {
        let Some(conn) = self.conns.get_mut(&conn) else { return };
        if matches!(way, Way::Both | Way::ToServer) {
            conn.to_server.swallowed.get_or_insert(0);
        }
        if matches!(way, Way::Both | Way::ToAgent) {
            conn.to_agent.swallowed.get_or_insert(0);
        }
    }

    /// Whether frames to `side` arrive.
    pub(crate) fn reaches(&self, conn: ConnId, side: Side) -> bool {
        self.conns.get(&conn).is_some_and(|conn| match side {
            Side::Agent => conn.to_agent.swallowed.is_none(),
            Side::Server => conn.to_server.swallowed.is_none(),
        })
    }

    /// Neither end believes in it any more.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    fn pipe(&mut self, conn: ConnId, from: Side) -> Option<&mut Pipe> {
        let conn = self.conns.get_mut(&conn)?;
        Some(match from {
            Side::Agent => &mut conn.to_server,
            Side::Server => &mut conn.to_agent,
        })
    }
}
