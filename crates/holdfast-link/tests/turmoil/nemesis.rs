//! Makes the weather: hosts that crash, links that are cut or held.

use std::{sync::Arc, time::Duration};

use holdfast_link::Dice;
use turmoil::Sim;

use crate::world::{AGENTS, Report, Trace};

/// The longest a fault lasts: longer than a silent peer is borne with.
const LENGTH_MAX: Duration = Duration::from_secs(70);
/// Between two faults, at most.
const PAUSE_MAX: Duration = Duration::from_secs(12);

/// What is wrong at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Fault {
    Crash { host: String },
    Cut { agent: String },
    CutOneWay { from: String, to: String },
    Hold { agent: String },
}

impl Fault {
    /// Whose fault it is. A host has at most one at a time, so that each can be taken back.
    fn whose(&self) -> &str {
        match self {
            Self::Crash { host } => host,
            Self::Cut { agent } | Self::Hold { agent } => agent,
            Self::CutOneWay { from, to } => {
                if from == "server" {
                    to
                } else {
                    from
                }
            }
        }
    }
}

pub(crate) struct Nemesis {
    dice: Dice,
    trace: Arc<Trace>,
    next_at: Duration,
    faults: Vec<(Duration, Fault)>,
    pub(crate) report: Report,
}

impl Nemesis {
    pub(crate) fn new(dice: Dice, trace: Arc<Trace>) -> Self {
        let (next_at, faults) = (Duration::ZERO, Vec::new());
        Self { dice, trace, next_at, faults, report: Report::default() }
    }

    /// Ends what is over, and sometimes begins something.
    pub(crate) fn act(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        for (_, fault) in self.faults.extract_if(.., |(until, _)| *until <= now) {
            end(sim, &fault);
        }
        if now < self.next_at {
            return;
        }
        self.next_at = now + PAUSE_MAX.mul_f64(self.dice.roll());
        let fault = self.draw();
        if self.faults.iter().any(|(_, other)| other.whose() == fault.whose()) {
            return;
        }
        // Most are short; the square leaves some long enough to be noticed as silence.
        let length = LENGTH_MAX.mul_f64(self.dice.roll().powi(2));
        self.trace.note(now, (&fault, length));
        self.begin(sim, &fault);
        self.faults.push((now + length, fault));
    }

    /// Ends everything.
    pub(crate) fn heal(&mut self, sim: &mut Sim<'_>) {
        for (_, fault) in self.faults.drain(..) {
            end(sim, &fault);
        }
    }

    fn draw(&mut self) -> Fault {
        let agent = format!("agent-{}", (self.dice.roll() * AGENTS as f64) as usize);
        let server = "server".to_owned();
        match (self.dice.roll() * 6.0) as u32 {
            0 => Fault::Crash { host: server },
            1 => Fault::Crash { host: agent },
            2 => Fault::Cut { agent },
            3 => Fault::CutOneWay { from: agent, to: server },
            4 => Fault::CutOneWay { from: server, to: agent },
            _ => Fault::Hold { agent },
        }
    }

    fn begin(&mut self, sim: &mut Sim<'_>, fault: &Fault) {
        match fault {
            Fault::Crash { host } => {
                self.report.crashes += 1;
                sim.crash(host.as_str());
            }
            Fault::Cut { agent } => {
                self.report.cuts += 1;
                sim.partition(agent.as_str(), "server");
            }
            Fault::CutOneWay { from, to } => {
                self.report.one_way_cuts += 1;
                sim.partition_oneway(from.as_str(), to.as_str());
            }
            Fault::Hold { agent } => {
                self.report.holds += 1;
                sim.hold(agent.as_str(), "server");
            }
        }
    }
}

fn end(sim: &mut Sim<'_>, fault: &Fault) {
    match fault {
        Fault::Crash { host } => sim.bounce(host.as_str()),
        Fault::Cut { agent } => sim.repair(agent.as_str(), "server"),
        Fault::CutOneWay { from, to } => sim.repair_oneway(from.as_str(), to.as_str()),
        Fault::Hold { agent } => sim.release(agent.as_str(), "server"),
    }
}
