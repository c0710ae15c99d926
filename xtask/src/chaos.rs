//! `cargo xtask chaos` and `cargo xtask torture`: real faults on real processes.
//!
//! The work is done by a program of its own (`holdfast-chaos`), which knows the product. Everything
//! it starts knows one temporary folder by its environment, so that nothing outlives it, however it
//! ends.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, bail};
use holdfast_e2e::{process, wait};

use crate::interrupt::Interrupt;
use crate::{command, workspace};

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Faults such as F13, --list, --all, --json FILE; for torture --messages N, --kills N, --seed
    /// N,
    /// --herd AGENTS; --help shows all of it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Checks faults of the catalogue.
pub(crate) fn run(options: &Options) -> Result<()> {
    play("chaos", options)
}

/// Kills agent and server in turn, or restarts a server under a herd.
pub(crate) fn torture(options: &Options) -> Result<()> {
    play("torture", options)
}

fn play(verb: &str, options: &Options) -> Result<()> {
    workspace::build_programs()?;
    let interrupt = Interrupt::watch()?;
    let room = tempfile::Builder::new()
        .prefix("holdfast-chaos-")
        .tempdir()
        .context("no room for a temporary folder")?;
    let mut program = command::in_root(workspace::program("holdfast-chaos"));
    program.arg(verb).args(&options.arguments).env("TMPDIR", room.path());
    let played = watch(&mut program, &interrupt);
    process::sweep(room.path());
    room.close().context("the temporary folder could not be removed")?;
    played
}

/// Waits for the program's end, or for Ctrl-C, which ends the program too.
fn watch(program: &mut Command, interrupt: &Interrupt) -> Result<()> {
    let mut child = program.spawn().context("cannot start holdfast-chaos")?;
    let status = loop {
        interrupt.check()?;
        if let Some(status) = child.try_wait()? {
            break status;
        }
        wait::pause(std::time::Duration::from_millis(100));
    };
    if !status.success() {
        bail!("not all was survived ({status})");
    }
    Ok(())
}
