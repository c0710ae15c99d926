//! The short runs of what `cargo xtask chaos` and `cargo xtask torture` do at length.

use std::path::Path;

use anyhow::{Context, Result};
use holdfast_chaos::{chaos, torture};

fn bench() -> Result<chaos::Bench> {
    let program = Path::new(env!("CARGO_BIN_EXE_holdfast-chaos"));
    chaos::Bench::in_folder(program.parent().context("the program lies nowhere")?)
}

fn survives(fault: &str) -> Result<()> {
    println!("{fault}: {}", chaos::survive(&bench()?, fault)?);
    Ok(())
}

#[test]
fn a_stream_survives_thirty_kills_of_either_side() -> Result<()> {
    let options = torture::Options { messages: 5_000, kills: 30, seed: 1, quiet: true };
    println!("{}", torture::run(&bench()?, &options)?);
    Ok(())
}

#[test]
fn results_survive_a_killed_agent() -> Result<()> {
    survives("F02")
}

#[test]
fn jobs_survive_both_killed_at_once() -> Result<()> {
    survives("F03")
}

#[test]
fn a_full_outbox_survives_kills_while_it_is_replayed() -> Result<()> {
    survives("F05")
}

#[test]
fn frames_of_an_older_session_have_no_effect() -> Result<()> {
    survives("F22")
}

#[test]
fn an_agent_cannot_rewrite_its_history() -> Result<()> {
    survives("F25")
}

#[test]
fn a_second_process_on_one_directory_ends() -> Result<()> {
    survives("F26")
}

#[test]
fn a_database_from_an_older_copy_is_given_what_it_lost() -> Result<()> {
    survives("F29")
}

#[test]
fn oversized_frames_are_closed_before_they_cost_memory() -> Result<()> {
    survives("F44")
}

#[test]
fn malformed_frames_end_their_session_and_nothing_else() -> Result<()> {
    survives("F45")
}

#[test]
fn bad_credentials_are_refused_and_a_token_has_one_winner() -> Result<()> {
    survives("F48")
}
