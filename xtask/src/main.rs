//! The project's own chores. `cargo xtask --help` lists them; a checkout needs only Rust for this.
//!
//! Nothing here is needed at run time, and nothing here is part of the product.

mod bench;
mod chaos;
mod command;
mod demo;
mod interrupt;
mod packaging;
mod race;
mod sim;
mod test;
mod tidy;
mod tools;
mod web;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

fn main() -> ExitCode {
    match Chore::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own chores")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Measures what Holdfast costs, beside floors in the same run
    Bench(bench::Options),
    /// Puts real programs into the faults of the catalogue, and judges what comes of it
    Chaos(chaos::Options),
    /// Starts a whole fleet on this machine, backs it up for real, and cleans up after itself
    Demo(demo::Options),
    /// Lets hosts that share a repository work on it all at once, and judges what comes of it
    Race(race::Options),
    /// Takes the pictures of every screen into docs/images
    Screenshots(web::Screenshots),
    /// Lives through the link's promises in seeded worlds
    Sim(sim::Options),
    /// Checks everything: format, lints, tests, the web page, real restic, a real browser
    Test(test::Options),
    /// Checks the rules of the house that no compiler knows
    Tidy,
    /// Finds or installs the programs that the tests and the demo need
    Tools,
    /// Kills agent and server in turn during a stream of records, or restarts a server under a herd
    Torture(chaos::Options),
    /// Builds the dashboard
    Web,
}

impl Chore {
    fn parse() -> Self {
        Cli::parse().chore
    }

    fn run(self) -> Result<()> {
        match self {
            Self::Bench(options) => bench::run(&options),
            Self::Chaos(options) => chaos::run(&options),
            Self::Demo(options) => demo::run(&options),
            Self::Race(options) => race::run(&options),
            Self::Screenshots(options) => web::screenshots(&options),
            Self::Sim(options) => sim::run(&options),
            Self::Test(options) => test::run(&options),
            Self::Tidy => tidy::run(),
            Self::Tools => tools::run(),
            Self::Torture(options) => chaos::torture(&options),
            Self::Web => web::build(),
        }
    }
}
