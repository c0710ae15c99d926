//! The programs that the tests and the demo stand on: restic (the machine's and newer ones), Node,
//! a Chromium, a rest-server, databases.
//!
//! What is missing is installed from the system's own package manager when we are root; else the
//! error holds the one command to type.

pub(crate) mod chromium;
pub(crate) mod database;
mod debian;
pub(crate) mod node;
mod package;
pub(crate) mod promtool;
pub(crate) mod rest_server;
pub(crate) mod restic;

use std::path::PathBuf;

use anyhow::Result;

/// Finds or gets every tool and says what there is.
pub(crate) fn run() -> Result<()> {
    for restic in restic::all()? {
        println!("restic      {:<10} {}", restic.version, restic.program.display());
    }
    for (name, found) in more() {
        println!("{name:<11} {}", found.map_or("none".into(), |found| found.display().to_string()));
    }
    println!("chromium    {}", chromium::find_or_install()?.display());
    println!("node        {}", node::require()?);
    match promtool::find_or_fetch() {
        Ok(program) => println!("promtool    {}", program.display()),
        Err(error) => println!("promtool    cannot be had: {error:#}"),
    }
    Ok(())
}

/// What some tests stand on and go without where it cannot be had.
fn more() -> [(&'static str, Option<PathBuf>); 3] {
    [
        ("rest-server", rest_server::find_or_fetch()),
        ("postgresql", database::postgresql()),
        ("sqlite3", database::sqlite()),
    ]
}
