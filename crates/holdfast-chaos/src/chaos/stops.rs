//! Processes that are asked to go.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_e2e::{
    data,
    fleet::Fleet,
    programs,
    slow_restic::{BYTES_PER_SECOND, SlowRestic},
    stage::{BACKUP_LIMIT, GROUP, HOST},
    wait,
};

use super::not_run;
use crate::stand::{BACK_LIMIT, Bench, Stand};

/// How long a server may take to go.
const SERVER_STOP_MAX: Duration = Duration::from_secs(5);
/// How long an order may take to its end while servers come and go.
const ORDER_MAX: Duration = Duration::from_secs(10);

/// F10: the server is asked to stop while jobs run.
pub(super) fn server_stopped(bench: &Bench) -> Result<String> {
    let mut stand = Stand::with_agents(bench, 2)?;
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        for job in 0..8 {
            stand.order_patiently(&format!("host-{}", job % 2))?;
        }
        let asked = Instant::now();
        stand.fleet.server.stop()?;
        slowest = slowest.max(asked.elapsed());
        stand.fleet.server.restart()?;
        stand.await_state("host-0", "online", BACK_LIMIT)?;
        stand.await_state("host-1", "online", BACK_LIMIT)?;
    }
    ensure!(slowest <= SERVER_STOP_MAX, "it took {:.1} s to stop", slowest.as_secs_f64());
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!("gone within {:.1} s, three times, {judged}", slowest.as_secs_f64()))
}

/// F11: the agent is asked to stop in mid-backup, with real restic.
pub(super) fn agent_stopped(bench: &Bench) -> Result<String> {
    let Ok(restic) = programs::restic() else {
        return not_run("there is no restic here; cargo xtask tools gets one");
    };
    let folder = tempfile::tempdir()?;
    let slow = SlowRestic::new(&restic, folder.path())?;
    let mut fleet = Fleet::start(&bench.programs, slow.program(), folder.path())?;
    fleet.add_host(HOST)?;
    let source = folder.path().join("source");
    std::fs::create_dir(&source)?;
    data::random_file(&source.join("big.dat"), 20 * BYTES_PER_SECOND, 1)?;
    fleet.add_group(HOST, GROUP, &[&source], &[])?;
    let operator = fleet.operator.clone();
    let job = operator.run(HOST, GROUP)?;
    operator.await_progress(&job, BACKUP_LIMIT)?;
    let asked = Instant::now();
    fleet.agents[0].stop()?;
    let took = asked.elapsed();
    ensure!(fleet.repository().locks()?.is_empty(), "a lock was left behind");
    slow.release_brake()?;
    fleet.agents[0].start()?;
    let end = operator.await_end(&job, BACKUP_LIMIT)?;
    ensure!(end["status"] == "interrupted", "{end}");
    let next = operator.run(HOST, GROUP)?;
    let end = operator.await_end(&next, BACKUP_LIMIT)?;
    ensure!(end["status"] == "succeeded", "{end}");
    fleet.stop()?;
    Ok(format!(
        "real restic: gone after {:.1} s, no lock left, the job is interrupted and the next one \
         succeeds",
        took.as_secs_f64()
    ))
}

/// F12, with one node: more are not there yet.
pub(super) fn rolling_restart(bench: &Bench) -> Result<String> {
    const RESTARTS: u32 = 3;
    let mut stand = Stand::with_agents(bench, 1)?;
    let mut times = Vec::new();
    for _ in 0..RESTARTS {
        let round = Instant::now();
        stand.fleet.server.stop()?;
        stand.fleet.server.restart()?;
        while round.elapsed() < Duration::from_secs(20) {
            let ordered = Instant::now();
            let job = stand.order_patiently("host-0")?;
            stand.await_end(&job, BACK_LIMIT)?;
            times.push(ordered.elapsed());
            wait::pause(Duration::from_millis(500));
        }
    }
    let slowest = times.iter().max().copied().unwrap_or_default();
    ensure!(slowest <= ORDER_MAX, "an order took {:.1} s", slowest.as_secs_f64());
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!(
        "scaled to one node, {RESTARTS} restarts: the slowest of {} orders took {:.1} s, {judged}",
        times.len(),
        slowest.as_secs_f64()
    ))
}
