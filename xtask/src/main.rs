//! The project's own chores. `cargo xtask --help` lists them; a checkout needs only Rust for this.
//!
//! Nothing here is needed at run time, and nothing here is part of the product.

mod bench;
mod command;
mod demo;
mod interrupt;
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
    /// Starts a whole fleet on this machine, backs it up for real, and cleans up after itself
    Demo(demo::Options),
    /// Checks everything: format, lints, tests, the web page, real restic, a real browser
    Test(test::Options),
    /// Checks the rules of the house that no compiler knows
    Tidy,
    /// Finds or installs the programs that the tests and the demo need
    Tools,
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
            Self::Demo(options) => demo::run(&options),
            Self::Test(options) => test::run(&options),
            Self::Tidy => tidy::run(),
            Self::Tools => tools::run(),
            Self::Web => web::build(),
        }
    }
}
