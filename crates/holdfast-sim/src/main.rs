//! Runs seeded worlds and says what broke.

mod campaign;

use std::process::ExitCode;

use clap::Parser;
use holdfast_sim::Plant;

/// Simulates the link between agents and a server, a world per seed.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many worlds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    base: u64,
    /// Only this seed.
    #[arg(long, conflicts_with_all = ["seeds", "base", "mutants"])]
    replay: Option<u64>,
    /// Print everything that happens; with --replay.
    #[arg(long, requires = "replay")]
    tell: bool,
    /// Plant this bug.
    #[arg(long)]
    plant: Option<Plant>,
    /// Plant every bug in turn; each must be caught within --seeds worlds.
    #[arg(long, conflicts_with = "plant")]
    mutants: bool,
    /// Run every world twice and compare the traces.
    #[arg(long)]
    twice: bool,
    /// Threads; all cores when absent.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let good = match arguments.replay {
        Some(seed) => campaign::replay(seed, arguments.plant, arguments.tell),
        None if arguments.mutants => campaign::mutants(&arguments.campaign()),
        None => campaign::run(&arguments.campaign()),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Arguments {
    fn campaign(&self) -> campaign::Campaign {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        campaign::Campaign {
            base: self.base,
            seeds: self.seeds,
            plant: self.plant,
            twice: self.twice,
            threads: self.threads.unwrap_or_else(cores).max(1),
        }
    }
}
