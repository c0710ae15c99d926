//! Everything that goes wrong, and the moment it stops.

use std::time::Duration;

use holdfast_link::{
    Moment,
    session::{CloseReason, Event, Notice},
};
use holdfast_protocol::{Envelope, Instance};
use rand::Rng;
use uuid::Uuid;

use super::{Happening, Purpose, Wire, World};
use crate::{
    agent::AgentChange,
    network::{ConnId, Side},
    plant::Plant,
    scenario::{Fault, MiddleBox, Place, Way},
    server::ServerChange,
};

/// What a half-open connection may last on the side that hears nothing.
const NOTICED_WITHIN: Duration = Duration::from_secs(50);

/// How long after its end a middle box may still have frames on their way.
const LAST_FRAMES: Duration = Duration::from_secs(10);

impl World {
    pub(super) fn strike(&mut self, fault: Fault) {
        self.history.count(fault.name());
        let now = self.now;
        match fault {
            Fault::BlackHole(agent, way) => self.black_hole(agent, way),
            Fault::Crash(place, pause) => {
                let pending = self.pending(place);
                let kept = self.rng.random_range(0..=pending);
                self.kill(place, pause, kept, false);
            }
            Fault::Clone(agent) => self.clone_machine(agent),
            Fault::Cut(agent) => self.cut(agent),
            Fault::DiskRefuses(Place::Agent(agent)) => self.agents[agent].refuse_next = true,
            Fault::DiskRefuses(Place::Server) => self.server.refuse_next = true,
            Fault::DropsAtOnce(pause) => self.server.drops_at_once_until = now + pause,
            Fault::Freeze(Place::Agent(agent), pause) => {
                let agent = &mut self.agents[agent];
                agent.frozen_until = agent.frozen_until.max(now + pause);
            }
            Fault::Freeze(Place::Server, pause) => {
                self.server.frozen_until = self.server.frozen_until.max(now + pause);
            }
            Fault::Late(agent, pause) => self.agents[agent].late_until = now + pause,
            Fault::PowerLoss(place, pause) => self.kill(place, pause, 0, true),
            Fault::Restart(place, pause) => self.restart(place, pause),
            Fault::SlowDisk(Place::Agent(agent), pause) => {
                self.agents[agent].slow_until = now + pause;
            }
            Fault::SlowDisk(Place::Server, pause) => self.server.slow_until = now + pause,
            Fault::Unreachable(agent, pause) => {
                self.agents[agent].unreachable_until = now + pause;
            }
        }
    }

    fn pending(&self, place: Place) -> usize {
        match place {
            Place::Agent(agent) => self.agents[agent].disk.pending(),
            Place::Server => self.server.disk.pending(),
        }
    }

    /// The process ends at once. `kept` of its commits had reached the disk; `silently`: not even
    /// the kernel says goodbye to the peer.
    pub(super) fn kill(&mut self, place: Place, pause: Duration, kept: usize, silently: bool) {
        match place {
            Place::Agent(agent) if !self.agents[agent].up => return,
            Place::Server if !self.server.up => return,
            Place::Agent(agent) => self.kill_agent(agent, kept),
            Place::Server => self.kill_server(kept),
        }
        self.purposes.retain(|(whose, _), _| *whose != place);
        self.disk_free_at.remove(&place);
        self.drop_ends(place, silently);
        self.after(pause, Happening::Boot(place));
    }

    fn kill_agent(&mut self, index: usize, kept: usize) {
        let plant = self.scenario.plant;
        let agent = &mut self.agents[index];
        agent.disk.crash(kept);
        agent.life += 1;
        agent.up = false;
        agent.conn = None;
        agent.opened_at = None;
        agent.frozen_until = Moment::ORIGIN;
        agent.running.clear();
        agent.config = 0;
        agent.backoff.reset();
        let state = agent.disk.durable_mut();
        match plant {
            Some(Plant::JournalInMemory) => state.journal.clear(),
            Some(Plant::SeqRestarts) if state.outbox.is_empty() => state.next = 1,
            _ => {}
        }
    }

    fn kill_server(&mut self, kept: usize) {
        let plant = self.scenario.plant;
        if plant == Some(Plant::PositionFirst) && kept == 0 {
            self.keep_position_only();
        }
        self.server.disk.crash(kept);
        self.server.life += 1;
        self.server.up = false;
        self.server.frozen_until = Moment::ORIGIN;
        if plant == Some(Plant::DedupInMemory) {
            for mirror in &mut self.server.disk.durable_mut().agents {
                mirror.received = 0;
            }
        }
    }

    /// The planted bug: of the batch under way only the position has reached the disk.
    fn keep_position_only(&mut self) {
        let Some(ServerChange::Apply { agent, records, .. }) = self.server.disk.under_way() else {
            return;
        };
        let (agent, last) = (*agent, records.last().map_or(0, |record| record.seq));
        let mirror = &mut self.server.disk.durable_mut().agents[agent];
        mirror.received = mirror.received.max(last);
    }

    pub(super) fn boot(&mut self, place: Place) {
        match place {
            Place::Agent(agent) => {
                self.agents[agent].up = true;
                *self.history.process_starts.entry(agent).or_default() += 1;
                self.submit_agent(agent, AgentChange::Boot, Purpose::Boot(agent));
            }
            Place::Server => self.server.up = true,
        }
    }

    /// Everybody is told to finish; the process goes when it had time for that.
    fn restart(&mut self, place: Place, pause: Duration) {
        let ends: Vec<(ConnId, Side)> = self
            .ends
            .iter()
            .filter(|((_, side), end)| match place {
                Place::Agent(agent) => *side == Side::Agent && end.agent == agent,
                Place::Server => *side == Side::Server,
            })
            .map(|(key, _)| *key)
            .collect();
        for (conn, side) in ends {
            let event = match side {
                Side::Agent => Event::Stop,
                Side::Server => {
                    let after = Duration::from_millis(self.rng.random_range(500..9_000));
                    Event::Close(CloseReason::Draining { after })
                }
            };
            self.feed(conn, side, event);
        }
        let gone = Fault::Crash(place, pause);
        self.after(Duration::from_secs(6), Happening::Fault(gone));
    }

    fn cut(&mut self, agent: usize) {
        let Some(conn) = self.agents[agent].conn else { return };
        for side in [Side::Agent, Side::Server] {
            let delay = self.latency(agent);
            if let Some(at) = self.network.shut(conn, side, self.now, delay) {
                self.at(at, Happening::Arrive(conn, side.other(), Wire::Closed { code: None }));
            }
        }
    }

    /// The copy raises the number of starts just as the machine itself did. It comes second: who
    /// came first is the agent, as far as anybody can know.
    fn clone_machine(&mut self, agent: usize) {
        let Some(conn) = self.agents[agent].conn else { return };
        let end = self.ends.get(&(conn, Side::Agent));
        if self.server.up && end.is_some_and(|end| end.session.is_live()) {
            self.history.count("copy said hello");
            let copy = self.network.open(agent);
            let instance = Instance::from_uuid(Uuid::from_u128(self.rng.random()));
            self.open_ends(copy, agent, instance, true);
        }
    }

    fn black_hole(&mut self, agent: usize, way: Way) {
        let Some(conn) = self.agents[agent].conn else { return };
        self.network.swallow(conn, way);
        for side in [Side::Agent, Side::Server] {
            if !self.network.reaches(conn, side) {
                self.expect_noticed(conn, side);
            }
        }
    }

    /// I13: a side that hears nothing ends its session in time.
    pub(super) fn expect_noticed(&mut self, conn: ConnId, side: Side) {
        let place = match (side, self.network.agent_of(conn)) {
            (Side::Agent, Some(agent)) => Place::Agent(agent),
            _ => Place::Server,
        };
        let delayed_until = match place {
            Place::Agent(agent) => {
                self.agents[agent].frozen_until.max(self.agents[agent].slow_until)
            }
            Place::Server => self.server.frozen_until.max(self.server.slow_until),
        };
        let grace = self.agents.iter().map(|agent| agent.late_until).max().unwrap_or_default();
        // What was on its way may still arrive, and a slow disk may keep the reader from reading.
        let from = self.now.max(delayed_until).max(grace) + Duration::from_secs(5);
        self.at(from + NOTICED_WITHIN, Happening::Deaf(conn, side));
    }

    pub(super) fn check_deaf(&mut self, conn: ConnId, side: Side) {
        let Some(end) = self.ends.get(&(conn, side)) else { return };
        let (frozen, slow) = match side {
            Side::Agent => {
                let agent = &self.agents[end.agent];
                (agent.frozen_until, agent.slow_until)
            }
            Side::Server => (self.server.frozen_until, self.server.slow_until),
        };
        // A process that stood still meanwhile gets its time anew.
        if frozen.max(slow) + NOTICED_WITHIN > self.now && frozen.max(slow) > Moment::ORIGIN {
            let again = frozen.max(slow) + NOTICED_WITHIN + Duration::from_secs(5);
            return self.at(again, Happening::Deaf(conn, side));
        }
        self.violate("I13", format!("{side:?} of #{conn} has not noticed that it hears nothing"));
    }

    /// Every promise about lost records was kept by the disks: nobody may declare a gap.
    pub(super) fn heed(&mut self, notice: &Notice) {
        match notice {
            Notice::PeerSetBack { missing } | Notice::Missing { missing } => {
                self.violate("I4", format!("a gap was declared: {missing:?}"));
            }
            Notice::Oversize { .. } | Notice::UnknownKind { .. } => {}
        }
    }

    pub(super) fn heal(&mut self) {
        self.calm = true;
        self.server.slow_until = self.now;
        self.server.refuse_next = false;
        self.server.drops_at_once_until = self.now;
        for agent in &mut self.agents[..self.scenario.core] {
            agent.slow_until = self.now;
            agent.late_until = self.now;
            agent.refuse_next = false;
            agent.unreachable_until = self.now;
        }
        if self.scenario.middle_box.take().is_some() {
            self.meddled_until = self.now + LAST_FRAMES;
        }
    }

    /// Brings a frame to the other side, by way of the middle box if there is one.
    pub(super) fn carry(
        &mut self,
        conn: ConnId,
        from: Side,
        agent: usize,
        at: Moment,
        frame: Envelope,
    ) {
        let to = from.other();
        let Some(middle) = self.scenario.middle_box else {
            return self.at(at, Happening::Arrive(conn, to, Wire::Frame(frame)));
        };
        self.mistreat(middle, (conn, to, agent), at, frame);
    }

    fn mistreat(
        &mut self,
        middle: MiddleBox,
        (conn, to, agent): (ConnId, Side, usize),
        at: Moment,
        frame: Envelope,
    ) {
        if self.rng.random_bool(middle.lose) {
            return self.history.count("frame lost");
        }
        if self.rng.random_bool(middle.corrupt) {
            self.history.count("frame corrupted");
            return self.at(at, Happening::Arrive(conn, to, Wire::Rubbish));
        }
        if self.rng.random_bool(middle.repeat) {
            self.history.count("frame repeated");
            let again = at + Duration::from_micros(1);
            self.at(again, Happening::Arrive(conn, to, Wire::Frame(frame.clone())));
        }
        if self.rng.random_bool(middle.replay)
            && let Some(newer) = self.agents[agent].conn.filter(|newer| *newer != conn)
        {
            self.history.count("frame replayed");
            self.at(at, Happening::Arrive(newer, to, Wire::Frame(frame.clone())));
        }
        let mut at = at;
        if self.rng.random_bool(middle.swap) {
            self.history.count("frames swapped");
            at = at + Duration::from_millis(self.rng.random_range(1..50));
        }
        self.at(at, Happening::Arrive(conn, to, Wire::Frame(frame)));
    }
}
