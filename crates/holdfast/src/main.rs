//! The operator's program: `holdfast server`, and the commands that speak its REST API.
//!
//! `main` parses, [`command::run`] does what was asked, [`failure::Failure`] is how anything that
//! went wrong reaches a person: one sentence, and what to do about it.

mod cli;
mod client;
mod command;
mod failure;
mod input;
mod model;
mod output;
mod restic;
mod suggest;

use std::process::ExitCode;

use crate::cli::Cli;

fn main() -> ExitCode {
    // Two TLS providers in one program would make rustls refuse to choose; choose here, once.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Cli::read(std::env::args_os()) {
        Ok(cli) => command::run(cli).unwrap_or_else(|failure| {
            failure.report();
            ExitCode::FAILURE
        }),
        Err(error) => usage(&error),
    }
}

/// Shows a usage error (exit 2), or the help that was asked for (exit 0).
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}
