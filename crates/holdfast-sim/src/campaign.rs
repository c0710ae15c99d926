//! Many worlds: spread over the cores, stopped at the first broken promise, counted at the end.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use holdfast_sim::{Outcome, Plant, Violation, run as run_world, scenario};

/// Which worlds to live through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Campaign {
    pub(crate) base: u64,
    pub(crate) seeds: u64,
    pub(crate) plant: Option<Plant>,
    pub(crate) twice: bool,
    pub(crate) threads: usize,
}

/// What all worlds together have shown.
#[derive(Debug, Default)]
struct Tally {
    worlds: u64,
    frames: u64,
    sessions: u64,
    records: u64,
    commands: u64,
    faults: BTreeMap<&'static str, u64>,
    broken: Option<(u64, Violation)>,
}

/// Lives through all worlds; `false` when a promise was broken.
pub(crate) fn run(campaign: &Campaign) -> bool {
    let started = Instant::now();
    let tally = live_through(campaign);
    let seconds = started.elapsed().as_secs_f64();
    print_tally(&tally, campaign, seconds);
    tally.broken.is_none()
}

/// One world again, alone.
pub(crate) fn replay(seed: u64, plant: Option<Plant>, tell: bool) -> bool {
    let mut world = scenario(seed);
    world.plant = plant;
    println!("{world:#?}");
    let outcome = run_world(world, tell);
    println!(
        "{} records, {} commands, {} sessions, {} frames, trace {:016x}",
        outcome.records, outcome.commands, outcome.sessions, outcome.frames, outcome.trace
    );
    match outcome.violation {
        Some(violation) => {
            println!("{}", sentence(seed, &violation));
            false
        }
        None => {
            println!("seed {seed}: every promise kept");
            true
        }
    }
}

/// Plants every bug in turn; `false` when one went unnoticed.
pub(crate) fn mutants(campaign: &Campaign) -> bool {
    let mut all = true;
    for plant in Plant::ALL {
        let tally = live_through(&Campaign { plant: Some(plant), ..*campaign });
        match tally.broken {
            Some((seed, violation)) => println!(
                "caught    {plant:<18} after {:>4} worlds, by {}: seed {seed}: {}",
                tally.worlds, violation.invariant, violation.what
            ),
            None => {
                all = false;
                println!("UNNOTICED {plant:<18} in {} worlds", tally.worlds);
            }
        }
    }
    all
}

fn live_through(campaign: &Campaign) -> Tally {
    let next = AtomicU64::new(campaign.base);
    let end = campaign.base.saturating_add(campaign.seeds);
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..campaign.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || tally.lock().expect("no panics").broken.is_some() {
                        return;
                    }
                    let outcome = live_once(campaign, seed);
                    tally.lock().expect("no panics").add(seed, outcome);
                }
            });
        }
    });
    tally.into_inner().expect("no panics")
}

fn live_once(campaign: &Campaign, seed: u64) -> Outcome {
    let mut world = scenario(seed);
    world.plant = campaign.plant;
    let mut outcome = run_world(world.clone(), false);
    if campaign.twice {
        let again = run_world(world, false);
        if again.trace != outcome.trace {
            outcome.violation = Some(Violation {
                invariant: "determinism",
                what: format!("traces {:016x} and {:016x}", outcome.trace, again.trace),
                at_ms: 0,
            });
        }
    }
    outcome
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.worlds += 1;
        self.frames += outcome.frames;
        self.sessions += outcome.sessions;
        self.records += outcome.records;
        self.commands += outcome.commands;
        for (fault, count) in outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        if let Some(violation) = outcome.violation {
            // The lowest seed, so that what is printed does not depend on the threads.
            if self.broken.as_ref().is_none_or(|(known, _)| seed < *known) {
                self.broken = Some((seed, violation));
            }
        }
    }
}

fn print_tally(tally: &Tally, campaign: &Campaign, seconds: f64) {
    println!(
        "{} worlds from seed {} in {seconds:.1} s ({:.0} a second)",
        tally.worlds,
        campaign.base,
        tally.worlds as f64 / seconds.max(0.001)
    );
    println!(
        "  {} records and {} commands over {} sessions, {} frames",
        tally.records, tally.commands, tally.sessions, tally.frames
    );
    println!("  faults injected:");
    for (fault, count) in &tally.faults {
        println!("    {fault:<22} {count:>10}");
    }
    match &tally.broken {
        None => println!("  0 lost, 0 duplicated, 0 reordered, 0 stuck"),
        Some((seed, violation)) => {
            println!("  {}", sentence(*seed, violation));
            let plant = campaign.plant.map_or(String::new(), |plant| format!(" --plant {plant}"));
            println!("  again, alone: cargo xtask sim --replay {seed}{plant} --tell");
        }
    }
}

fn sentence(seed: u64, violation: &Violation) -> String {
    format!(
        "seed {seed} broke {} at {} ms: {}",
        violation.invariant, violation.at_ms, violation.what
    )
}
