//! `cargo xtask demo`: a whole fleet on this machine, for real, that leaves nothing behind.
//!
//! It uses only what every user has: the two programs' command lines. All it makes lies in one
//! temporary folder, all it starts runs in process groups of its own; both end with it, on success,
//! on failure and on Ctrl-C.

mod data;
mod progress;
mod report;
mod size;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use holdfast_e2e::fleet::Fleet;
use holdfast_e2e::programs::Programs;
use holdfast_e2e::{process, wait};

use crate::interrupt::Interrupt;
use crate::{command, tools, web, workspace};

use data::Host;
use size::Size;

/// How often a demo that stays up looks whether all still runs.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Checks with restic that every backup is there and can be restored, then ends
    #[arg(long)]
    once: bool,
    /// How much data the database host has, such as 500MB or 2GB [default: 2GB; with --once 200MB,
    /// which takes less than a minute]
    #[arg(long)]
    size: Option<Size>,
    /// Builds with optimisations
    #[arg(long)]
    release: bool,
    /// Uses the programs that were built before
    #[arg(long)]
    no_build: bool,
    /// The restic to use, instead of the system's
    #[arg(long, value_name = "PATH")]
    restic: Option<PathBuf>,
}

impl Options {
    fn size(&self) -> Size {
        let usual = if self.once { Size::megabytes(200) } else { Size::megabytes(2000) };
        self.size.unwrap_or(usual)
    }

    fn profile(&self) -> &'static str {
        if self.release { "release" } else { "debug" }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let restic = match &options.restic {
        Some(program) => program.clone(),
        None => tools::restic::installed()?.program,
    };
    let programs = programs(options)?;
    interrupt.check()?;
    let home = tempfile::Builder::new()
        .prefix("holdfast-demo-")
        .tempdir()
        .context("no room for the demo's temporary folder")?;
    // restic records real paths, so the folder must be known by its real name.
    let folder = home.path().canonicalize().context("cannot resolve the temporary folder")?;
    let played = play(options, &programs, &restic, &folder, &interrupt);
    process::sweep(&folder);
    home.close().context("the demo's temporary folder could not be removed")?;
    // Ctrl-C reaches the operator's commands too; what they said while dying is not the reason.
    let played = played.or_else(|error| interrupt.check().and(Err(error)));
    if played.is_ok() || interrupt.is_set() {
        println!("everything is stopped and removed");
    }
    played
}

/// Builds what is to be shown, unless told that it is there.
fn programs(options: &Options) -> Result<Programs> {
    if !options.no_build {
        build_web()?;
        println!("building the programs");
        let mut cargo = command::cargo();
        cargo.args(["build", "--workspace", "--bins", "--quiet"]);
        if options.release {
            cargo.arg("--release");
        }
        command::run(&mut cargo)?;
    }
    Programs::in_folder(&workspace::target().join(options.profile()))
}

fn build_web() -> Result<()> {
    if !tools::node::is_here() {
        println!("no Node.js here: the dashboard's page is left out (cargo xtask tools says why)");
        return Ok(());
    }
    println!("building the dashboard");
    web::build()
}

fn play(
    options: &Options,
    programs: &Programs,
    restic: &Path,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut fleet = Fleet::start(programs, restic, folder)?;
    println!("\nserver     {}", fleet.server.url());
    println!("data       {} for the database host, more with --size", options.size());
    let hosts = data::lay_out(folder, options.size())?;
    for host in &hosts {
        interrupt.check()?;
        enrol(&mut fleet, host)?;
    }
    print_login(&fleet);
    back_up(&fleet, &hosts, interrupt)?;
    if !options.once {
        stay_up(&mut fleet, interrupt)?;
    }
    fleet.stop()
}

fn enrol(fleet: &mut Fleet, host: &Host) -> Result<()> {
    fleet.add_host(host.name)?;
    let excludes: Vec<&str> = host.excludes.iter().map(String::as_str).collect();
    fleet.add_group(host.name, host.group, &[&host.source], &excludes)?;
    fleet.operator.json(&["schedule", "set", host.name, host.group, "--cron", host.cron])?;
    println!("host       {:<9} enrolled; backs up {} ({})", host.name, host.group, host.what);
    Ok(())
}

fn print_login(fleet: &Fleet) {
    let (url, token) = (fleet.server.url(), fleet.operator.token());
    println!("dashboard  {url}/#token={token}");
    println!("login      {token}\n");
}

/// Runs all backups at once and lets restic judge what came of them.
fn back_up(fleet: &Fleet, hosts: &[Host], interrupt: &Interrupt) -> Result<()> {
    let mut jobs = Vec::new();
    for host in hosts {
        jobs.push((host, fleet.operator.run(host.name, host.group)?));
    }
    let ended = progress::follow(&fleet.operator, &jobs, interrupt)?;
    let report = report::Report::of(&fleet.repository(), hosts, &ended)?;
    println!("\n{report}");
    if !report.is_good() {
        bail!("not every host is backed up; the table says which");
    }
    Ok(())
}

fn stay_up(fleet: &mut Fleet, interrupt: &Interrupt) -> Result<()> {
    print_login(fleet);
    println!("the fleet stays up; Ctrl-C stops it and removes everything");
    while !interrupt.is_set() {
        fleet.server.check_running()?;
        for agent in &mut fleet.agents {
            agent.check_running()?;
        }
        wait::pause(LOOK);
    }
    println!("\nstopping");
    Ok(())
}
