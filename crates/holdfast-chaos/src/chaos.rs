//! The fault catalogue as runnable checks.
//!
//! Each fault has a number (`F13`), a name and a check, which puts real programs into the fault and
//! judges what came of it. A check says what it measured when the fault was survived, what broke
//! when it was not, and plainly that it was not run where the fault cannot be made.

mod catalogue;
mod crashes;
mod freezes;
mod hostile;
mod identity;
mod limits;
mod network;
mod power_cuts;
mod report;
mod slow;
mod stops;
mod stream;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use catalogue::{CATALOGUE, Fault, Pace};
use report::{Outcome, Row};

pub use crate::stand::Bench;

/// Which faults.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Faults by number, such as F13
    faults: Vec<String>,
    /// Shows what there is
    #[arg(long)]
    list: bool,
    /// Checks the whole catalogue
    #[arg(long, conflicts_with = "faults")]
    all: bool,
    /// Also writes the results into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Checks what was asked for and prints a line for each. Fails when a fault was not survived; what
/// could not be run does not count as either.
///
/// # Errors
/// When a fault is not in the catalogue, or the programs are missing.
pub fn run(options: &Options, bench: impl FnOnce() -> Result<Bench>) -> Result<ExitCode> {
    if options.list {
        CATALOGUE.iter().for_each(|fault| println!("{} {}", fault.id, fault.name));
        return Ok(ExitCode::SUCCESS);
    }
    let rows = check(&bench()?, &chosen(options)?, |row| println!("{row}"));
    let failed = rows.iter().filter(|row| row.is_failure()).count();
    println!("{}", report::summary(&rows));
    if let Some(file) = &options.json {
        let text = report::json(&rows).to_string();
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(options: &Options) -> Result<Vec<&'static Fault>> {
    if options.all {
        return Ok(CATALOGUE.iter().collect());
    }
    if options.faults.is_empty() {
        bail!("name some faults, or --all; --list shows them");
    }
    options.faults.iter().map(|id| find(id)).collect()
}

fn find(id: &str) -> Result<&'static Fault> {
    let found = CATALOGUE.iter().find(|fault| fault.id.eq_ignore_ascii_case(id));
    found.with_context(|| format!("{id} is not in the catalogue; --list shows what is"))
}

/// Checks one fault, for a test: the sentence when it was survived.
///
/// # Errors
/// When it was not survived, or could not be made.
pub fn survive(bench: &Bench, id: &str) -> Result<String> {
    (find(id)?.check)(bench)
}

/// Runs checks: those that mostly wait all at once, and beside them the busy ones one at a time.
fn check(bench: &Bench, faults: &[&'static Fault], tell: impl Fn(&Row)) -> Vec<Row> {
    let (waiting, busy): (Vec<_>, Vec<_>) =
        faults.iter().copied().partition(|fault| fault.pace == Pace::Waiting);
    let busy = Mutex::new(busy.into_iter());
    let (done, rows) = mpsc::channel();
    thread::scope(|scope| {
        for (place, fault) in waiting.into_iter().enumerate() {
            let done = done.clone();
            scope.spawn(move || {
                // All at once would measure how fast the machine starts programs.
                thread::park_timeout(Duration::from_secs(place as u64));
                send(&done, check_one(bench, fault));
            });
        }
        let (busy, done) = (&busy, done);
        scope.spawn(move || {
            while let Some(fault) = next(busy) {
                send(&done, check_one(bench, fault));
            }
        });
        let mut rows: Vec<Row> = rows.iter().inspect(&tell).collect();
        rows.sort_by_key(|row| row.id);
        rows
    })
}

fn next(busy: &Mutex<std::vec::IntoIter<&'static Fault>>) -> Option<&'static Fault> {
    busy.lock().unwrap_or_else(PoisonError::into_inner).next()
}

fn send(done: &mpsc::Sender<Row>, row: Row) {
    // The receiver outlives all senders.
    let _ = done.send(row);
}

fn check_one(bench: &Bench, fault: &'static Fault) -> Row {
    let started = Instant::now();
    let checked = (fault.check)(bench);
    let outcome = match checked {
        Ok(said) => Outcome::Survived(said),
        Err(error) => match error.downcast::<NotRun>() {
            Ok(NotRun(why)) => Outcome::NotRun(why),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        },
    };
    Row { id: fault.id, name: fault.name, outcome, took: started.elapsed() }
}

/// The fault cannot be made here.
#[derive(Debug)]
struct NotRun(String);

impl std::fmt::Display for NotRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not run: {}", self.0)
    }
}

impl std::error::Error for NotRun {}

fn not_run<T>(why: &str) -> Result<T> {
    Err(NotRun(why.to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_whole_and_in_order() {
        let ids: Vec<&str> = CATALOGUE.iter().map(|fault| fault.id).collect();
        let numbers = (1..=29).chain([40]).chain(44..=48);
        assert_eq!(ids, numbers.map(|number| format!("F{number:02}")).collect::<Vec<_>>());
    }

    #[test]
    fn an_unknown_fault_is_named() {
        assert_eq!(find("f13").unwrap().id, "F13");
        assert!(find("F99").is_err_and(|error| error.to_string().starts_with("F99 is not")));
    }
}
