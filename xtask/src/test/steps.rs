//! The steps of `cargo xtask test`.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{bench, command, packaging, sim, tidy, tools, web};

/// One thing to check.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) run: Box<dyn Fn() -> Result<()>>,
}

/// The package whose tests drive real programs; they run after all others, because when a unit
/// test fails too it says more.
const END_TO_END: &str = "holdfast-e2e";

pub(super) fn all(quick: bool) -> Vec<Step> {
    let mut steps = vec![
        step("format", "every Rust file is as rustfmt would write it", format),
        step("tidy", "the rules of the house that no compiler knows", tidy::run),
        step("web", "the dashboard: types, tests, build", web::check_and_build),
        step("packaging", "promtool judges the rules and the board that we ship", packaging::check),
        step("lint", "clippy finds nothing", lint),
        step("build", "all programs and tests", build),
        step("test", "each crate by itself, with every restic there is", test_crates),
        step("doc test", "the examples in the documentation", doc_test),
        step("simulate", "the link's promises in 20,000 seeded worlds", sim::short),
    ];
    if !quick {
        steps.push(step("end to end", "real programs, real restic", end_to_end));
        steps.push(step("bench", "the bench still goes through all scenarios", bench::smoke));
        steps.push(step("browser", "the dashboard in a real browser", browser));
    }
    steps
}

fn step(name: &'static str, what: &'static str, run: fn() -> Result<()>) -> Step {
    Step { name, what, run: Box::new(run) }
}

fn format() -> Result<()> {
    command::run(command::cargo().args(["fmt", "--all", "--check"]))
}

fn lint() -> Result<()> {
    let lint = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    command::run(command::cargo().args(lint))?;
    // The one feature, switched off: what is left must stand by itself.
    let bare =
        ["clippy", "--workspace", "--no-default-features", "--quiet", "--", "-D", "warnings"];
    command::run(command::cargo().args(bare))
}

/// The end-to-end tests start the programs themselves, so these must be there before.
///
/// Always the whole workspace: for a part of it cargo would build the dependencies once more.
fn build() -> Result<()> {
    command::run(command::cargo().args(["build", "--workspace", "--all-targets"]))
}

fn test_crates() -> Result<()> {
    if has_nextest() {
        return nextest(&format!("not package({END_TO_END})"));
    }
    let mut cargo = command::cargo();
    cargo.args(["test", "--workspace", "--all-targets", "--exclude", END_TO_END]);
    command::run(with_tools(&mut cargo)?)
}

fn doc_test() -> Result<()> {
    command::run(command::cargo().args(["test", "--doc", "--workspace", "--quiet"]))
}

fn end_to_end() -> Result<()> {
    if has_nextest() {
        return nextest(&format!("package({END_TO_END}) - binary(browser)"));
    }
    cargo_test_end_to_end(&["--skip", "browser_"])
}

fn browser() -> Result<()> {
    web::browser_test(&tools::chromium::find_or_install()?)?;
    if has_nextest() {
        return nextest("binary(browser)");
    }
    cargo_test_end_to_end(&["browser_"])
}

fn nextest(filter: &str) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["nextest", "run", "--workspace", "--no-fail-fast", "-E", filter]);
    command::run(with_tools(&mut cargo)?)
}

fn cargo_test_end_to_end(filter: &[&str]) -> Result<()> {
    let mut cargo = command::cargo();
    // One at a time: each of them keeps the machine busy on its own.
    cargo.args(["test", "-p", END_TO_END, "--", "--test-threads=1"]).args(filter);
    command::run(with_tools(&mut cargo)?)
}

fn has_nextest() -> bool {
    command::capture(command::cargo().args(["nextest", "--version"])).is_ok()
}

/// Tells the tests which restics, which browser and which servers there are.
fn with_tools(cargo: &mut Command) -> Result<&mut Command> {
    let restics = tools::restic::all()?;
    let list: OsString = tools::restic::test_list(&restics)?;
    if list.is_empty() {
        bail!("there is no restic to test with");
    }
    let chromium = tools::chromium::find_or_install()?;
    cargo.env("HOLDFAST_TEST_RESTIC", list).env("HOLDFAST_CHROMIUM", chromium);
    tools::database::sqlite();
    let more = [
        ("HOLDFAST_TEST_REST_SERVER", tools::rest_server::find_or_fetch()),
        ("HOLDFAST_TEST_POSTGRESQL", tools::database::postgresql()),
    ];
    Ok(cargo.envs(more.into_iter().filter_map(|(name, found)| Some((name, found?)))))
}
