//! The programs that the tests and the demo stand on: restic (the machine's and newer ones), Node,
//! a Chromium.
//!
//! What is missing is installed from the system's own package manager when we are root; else the
//! error holds the one command to type.

pub(crate) mod chromium;
mod debian;
pub(crate) mod node;
mod package;
pub(crate) mod restic;

use anyhow::Result;

/// Finds or gets every tool and says what there is.
pub(crate) fn run() -> Result<()> {
    for restic in restic::all()? {
        println!("restic    {:<10} {}", restic.version, restic.program.display());
    }
    println!("chromium  {}", chromium::find_or_install()?.display());
    println!("node      {}", node::require()?);
    Ok(())
}
