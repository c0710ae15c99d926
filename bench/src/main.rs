//! The bench: what Holdfast costs, each figure beside a floor or a peer measured in the same run.
//!
//! `cargo xtask bench` builds everything and starts this program; `docs/performance.md` tells how
//! to read what it prints.
//!
//! ```text
//! driver ── starts, measures (through /proc) and ends all others; one scenario after the other
//!   ├─ the programs under test: `holdfast server`, `holdfast-agent`
//!   ├─ role fleet   thousands of light agents: the real link over a store in memory
//!   ├─ role floor   the least a server on the same stack could do
//!   └─ role peers   the floor's clients; also the browsers of the fan-out
//! ```
//!
//! A role is this same program in a process of its own, so that its memory and its file descriptors
//! are its own. Everything runs on loopback, below one temporary folder, and ends with the driver.

mod account;
mod child;
mod driver;
mod growth;
mod machine;
mod measure;
mod operator;
mod plot;
mod publish;
mod report;
mod role;
mod scenario;
mod seed;
mod stage;
mod summary;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, Parser)]
#[command(name = "holdfast-bench", about = "Measures Holdfast against floors and peers")]
struct Cli {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Runs scenarios and prints what came of them
    Run(driver::Options),
    /// Prints the figures of an earlier run as Markdown
    Table(publish::Options),
    /// Draws the growth curves of an earlier run
    Plot(publish::Options),
    /// Puts the figures and curves of an earlier run into the documentation
    Publish(publish::Options),
    /// Light agents (started by the driver)
    #[command(hide = true)]
    Fleet(role::fleet::Options),
    /// A floor's server (started by the driver)
    #[command(hide = true)]
    Floor(role::floor::Options),
    /// A floor's clients, or browsers (started by the driver)
    #[command(hide = true)]
    Peers(role::peers::Options),
}

fn start() -> Result<()> {
    raise_open_files()?;
    let part = Cli::parse().part;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(async {
        match part {
            Part::Run(options) => Box::pin(driver::run(options)).await,
            Part::Table(options) => publish::table(&options),
            Part::Plot(options) => publish::draw(&options),
            Part::Publish(options) => publish::publish(&options),
            Part::Fleet(options) => role::fleet::run(options).await,
            Part::Floor(options) => role::floor::run(options).await,
            Part::Peers(options) => role::peers::run(options).await,
        }
    })
}

/// A socket per agent needs more than the usual 1,024; every child inherits it.
fn raise_open_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("no limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")
}
