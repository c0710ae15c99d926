//! Processes that stand still, and do not know it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::{self, Signal};

use super::network::SILENCE_LIMIT;
use crate::stand::{BACK_LIMIT, Bench, LIMIT, Stand, last};

/// F06: the server stands still for 5, 45 and 90 seconds.
pub(super) fn server_frozen(bench: &Bench) -> Result<String> {
    let mut stand = Stand::with_agents(bench, 2)?;
    let mut told = Vec::new();
    for seconds in [5, 45, 90] {
        stand.order("host-0")?;
        let before = stand.sessions("host-0")?;
        stand.freeze(stand.server_pid()?, Duration::from_secs(seconds))?;
        let woken = Instant::now();
        for host in ["host-0", "host-1"] {
            stand.await_state(host, "online", BACK_LIMIT)?;
            let job = stand.order_patiently(host)?;
            stand.await_end(&job, BACK_LIMIT)?;
        }
        let sessions = stand.sessions("host-0")? - before;
        let back = woken.elapsed().as_secs_f64();
        told.push(format!("{seconds} s: {sessions} new sessions, jobs done {back:.1} s later"));
    }
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!("{}; {judged}", told.join("; ")))
}

/// F07: the agent stands still for 90 seconds while its restic works.
pub(super) fn agent_frozen(bench: &Bench) -> Result<String> {
    let mut stand = Stand::with_agents(bench, 1)?;
    stand.stub.brake()?;
    let job = stand.order("host-0")?;
    stand.await_call(&job)?;
    let pid = stand.agent_pid(0)?;
    let frozen = Instant::now();
    signal::kill(pid, Signal::SIGSTOP)?;
    let noticed = stand.await_state("host-0", "offline", SILENCE_LIMIT)?;
    ensure!(stand.api.job(&job)?["status"] == "running", "nobody can know that it has ended");
    last(Duration::from_secs(90).saturating_sub(frozen.elapsed()));
    signal::kill(pid, Signal::SIGCONT)?;
    stand.await_state("host-0", "online", BACK_LIMIT)?;
    stand.stub.release()?;
    let end = stand.await_end(&job, LIMIT)?;
    ensure!(end["status"] == "succeeded", "the same run should go on: {end}");
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!("seen as offline after {:.1} s, {judged}", noticed.as_secs_f64()))
}
