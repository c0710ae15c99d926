//! An agent that dies in mid-backup.

use std::time::Duration;

use anyhow::{Result, ensure};
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};

/// How soon everybody must know that a host is gone whose agent was killed: its connection closes,
/// and nobody waits for the 50 seconds after which silence is taken for death.
const NOTICE_LIMIT: Duration = Duration::from_secs(15);

#[test]
fn a_killed_agent_is_seen_at_once_and_its_job_does_not_block_the_next() -> Result<()> {
    let (mut stage, slow) = Stage::with_slow_host(20)?;
    let operator = stage.fleet.operator.clone();
    let job = operator.run(HOST, GROUP)?;
    operator.await_progress(&job, BACKUP_LIMIT)?;

    stage.fleet.agents[0].kill()?;
    operator.await_host(HOST, "offline", NOTICE_LIMIT)?;
    let meanwhile = operator.job(&job)?;
    ensure!(meanwhile["status"] == "running", "nobody can know its end yet: {meanwhile}");

    slow.release_brake()?;
    stage.fleet.agents[0].start()?;
    let end = operator.await_end(&job, BACKUP_LIMIT)?;
    ensure!(end["status"] == "interrupted", "{end}");
    ensure!(end["error"]["code"] == "agent_stopped", "{end}");
    ensure!(!end["error"]["action"].as_str().unwrap_or_default().is_empty(), "{end}");

    let snapshot = stage.back_up()?;
    ensure!(stage.fleet.repository().locks()?.is_empty(), "a lock was left behind");
    let big = stage.source()?.join("big.dat");
    ensure!(stage.fleet.repository().restores_same(&snapshot, &big)?, "it came back different");
    stage.fleet.stop()
}

#[test]
fn a_stopped_agent_ends_its_backup_and_leaves_no_lock() -> Result<()> {
    let (mut stage, slow) = Stage::with_slow_host(20)?;
    let operator = stage.fleet.operator.clone();
    let job = operator.run(HOST, GROUP)?;
    operator.await_progress(&job, BACKUP_LIMIT)?;

    stage.fleet.agents[0].stop()?;
    ensure!(stage.fleet.repository().locks()?.is_empty(), "a lock was left behind");

    slow.release_brake()?;
    stage.fleet.agents[0].start()?;
    let end = operator.await_end(&job, BACKUP_LIMIT)?;
    ensure!(end["status"] == "interrupted", "{end}");
    stage.back_up().map(drop)
}
