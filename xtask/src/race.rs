//! `cargo xtask race`: two hosts and an outsider at one repository, for as long as you like.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use holdfast_e2e::process;
use holdfast_e2e::programs::Programs;
use holdfast_e2e::race::Race;

use crate::interrupt::Interrupt;
use crate::{tools, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// For how many minutes jobs are ordered; from five on the server is away for a while
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Uses the programs that were built before
    #[arg(long)]
    no_build: bool,
}

/// Races, and prints how many jobs of each kind there were.
pub(crate) fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let restics = tools::restic::all()?;
    let (oldest, newest) = restics.first().zip(restics.last()).context("there is no restic")?;
    println!("restic {} and restic {} at one repository", oldest.version, newest.version);
    if !options.no_build {
        workspace::build_programs()?;
    }
    let room = tempfile::Builder::new()
        .prefix("holdfast-race-")
        .tempdir()
        .context("no room for a temporary folder")?;
    let race = Race {
        programs: Programs::in_folder(&workspace::target().join("debug"))?,
        restics: [oldest.program.clone(), newest.program.clone()],
        length: Duration::from_secs(60 * options.minutes),
    };
    let started = Instant::now();
    let raced = race.run(room.path(), &|| interrupt.is_set());
    process::sweep(room.path());
    room.close().context("the temporary folder could not be removed")?;
    print!("{}", raced?);
    println!(
        "no job ended at a lock in {} s; the repository is whole",
        started.elapsed().as_secs()
    );
    Ok(())
}
