//! `cargo xtask bench`: what Holdfast costs, beside floors measured in the same run.
//!
//! The measuring is done by `holdfast-bench`; this builds it and the programs alike, in one
//! profile, and starts it.

use std::path::PathBuf;

use anyhow::Result;

use crate::{command, tools, workspace};

#[derive(Debug, Default, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    earlier: Option<Earlier>,
    /// What to measure: idle, ingest, dispatch, storm, fan-out, outbox, overhead, agent-idle, ui,
    /// endure
    scenarios: Vec<String>,
    /// Measures everything
    #[arg(long, conflicts_with = "scenarios")]
    all: bool,
    /// Writes all figures there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Proves in seconds that the harness works, with debug builds; measures nothing
    #[arg(long)]
    smoke: bool,
    /// Draws growth curves into docs/images
    #[arg(long, conflicts_with = "smoke")]
    plots: bool,
    /// How to build: dev or release [default: release; with --smoke dev]
    #[arg(long)]
    profile: Option<String>,
    /// Uses the programs that were built before
    #[arg(long)]
    no_build: bool,
    /// Interleaved runs of each figure
    #[arg(long)]
    rounds: Option<usize>,
    /// Only these numbers of agents, such as 100,1000
    #[arg(long, value_name = "COUNTS")]
    agents: Option<String>,
}

/// What can be done with the files that `--json` wrote.
#[derive(Debug, clap::Subcommand)]
enum Earlier {
    /// Prints the figures of earlier runs as Markdown
    Table(Files),
    /// Draws the growth curves of earlier runs into docs/images
    Plot(Files),
    /// Puts the figures and curves of earlier runs into docs/performance.md and docs/images
    Publish(Files),
}

#[derive(Debug, clap::Args)]
struct Files {
    /// What `--json` wrote
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Options {
    fn profile(&self) -> &str {
        let usual = if self.smoke { "dev" } else { "release" };
        self.profile.as_deref().unwrap_or(usual)
    }

    fn folder(&self) -> PathBuf {
        let name = if self.profile() == "dev" { "debug" } else { self.profile() };
        workspace::target().join(name)
    }
}

/// Goes through all scenarios at the smallest sizes, with programs that are built already. It fails
/// when the harness is broken, never because a machine is slow.
pub(crate) fn smoke() -> Result<()> {
    run(&Options { smoke: true, no_build: true, ..Options::default() })
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(earlier) = &options.earlier {
        return show(earlier);
    }
    if !options.all && !options.smoke && options.scenarios.is_empty() {
        anyhow::bail!("name what to measure, or all of it with --all; --smoke proves the harness");
    }
    let restic = tools::restic::installed()?.program;
    if !options.no_build {
        build(options)?;
    }
    let mut bench = command::in_root(options.folder().join("holdfast-bench"));
    bench.arg("run").args(&options.scenarios);
    bench.arg("--programs").arg(options.folder()).args(["--profile", options.profile()]);
    bench.arg("--restic").arg(restic);
    if options.smoke {
        bench.arg("--smoke");
    }
    if let Some(file) = &options.json {
        bench.arg("--json").arg(std::path::absolute(file)?);
    }
    if options.plots {
        bench.arg("--plots").arg(workspace::root().join("docs/images"));
    }
    if let Some(rounds) = options.rounds {
        bench.arg("--rounds").arg(rounds.to_string());
    }
    if let Some(agents) = &options.agents {
        bench.arg("--agents").arg(agents);
    }
    command::run(&mut bench)
}

/// Nothing is measured, so it does not matter how it is built.
fn show(earlier: &Earlier) -> Result<()> {
    let (word, files) = match earlier {
        Earlier::Table(files) => ("table", files),
        Earlier::Plot(files) => ("plot", files),
        Earlier::Publish(files) => ("publish", files),
    };
    let built = ["release", "debug"].map(|folder| workspace::target().join(folder));
    let mut built = built.into_iter().map(|folder| folder.join("holdfast-bench"));
    let program = match built.find(|program| program.exists()) {
        Some(program) => program,
        None => {
            let dev = Options { smoke: true, ..Options::default() };
            build(&dev)?;
            dev.folder().join("holdfast-bench")
        }
    };
    let mut bench = command::in_root(program);
    bench.arg(word).arg("--docs").arg(workspace::root().join("docs"));
    for file in &files.files {
        bench.arg(std::path::absolute(file)?);
    }
    command::run(&mut bench)
}

/// Always the whole workspace's programs: for a part of it cargo would build the dependencies once
/// more.
fn build(options: &Options) -> Result<()> {
    println!("building the programs, profile {}", options.profile());
    let build = ["build", "--workspace", "--bins", "--quiet", "--profile", options.profile()];
    command::run(command::cargo().args(build))
}
