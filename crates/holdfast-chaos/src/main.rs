//! Real faults on real processes; see the crate's page.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use holdfast_chaos::{
    chaos::{self, Bench},
    herd, peer, torture,
};

/// Real faults on real processes.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks faults of the catalogue
    Chaos(chaos::Options),
    /// Kills agent and server in turn during a stream of records
    Torture(TortureOptions),
    /// An agent without restic
    #[command(hide = true)]
    PeerAgent(peer::Options),
    /// A process full of links
    #[command(hide = true)]
    PeerHerd(herd::Options),
}

#[derive(Debug, clap::Args)]
struct TortureOptions {
    /// Instead: restart the server under so many connected agents
    #[arg(long, value_name = "AGENTS")]
    herd: Option<usize>,
    #[command(flatten)]
    torture: torture::Options,
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Chaos(options) => return chaos::run(options, bench),
        Command::Torture(TortureOptions { herd: Some(agents), .. }) => {
            println!("{}", herd::run(&bench()?, *agents)?);
        }
        Command::Torture(options) => println!("{}", torture::run(&bench()?, &options.torture)?),
        Command::PeerAgent(options) => peer::run(options)?,
        Command::PeerHerd(options) => herd::run_peers(options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The programs lie beside this one.
fn bench() -> Result<Bench> {
    let program: PathBuf = std::env::current_exe().context("cannot tell where this runs")?;
    Bench::in_folder(program.parent().context("this runs in no folder")?)
}
