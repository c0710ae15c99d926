//! One world: a server, some agents, their disks and the network between, driven by a queue of
//! happenings in simulated time. Nothing here is concurrent and nothing is left to chance but what
//! the seed decides, so a run can be repeated to the last frame.
//!
//! ```text
//! World ── agents: disk, jobs            happening ──> session.handle ──> actions
//!       ── server: disk                      ^                              │
//!       ── ends: the sessions of both        └──── network, disk, timers <──┘
//!       ── network: connections
//! ```

mod commits;
mod drive;
mod faults;
mod work;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use holdfast_link::{Moment, Session, backoff::Backoff, session::Config};
use holdfast_protocol::{Envelope, Incarnation, Seq};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::{
    agent::{Agent, AgentState},
    body::{CommandId, RecordId},
    checker,
    disk::{Disk, Ticket},
    history::{History, Violation},
    network::{ConnId, Network, Side},
    scenario::{Fault, Mode, Place, Scenario},
    server::{Mirror, Server, ServerState},
};

pub(crate) use commits::Purpose;

/// The whole simulated world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) agents: Vec<Agent>,
    pub(crate) server: Server,
    pub(crate) ends: BTreeMap<(ConnId, Side), End>,
    pub(crate) history: History,
    pub(crate) scenario: Scenario,
    network: Network,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    rng: ChaCha8Rng,
    purposes: BTreeMap<(Place, Ticket), Purpose>,
    disk_free_at: BTreeMap<Place, Moment>,
    next_record: RecordId,
    next_command: CommandId,
    next_question: u64,
    calm: bool,
    /// Until when frames that the middle box has held up may still arrive, after it has gone.
    meddled_until: Moment,
    work_left: usize,
    trace: DefaultHasher,
    tell: bool,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) agent: usize,
    /// Server: the epoch this session was admitted with.
    epoch: u64,
    /// The agent is a copy of the machine.
    copy: bool,
    tick_at: Option<Moment>,
    /// For the planted bug `no-gap-check`: the last position handed to the session.
    last_seq: Option<Seq>,
}

impl End {
    fn new(session: Session, agent: usize, copy: bool) -> Self {
        Self { session, agent, epoch: 0, copy, tick_at: None, last_seq: None }
    }
}

/// Something that will happen.
#[derive(Debug)]
enum Happening {
    /// A frame, rubbish or the end of the connection reaches one side.
    Arrive(ConnId, Side, Wire),
    /// An answer to an action of a session.
    Answer(ConnId, Side, Box<Answer>),
    Boot(Place),
    Commit(Place, u64, Ticket),
    Connect(usize, u64, ConnId),
    /// By now this side must have noticed that it hears nothing.
    Deaf(ConnId, Side),
    Dial(usize, u64),
    Fault(Fault),
    Finish(usize, u64, CommandId),
    Heal,
    Progress(usize, u64, CommandId, u64),
    Start(usize, u64, CommandId),
    Tick(ConnId, Side),
    Work(Work),
}

/// What comes out of a connection.
#[derive(Debug, Clone)]
enum Wire {
    Frame(Envelope),
    Rubbish,
    Closed { code: Option<u16> },
}

/// What a session is told besides frames.
#[derive(Debug)]
enum Answer {
    Event(holdfast_link::session::Event),
    Load { after: Seq, limit: usize },
}

/// What the people and programs of this world do.
#[derive(Debug, Clone, Copy)]
enum Work {
    Ask(usize, Side),
    Command(usize),
    Configure(usize),
    Record(usize),
}

#[derive(Debug)]
struct Entry {
    at: Moment,
    order: u64,
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What a run has shown.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The first broken promise, if any.
    pub violation: Option<Violation>,
    /// A digest of everything that happened, in order.
    pub trace: u64,
    /// How often each fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// Frames that were written.
    pub frames: u64,
    /// Sessions that became live.
    pub sessions: u64,
    /// Records known to be on an agent's disk.
    pub records: u64,
    /// Commands known to be on the server's disk.
    pub commands: u64,
}

/// A world has some ten thousand happenings; one with this many runs in circles.
const STEPS_MAX: u64 = 1_000_000;

/// Keeps the world's chances apart from those that drew the scenario.
const WORLD_SALT: u64 = 0x0005_eed0_fa11_7e55;

/// How long the wire is watched after everything has settled.
const QUIET_WATCH: Duration = Duration::from_secs(65);

impl World {
    pub(crate) fn new(scenario: Scenario, tell: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ WORLD_SALT);
        let agents = (0..scenario.agents).map(|_| new_agent(&mut rng)).collect();
        let mirrors = (0..scenario.agents).map(|_| Mirror::new()).collect();
        let mut world = Self {
            now: Moment::ORIGIN,
            agents,
            server: new_server(mirrors),
            ends: BTreeMap::new(),
            history: History::default(),
            scenario,
            network: Network::default(),
            queue: BinaryHeap::new(),
            order: 0,
            rng,
            purposes: BTreeMap::new(),
            disk_free_at: BTreeMap::new(),
            next_record: 1,
            next_command: 1,
            next_question: 1,
            calm: false,
            meddled_until: Moment::ORIGIN,
            work_left: 0,
            trace: DefaultHasher::new(),
            tell,
        };
        world.plan();
        world
    }

    /// Runs until everything owed has settled, or a promise is broken.
    pub(crate) fn run(mut self) -> Outcome {
        let core = self.scenario.core;
        let mut settled_at: Option<(Moment, u64)> = None;
        let mut steps = 0_u64;
        while self.history.violation.is_none() {
            let Some(Reverse(entry)) = self.queue.pop() else { break };
            self.now = entry.at;
            steps += 1;
            if steps > STEPS_MAX {
                self.violate("liveness", format!("busy without end: {:?}", entry.what));
            }
            self.happen(entry.what);
            if let Some((since, frames)) = settled_at {
                if self.now - since >= QUIET_WATCH {
                    self.check_quiet(frames);
                    break;
                }
            } else if self.calm
                && self.work_left == 0
                && checker::settled::owed(&self, core).is_none()
            {
                settled_at = Some((self.now, self.history.frames));
            }
            if settled_at.is_none() && self.now >= self.scenario.ends_at() {
                let owed = checker::settled::owed(&self, core).unwrap_or_default();
                self.violate("liveness", format!("not settled in time: {owed}"));
            }
        }
        self.judge(core);
        self.into_outcome()
    }

    fn judge(&mut self, core: usize) {
        if self.history.violation.is_some() {
            return;
        }
        if let Err(what) = checker::exactly_once::check(self, core) {
            self.violate("I5", what);
        }
        if let Err(what) = checker::commands::check(self, core) {
            self.violate("I7", what);
        }
        if let Err(what) = checker::answers::check(&self.history, self.now) {
            self.violate("requests", what);
        }
        if let Err(what) = checker::stampede::check(self) {
            self.violate("I19", what);
        }
    }

    /// After everything has settled, only proofs of life are left to say.
    fn check_quiet(&mut self, frames_before: u64) {
        if self.scenario.mode == Mode::Liveness {
            // The agents outside the core go on talking.
            return;
        }
        // A beat each way every 20 s with its answer, and the acks of what settled last.
        let beats = QUIET_WATCH.as_secs() / 15;
        let allowed = (3 * beats + 8) * self.scenario.agents as u64;
        let frames = self.history.frames - frames_before;
        if frames > allowed {
            self.violate("liveness", format!("{frames} frames after all was said"));
        }
    }

    fn into_outcome(self) -> Outcome {
        let records = self.history.recorded.values().map(Vec::len).sum::<usize>() as u64;
        Outcome {
            violation: self.history.violation,
            trace: self.trace.finish(),
            faults: self.history.faults,
            frames: self.history.frames,
            sessions: self.history.sessions,
            records,
            commands: self.history.commanded.len() as u64,
        }
    }

    fn plan(&mut self) {
        for agent in 0..self.agents.len() {
            self.agents[agent].up = false;
            self.at(Moment::ORIGIN, Happening::Boot(Place::Agent(agent)));
        }
        for (at, fault) in self.scenario.faults.clone() {
            self.at(at, Happening::Fault(fault));
        }
        self.at(self.scenario.heal_at, Happening::Heal);
        self.plan_work();
    }

    pub(crate) fn violate(&mut self, invariant: &'static str, what: String) {
        let now = self.now;
        self.history.break_promise(invariant, now, what);
    }

    fn at(&mut self, at: Moment, what: Happening) {
        self.order += 1;
        self.queue.push(Reverse(Entry { at: at.max(self.now), order: self.order, what }));
    }

    fn after(&mut self, delay: Duration, what: Happening) {
        self.at(self.now + delay, what);
    }

    fn happen(&mut self, what: Happening) {
        if let Some(until) = self.frozen_until(&what) {
            return self.at(until, what);
        }
        self.note(&what);
        match what {
            Happening::Answer(conn, side, answer) => self.answer(conn, side, *answer),
            Happening::Arrive(conn, side, wire) => self.arrive(conn, side, wire),
            Happening::Boot(place) => self.boot(place),
            Happening::Commit(place, life, ticket) => self.commit(place, life, ticket),
            Happening::Connect(agent, life, conn) => self.connect(agent, life, conn),
            Happening::Deaf(conn, side) => self.check_deaf(conn, side),
            Happening::Dial(agent, life) => self.dial(agent, life),
            Happening::Fault(fault) => self.strike(fault),
            Happening::Finish(agent, life, command) => self.finish_job(agent, life, command),
            Happening::Heal => self.heal(),
            Happening::Progress(agent, life, command, tick) => {
                self.report_progress(agent, life, command, tick);
            }
            Happening::Start(agent, life, command) => self.start_job(agent, life, command),
            Happening::Tick(conn, side) => self.tick(conn, side),
            Happening::Work(work) => self.work(work),
        }
    }

    /// A process that stands still takes nothing; it finds everything when it goes on.
    fn frozen_until(&self, what: &Happening) -> Option<Moment> {
        let until = match self.place_of(what)? {
            Place::Agent(agent) => self.agents[agent].frozen_until,
            Place::Server => self.server.frozen_until,
        };
        (until > self.now).then_some(until)
    }

    fn place_of(&self, what: &Happening) -> Option<Place> {
        match what {
            Happening::Answer(conn, side, _)
            | Happening::Arrive(conn, side, _)
            | Happening::Tick(conn, side) => Some(match side {
                Side::Agent => Place::Agent(self.network.agent_of(*conn)?),
                Side::Server => Place::Server,
            }),
            Happening::Commit(place, ..) => Some(*place),
            Happening::Connect(agent, ..)
            | Happening::Dial(agent, _)
            | Happening::Finish(agent, ..)
            | Happening::Progress(agent, ..)
            | Happening::Start(agent, ..)
            | Happening::Work(Work::Record(agent) | Work::Ask(agent, Side::Agent)) => {
                Some(Place::Agent(*agent))
            }
            Happening::Work(Work::Command(_) | Work::Configure(_) | Work::Ask(..)) => {
                Some(Place::Server)
            }
            Happening::Boot(_) | Happening::Deaf(..) | Happening::Fault(_) | Happening::Heal => {
                None
            }
        }
    }

    /// Everything that happens goes into the digest; two runs of a seed must give the same.
    fn note(&mut self, what: &Happening) {
        self.now.since_origin().as_micros().hash(&mut self.trace);
        std::mem::discriminant(what).hash(&mut self.trace);
        if let Happening::Arrive(conn, side, Wire::Frame(frame)) = what {
            (conn, side, &frame.kind, frame.seq, frame.ack).hash(&mut self.trace);
        }
        if self.tell {
            self.tell_of(what);
        }
    }

    fn tell_of(&self, what: &Happening) {
        let at = self.now.since_origin();
        match what {
            Happening::Arrive(conn, side, Wire::Frame(frame)) => println!(
                "{at:>12.3?}  #{conn} to {side:?}: {} seq={:?} ack={:?} {}",
                frame.kind,
                frame.seq,
                frame.ack,
                frame.payload.as_ref().map_or("", |payload| payload.as_str()),
            ),
            other => println!("{at:>12.3?}  {other:?}"),
        }
    }

    fn latency(&mut self, agent: usize) -> Duration {
        let (low, high) = self.scenario.latency;
        let usual = self.rng.random_range(low..=high);
        if self.agents[agent].late_until > self.now {
            usual + Duration::from_millis(self.rng.random_range(500..4_000))
        } else {
            usual
        }
    }

    fn config(&mut self) -> Config {
        Config { jitter: self.rng.random(), ..Config::default() }
    }

    fn new_record_id(&mut self) -> RecordId {
        let id = self.next_record;
        self.next_record += 1;
        self.history.submitted.insert(id);
        id
    }
}

fn new_agent(rng: &mut ChaCha8Rng) -> Agent {
    let state = AgentState { next: 1, ..AgentState::default() };
    Agent {
        disk: Disk::new(state),
        incarnation: Incarnation::from_uuid(Uuid::from_u128(rng.random())),
        life: 0,
        up: true,
        frozen_until: Moment::ORIGIN,
        slow_until: Moment::ORIGIN,
        refuse_next: false,
        unreachable_until: Moment::ORIGIN,
        late_until: Moment::ORIGIN,
        conn: None,
        backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
        opened_at: None,
        running: std::collections::BTreeSet::new(),
        config: 0,
    }
}

fn new_server(agents: Vec<Mirror>) -> Server {
    Server {
        disk: Disk::new(ServerState { agents }),
        life: 0,
        up: true,
        frozen_until: Moment::ORIGIN,
        slow_until: Moment::ORIGIN,
        refuse_next: false,
        drops_at_once_until: Moment::ORIGIN,
    }
}
