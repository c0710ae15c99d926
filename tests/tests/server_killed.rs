//! A server that dies in mid-backup.

use std::time::Duration;

use anyhow::{Result, ensure};
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use holdfast_e2e::wait;

/// The longest an agent waits before it dials again, and then some.
const RETURN_LIMIT: Duration = Duration::from_secs(90);

#[test]
fn a_killed_server_loses_neither_the_jobs_end_nor_the_snapshot() -> Result<()> {
    let (mut stage, _slow) = Stage::with_slow_host(10)?;
    let operator = stage.fleet.operator.clone();
    let job = operator.run(HOST, GROUP)?;
    operator.await_progress(&job, BACKUP_LIMIT)?;

    stage.fleet.server.kill()?;
    let repository = stage.fleet.repository();
    wait::until("the backup to end without a server", BACKUP_LIMIT, || {
        Ok((!repository.snapshots()?.is_empty()).then_some(()))
    })?;
    stage.fleet.server.restart()?;

    let end = operator.await_end(&job, RETURN_LIMIT)?;
    ensure!(end["status"] == "succeeded", "{end}");
    let snapshot = stage.confirmed_snapshot(&end)?;
    wait::until("the server to list the snapshot", RETURN_LIMIT, || {
        let answer = operator.json(&["snapshots", HOST])?;
        Ok((answer["snapshots"][0]["id"] == snapshot.as_str()).then_some(()))
    })?;
    stage.fleet.stop()
}

#[test]
fn a_server_killed_and_back_in_mid_backup_sees_it_go_on() -> Result<()> {
    let (mut stage, _slow) = Stage::with_slow_host(30)?;
    let operator = stage.fleet.operator.clone();
    let job = operator.run(HOST, GROUP)?;
    operator.await_progress(&job, BACKUP_LIMIT)?;

    stage.fleet.server.kill()?;
    stage.fleet.server.restart()?;
    operator.await_host(HOST, "online", RETURN_LIMIT)?;

    let end = operator.await_end(&job, BACKUP_LIMIT)?;
    ensure!(end["status"] == "succeeded", "{end}");
    ensure!(end["attempt"] == 1, "it was run again: {end}");
    stage.confirmed_snapshot(&end)?;
    ensure!(stage.fleet.repository().snapshots()?.len() == 1, "it was run twice");
    stage.fleet.stop()
}
