//! `cargo xtask sim`: the link in seeded worlds.

use std::ffi::OsString;

use anyhow::Result;

use crate::{command, workspace};

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// What the simulator is told: --seeds N, --base N, --replay SEED [--tell], --mutants, --twice;
    /// --help shows all of it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Builds the simulator and runs it.
pub(crate) fn run(options: &Options) -> Result<()> {
    simulate(&options.arguments)
}

/// How many worlds every change is lived through in. It takes a few minutes on two cores.
const SEEDS: &str = "20000";

/// The part of it that every change has to pass.
pub(crate) fn short() -> Result<()> {
    simulate(&["--seeds".into(), SEEDS.into()])
}

fn simulate(arguments: &[OsString]) -> Result<()> {
    workspace::build_programs()?;
    command::run(command::in_root(workspace::program("holdfast-sim")).args(arguments))
}
