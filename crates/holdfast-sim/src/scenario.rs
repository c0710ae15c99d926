//! What one seed means: the fleet, its work, and everything that goes wrong and when.

use std::time::Duration;

use holdfast_link::Moment;
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use crate::plant::Plant;

/// When faults stop being started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Faults everywhere until the end of the workload; then everything heals.
    Safety,
    /// From some moment on a core (the server and some agents) is healthy for ever, while the rest
    /// goes on suffering. What is owed to the core must settle although the world never calms down.
    Liveness,
}

/// One world to be. Everything in it follows from the seed.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it was drawn from.
    pub seed: u64,
    /// When faults stop.
    pub mode: Mode,
    /// How many agents.
    pub agents: usize,
    /// Records that agents write of their own accord, in total.
    pub records: usize,
    /// Commands the server gives, in total.
    pub commands: usize,
    /// The one-way delay of the network.
    pub latency: (Duration, Duration),
    /// How long a commit takes.
    pub commit: (Duration, Duration),
    /// What a broken middle box does to frames; `None` for a network that keeps TCP's promises.
    pub middle_box: Option<MiddleBox>,
    /// The faults, in order of time.
    pub faults: Vec<(Moment, Fault)>,
    /// When the workload ends and, for the core, all faults.
    pub heal_at: Moment,
    /// Agents below this index are the core of a liveness run.
    pub core: usize,
    /// Questions that are asked, by either side.
    pub asks: u32,
    /// A bug to plant; `None` for the real thing.
    pub plant: Option<Plant>,
}

/// Chances per frame.
#[derive(Debug, Clone, Copy)]
pub struct MiddleBox {
    /// The frame vanishes although the connection lives on.
    pub lose: f64,
    /// It comes twice.
    pub repeat: f64,
    /// It comes after the next one.
    pub swap: f64,
    /// It comes, and later again on another connection of the same agent.
    pub replay: f64,
    /// It comes as rubbish.
    pub corrupt: f64,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The process is killed. What was being committed may have reached the disk, in order.
    Crash(Place, Duration),
    /// The power goes. Nothing that was not synced is there afterwards.
    PowerLoss(Place, Duration),
    /// The process stops in good order and starts again.
    Restart(Place, Duration),
    /// The process stands still, as by SIGSTOP or a suspended laptop.
    Freeze(Place, Duration),
    /// Commits take this long for a while.
    SlowDisk(Place, Duration),
    /// The next commits fail.
    DiskRefuses(Place),
    /// The agent's connection breaks, and both ends are told.
    Cut(usize),
    /// The agent's connection swallows everything from now on, both ways or one way.
    BlackHole(usize, Way),
    /// For a while dials of this agent find nothing.
    Unreachable(usize, Duration),
    /// For a while the server takes connections and drops them at once.
    DropsAtOnce(Duration),
    /// For a while everything to and from this agent is late.
    Late(usize, Duration),
    /// The agent's machine was copied while it was off; the copy starts, too, and says hello.
    Clone(usize),
}

impl Fault {
    /// The word under which it is counted.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crash(Place::Server, _) => "server killed",
            Self::Crash(..) => "agent killed",
            Self::PowerLoss(Place::Server, _) => "server power loss",
            Self::PowerLoss(..) => "agent power loss",
            Self::Restart(Place::Server, _) => "server restarted",
            Self::Restart(..) => "agent restarted",
            Self::Freeze(..) => "process frozen",
            Self::SlowDisk(..) => "disk slow",
            Self::DiskRefuses(_) => "disk refused",
            Self::Cut(_) => "connection cut",
            Self::BlackHole(_, Way::Both) => "half-open connection",
            Self::BlackHole(..) => "one-way connection",
            Self::Unreachable(..) => "server unreachable",
            Self::DropsAtOnce(_) => "server drops at once",
            Self::Late(..) => "network late",
            Self::Clone(_) => "machine copied",
        }
    }
}

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The agent with this index.
    Agent(usize),
    /// The server.
    Server,
}

/// Which direction is swallowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Neither end hears the other.
    Both,
    /// The server no longer hears the agent.
    ToServer,
    /// The agent no longer hears the server.
    ToAgent,
}

const WORKLOAD: Duration = Duration::from_secs(400);

impl Scenario {
    /// Draws the world of `seed`.
    #[must_use]
    pub fn draw(seed: u64, mode: Mode, rng: &mut ChaCha8Rng) -> Self {
        let agents = rng.random_range(1..=4);
        let core = match mode {
            Mode::Safety => agents,
            Mode::Liveness => rng.random_range(1..=agents),
        };
        let mut scenario = Self {
            seed,
            mode,
            agents,
            records: rng.random_range(20..=160),
            commands: rng.random_range(4..=30),
            latency: draw_range(rng, 1..5, 5..200),
            commit: draw_range(rng, 1..3, 3..40),
            middle_box: rng.random_bool(0.2).then(|| draw_middle_box(rng)),
            faults: Vec::new(),
            heal_at: Moment::ORIGIN + WORKLOAD,
            core,
            asks: 0,
            plant: None,
        };
        scenario.faults = draw_faults(&scenario, rng);
        // After everything else, for the sake of older seeds.
        scenario.asks = if rng.random_bool(0.3) { rng.random_range(5..=60) } else { 0 };
        scenario
    }

    /// Until when the world runs at the most: everything owed must have settled by then.
    ///
    /// After the last fault an agent may need the silence deadline (50 s), the longest wait between
    /// dials (60 s), a handshake that times out on the way (10 s) and the same again for bad luck.
    #[must_use]
    pub fn ends_at(&self) -> Moment {
        self.heal_at + Duration::from_secs(300)
    }
}

fn draw_range(
    rng: &mut ChaCha8Rng,
    low: std::ops::Range<u64>,
    high: std::ops::Range<u64>,
) -> (Duration, Duration) {
    let from = rng.random_range(low);
    (Duration::from_millis(from), Duration::from_millis(rng.random_range(high).max(from + 1)))
}

fn draw_middle_box(rng: &mut ChaCha8Rng) -> MiddleBox {
    let mut chance = |max: f64| if rng.random_bool(0.6) { rng.random_range(0.0..max) } else { 0.0 };
    MiddleBox {
        lose: chance(0.03),
        repeat: chance(0.05),
        swap: chance(0.03),
        replay: chance(0.02),
        corrupt: chance(0.004),
    }
}

/// A storm is a few faults close together; most misfortunes need two things at once.
fn draw_faults(scenario: &Scenario, rng: &mut ChaCha8Rng) -> Vec<(Moment, Fault)> {
    let mut faults = Vec::new();
    for _ in 0..rng.random_range(1..=8) {
        let storm = rng.random_range(0..WORKLOAD.as_millis() as u64);
        for _ in 0..rng.random_range(1..=4) {
            let at = storm + rng.random_range(0..4_000);
            let at = Moment::ORIGIN + Duration::from_millis(at).min(WORKLOAD);
            faults.push((at, draw_fault(scenario.agents, rng)));
        }
    }
    if scenario.mode == Mode::Liveness && scenario.core < scenario.agents {
        faults.extend(draw_endless_misery(scenario, rng));
    }
    faults.extend(draw_copies(scenario.agents, rng));
    faults.sort_by_key(|(at, _)| *at);
    faults
}

/// In some worlds somebody copies machines, and each copy dials a few times. Drawn after everything
/// else, so that older seeds still mean what they meant.
fn draw_copies(agents: usize, rng: &mut ChaCha8Rng) -> Vec<(Moment, Fault)> {
    if !rng.random_bool(0.3) {
        return Vec::new();
    }
    let copied = Fault::Clone(rng.random_range(0..agents));
    let within = WORKLOAD.as_millis() as u64;
    let at = |ms| Moment::ORIGIN + Duration::from_millis(ms);
    (0..rng.random_range(1..=5)).map(|_| (at(rng.random_range(0..within)), copied)).collect()
}

/// What the agents outside the core go on suffering after the core has healed.
fn draw_endless_misery(scenario: &Scenario, rng: &mut ChaCha8Rng) -> Vec<(Moment, Fault)> {
    let outside: Vec<usize> = (scenario.core..scenario.agents).collect();
    (0..20)
        .map(|_| {
            let agent = *outside.choose(rng).expect("there are agents outside the core");
            let at = scenario.heal_at + Duration::from_millis(rng.random_range(0..300_000));
            let fault = match rng.random_range(0..4) {
                0 => Fault::Crash(Place::Agent(agent), draw_pause(rng)),
                1 => Fault::Cut(agent),
                2 => Fault::BlackHole(agent, Way::Both),
                _ => Fault::Unreachable(agent, draw_pause(rng)),
            };
            (at, fault)
        })
        .collect()
}

fn draw_pause(rng: &mut ChaCha8Rng) -> Duration {
    let long = rng.random_bool(0.2);
    Duration::from_millis(rng.random_range(if long { 10_000..90_000 } else { 10..5_000 }))
}

fn draw_fault(agents: usize, rng: &mut ChaCha8Rng) -> Fault {
    let agent = rng.random_range(0..agents);
    let place = if rng.random_bool(0.4) { Place::Server } else { Place::Agent(agent) };
    let pause = draw_pause(rng);
    match rng.random_range(0..14) {
        0..=2 => Fault::Crash(place, pause),
        3 | 4 => Fault::PowerLoss(place, pause),
        5 => Fault::Restart(place, pause),
        6 => Fault::Freeze(place, pause),
        7 => Fault::SlowDisk(place, pause),
        8 => Fault::DiskRefuses(place),
        9 => Fault::Cut(agent),
        10 => Fault::BlackHole(
            agent,
            *[Way::Both, Way::ToServer, Way::ToAgent].choose(rng).expect("three ways"),
        ),
        11 => Fault::Unreachable(agent, pause),
        12 => Fault::DropsAtOnce(pause),
        _ => Fault::Late(agent, pause),
    }
}
