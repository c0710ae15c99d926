//! The driver: one scenario after the other, and the report.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use holdfast_e2e::programs::Programs;

use crate::{
    machine::Machine,
    measure::Measurement,
    plot,
    report::Report,
    scenario::{self, Scenario},
};

/// Descriptors that a process with many sockets needs for other things.
const SPARE_FILES: u64 = 500;

/// What to measure and how.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Scenarios; none means all
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// The folder with the programs under test
    #[arg(long)]
    programs: PathBuf,
    /// How they were built, for the report
    #[arg(long)]
    profile: String,
    /// Writes all figures there, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws growth curves into this folder
    #[arg(long)]
    plots: Option<PathBuf>,
    /// The smallest sizes, once: proves that the harness works, measures nothing
    #[arg(long)]
    smoke: bool,
    /// Interleaved runs of each figure
    #[arg(long)]
    rounds: Option<usize>,
    /// Only these numbers of agents, such as 100,1000
    #[arg(long, value_delimiter = ',')]
    agents: Vec<usize>,
    /// The restic to back up with; without one `overhead` is left out
    #[arg(long)]
    restic: Option<PathBuf>,
}

/// A run: what it is told, and what it has found out.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    pub(crate) smoke: bool,
    pub(crate) restic: Option<PathBuf>,
    options: Options,
    figures: Vec<Measurement>,
    remarks: Vec<String>,
}

/// Runs until done or interrupted; whatever was started has ended then.
pub(crate) async fn run(options: Options) -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        done = measure(options) => done,
        _ = tokio::signal::ctrl_c() => bail!("stopped on request"),
        _ = terminate.recv() => bail!("stopped on request"),
    }
}

async fn measure(options: Options) -> Result<()> {
    let programs = Programs::in_folder(&options.programs)?;
    let started = Instant::now();
    let machine = Machine::look(&options.profile).await;
    let scenarios = match options.scenarios.as_slice() {
        // A broken scenario is found by the smoke run, whatever else leaves it out.
        [] if options.smoke => scenario::ALL.into_iter().chain([Scenario::Endure]).collect(),
        [] => scenario::ALL.to_vec(),
        some => some.to_vec(),
    };
    let mut bench = Bench::new(programs, options);
    let mut broken = Vec::new();
    for scenario in scenarios {
        if let Err(error) = bench.take(scenario).await {
            eprintln!("{}: {error:#}", scenario.name());
            bench.remark(format!("{} ended early: {error:#}", scenario.name()));
            broken.push(scenario.name());
        }
    }
    let quiet = machine.is_quiet() && Machine::look(&bench.options.profile).await.is_quiet();
    let seconds = started.elapsed().as_secs_f64();
    let report = Report::new(machine, quiet, seconds, bench.figures, bench.remarks);
    publish(&report, &bench.options)?;
    if !broken.is_empty() {
        bail!("not measured to the end: {}", broken.join(", "));
    }
    Ok(())
}

fn publish(report: &Report, options: &Options) -> Result<()> {
    println!("\n{}", report.table());
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(report).context("a report without JSON")?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(folder) = &options.plots {
        let names = plot::write_all(report, folder)?;
        println!("plots in {}: {}", folder.display(), names.join(", "));
    }
    Ok(())
}

impl Bench {
    fn new(programs: Programs, options: Options) -> Self {
        let (smoke, restic) = (options.smoke, options.restic.clone());
        Self { programs, smoke, restic, options, figures: Vec::new(), remarks: Vec::new() }
    }

    async fn take(&mut self, scenario: Scenario) -> Result<()> {
        eprintln!("== {}: {}", scenario.name(), scenario.what());
        let started = Instant::now();
        scenario.run(self).await?;
        eprintln!("   {:.1} s", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// `small` in a smoke run, else `full`.
    pub(crate) fn pick<T>(&self, full: T, small: T) -> T {
        if self.smoke { small } else { full }
    }

    /// How many agents at each step; never more than there are descriptors for.
    pub(crate) fn agent_steps(&mut self) -> Vec<usize> {
        let wanted = match (self.options.agents.is_empty(), self.smoke) {
            (false, _) => self.options.agents.clone(),
            (true, true) => vec![40],
            (true, false) => vec![100, 1_000, 10_000],
        };
        let room = self.room();
        let mut steps: Vec<usize> = wanted.iter().map(|count| (*count).min(room)).collect();
        steps.dedup();
        if steps.iter().max() != wanted.iter().max() {
            self.remark(format!("the limit of open files lowers the largest fleet to {room}"));
        }
        steps
    }

    fn room(&self) -> usize {
        let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
        let files = limit.map_or(1024, |(soft, _)| soft);
        usize::try_from(files.saturating_sub(SPARE_FILES)).unwrap_or(usize::MAX).max(10)
    }

    /// Interleaved runs at a step of `count`; the largest steps take long enough.
    pub(crate) fn rounds(&self, count: usize) -> usize {
        let usual = if count >= 10_000 { 2 } else { 5 };
        self.options.rounds.unwrap_or(self.pick(usual, 1)).max(1)
    }

    pub(crate) fn figure(&mut self, figure: Measurement) {
        eprintln!(
            "   {} {}: {} = {} {}",
            figure.step.count,
            figure.step.of,
            figure.metric,
            crate::report::number(figure.median()),
            figure.unit
        );
        self.figures.push(figure);
    }

    pub(crate) fn remark(&mut self, remark: impl Into<String>) {
        let remark = remark.into();
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    pub(crate) fn remarks(&mut self, remarks: Vec<String>) {
        remarks.into_iter().for_each(|remark| self.remark(remark));
    }

    /// A folder on the disk that the programs under test use too.
    pub(crate) fn scratch() -> Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("holdfast-bench-").tempdir().context("no room")
    }

    /// The folder of the programs under test.
    pub(crate) fn agent_program(&self) -> &Path {
        &self.programs.agent
    }
}
