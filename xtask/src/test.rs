//! `cargo xtask test`: everything a change must pass, in the order in which it fails fastest.

mod steps;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use steps::Step;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leaves out the tests with real programs end to end and with a real browser
    #[arg(long)]
    quick: bool,
    /// Goes on after a step that failed, to see all that is wrong
    #[arg(long)]
    keep_going: bool,
}

/// Runs every step, by default until one fails, then prints what ran, how long it took, and how it
/// ended.
pub(crate) fn run(options: &Options) -> Result<()> {
    let steps = steps::all(options.quick);
    let report = Report::of(&steps, options.keep_going);
    report.print();
    match report.failure() {
        Some((step, error)) => bail!("{step}: {error:#}"),
        None => Ok(()),
    }
}

/// How each step ended.
struct Report {
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    outcome: Outcome,
}

enum Outcome {
    Passed(Duration),
    Failed(Duration, anyhow::Error),
    NotRun,
}

impl Report {
    fn of(steps: &[Step], keep_going: bool) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for step in steps {
            let failed = rows.iter().any(|row| !matches!(row.outcome, Outcome::Passed(_)));
            let outcome = if failed && !keep_going { Outcome::NotRun } else { take(step) };
            rows.push(Row { name: step.name, outcome });
        }
        Self { rows }
    }

    fn failure(self) -> Option<(&'static str, anyhow::Error)> {
        self.rows.into_iter().find_map(|row| match row.outcome {
            Outcome::Failed(_, error) => Some((row.name, error)),
            Outcome::Passed(_) | Outcome::NotRun => None,
        })
    }

    fn print(&self) {
        println!("\n{:<14} {:<8} {:>8}", "step", "result", "time");
        for row in &self.rows {
            println!("{}", row.line());
        }
        println!("{:<14} {:<8} {:>8}", "in all", "", clock(self.total()));
    }

    fn total(&self) -> Duration {
        self.rows.iter().map(Row::took).sum()
    }
}

impl Row {
    fn line(&self) -> String {
        let result = match self.outcome {
            Outcome::Passed(_) => "passed",
            Outcome::Failed(..) => "FAILED",
            Outcome::NotRun => "not run",
        };
        format!("{:<14} {result:<8} {:>8}", self.name, clock(self.took()))
    }

    fn took(&self) -> Duration {
        match self.outcome {
            Outcome::Passed(took) | Outcome::Failed(took, _) => took,
            Outcome::NotRun => Duration::ZERO,
        }
    }
}

fn take(step: &Step) -> Outcome {
    println!("\n== {}: {}", step.name, step.what);
    let started = Instant::now();
    match (step.run)() {
        Ok(()) => Outcome::Passed(started.elapsed()),
        Err(error) => {
            eprintln!("{}: {error:#}", step.name);
            Outcome::Failed(started.elapsed(), error)
        }
    }
}

/// Minutes and seconds, as on a stopwatch.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &'static str, run: fn() -> Result<()>) -> Step {
        Step { name, what: "a test", run: Box::new(run) }
    }

    #[test]
    fn a_failed_step_stops_those_after_it() {
        let third = step("third", || panic!("must not run"));
        let steps = [step("first", || Ok(())), step("second", || bail!("broken")), third];
        let report = Report::of(&steps, false);
        let results: Vec<String> = report.rows.iter().map(Row::line).collect();
        assert!(results[0].contains("passed"), "{results:?}");
        assert!(results[1].contains("FAILED"), "{results:?}");
        assert!(results[2].contains("not run"), "{results:?}");
        assert_eq!(report.failure().unwrap().0, "second");
    }

    #[test]
    fn whoever_keeps_going_sees_every_failure_and_still_fails() {
        let steps = [step("first", || bail!("broken")), step("second", || Ok(()))];
        let report = Report::of(&steps, true);
        assert!(report.rows[1].line().contains("passed"));
        assert_eq!(report.failure().unwrap().0, "first");
    }

    #[test]
    fn times_read_as_on_a_stopwatch() {
        assert_eq!(clock(Duration::from_secs(65)), "1:05");
        assert_eq!(clock(Duration::from_millis(900)), "0:00");
    }
}
