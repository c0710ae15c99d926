//! Hosts that share a repository, for some seconds; `cargo xtask race` runs for minutes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holdfast_e2e::programs::{self, Programs};
use holdfast_e2e::race::Race;

#[test]
fn hosts_that_share_a_repository_never_end_a_job_at_a_lock() -> Result<()> {
    let restics = programs::restics()?;
    let newest = restics.last().context("there is no restic")?.clone();
    let folder = tempfile::tempdir()?;
    let race = Race {
        programs: Programs::beside_this_test()?,
        restics: [programs::restic()?, newest],
        length: Duration::from_secs(15),
    };
    let tally = race.run(folder.path(), &|| false)?;
    ensure!(tally.succeeded("backup") >= 2, "nobody backed up:\n{tally}");
    ensure!(tally.succeeded("forget") >= 1, "nobody forgot:\n{tally}");
    Ok(())
}
