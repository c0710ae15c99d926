//! A person changes their mind about a running backup.

use std::time::Duration;

use anyhow::{Result, ensure};
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use holdfast_e2e::{process, wait};

/// How long restic may take to stop: it is asked first, and killed after 20 s.
const CANCEL_LIMIT: Duration = Duration::from_secs(40);

/// How soon a pause is seen.
const PAUSE_LIMIT: Duration = Duration::from_secs(15);

#[test]
fn a_cancelled_backup_ends_and_leaves_no_lock() -> Result<()> {
    let (mut stage, slow) = Stage::with_slow_host(40)?;
    let operator = stage.fleet.operator.clone();
    let job = operator.run(HOST, GROUP)?;
    operator.await_progress(&job, BACKUP_LIMIT)?;

    operator.json(&["cancel", &job])?;
    let end = operator.await_end(&job, CANCEL_LIMIT)?;
    ensure!(end["status"] == "cancelled", "{end}");
    ensure!(stage.fleet.repository().locks()?.is_empty(), "a lock was left behind");
    ensure!(stage.fleet.repository().snapshots()?.is_empty(), "it was not cancelled at all");

    let again = operator.command(&["cancel", &job])?;
    ensure!(!again.status.success(), "an ended job cannot be cancelled");
    slow.release_brake()?;
    stage.back_up()?;
    stage.fleet.stop()
}

#[test]
fn a_paused_backup_stands_still_until_it_is_resumed() -> Result<()> {
    let (mut stage, _slow) = Stage::with_slow_host(15)?;
    let operator = stage.fleet.operator.clone();
    let job = operator.run(HOST, GROUP)?;
    operator.await_progress(&job, BACKUP_LIMIT)?;

    operator.json(&["pause", &job])?;
    wait::until("the pause", PAUSE_LIMIT, || {
        Ok((operator.job(&job)?["status"] == "paused").then_some(()))
    })?;
    ensure!(is_stopped(&stage), "restic goes on although the job is paused");
    operator.json(&["resume", &job])?;
    let end = operator.await_end(&job, BACKUP_LIMIT)?;
    ensure!(end["status"] == "succeeded", "{end}");
    stage.confirmed_snapshot(&end)?;
    stage.fleet.stop()
}

/// Whether a process of this stage stands still; only restic ever does.
fn is_stopped(stage: &Stage) -> bool {
    process::naming(stage.path()).into_iter().any(process::is_stopped)
}
