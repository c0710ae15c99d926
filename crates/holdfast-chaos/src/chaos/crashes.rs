//! Processes that die.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::wait;
use holdfast_link::crash;

use crate::{
    fault_proxy::{Cut, Welcome},
    peer::{Entries, FIRST},
    stand::{BACK_LIMIT, Bench, LIMIT, Stand, waiting},
};

/// F01: the server dies while jobs are ordered, accepted and reported.
pub(super) fn server_killed(bench: &Bench) -> Result<String> {
    const ROUNDS: usize = 4;
    let mut stand = Stand::with_agents(bench, 3)?;
    let mut slowest = Duration::ZERO;
    for round in 0..ROUNDS {
        for job in 0..9 {
            stand.order_patiently(&format!("host-{}", job % 3))?;
        }
        // At another moment of the jobs' lives in each round.
        wait::pause(Duration::from_millis(150 * round as u64));
        stand.fleet.server.kill()?;
        stand.fleet.server.restart()?;
        for host in 0..3 {
            let back = stand.await_state(&format!("host-{host}"), "online", BACK_LIMIT)?;
            slowest = slowest.max(back);
        }
    }
    ensure!(slowest <= Duration::from_secs(60), "an agent was away for {} s", slowest.as_secs());
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!(
        "{ROUNDS} kills, 3 agents, all back within {:.1} s, {judged}",
        slowest.as_secs_f64()
    ))
}

/// F02: the agent dies while results wait for a server that is away.
pub(super) fn agent_killed(bench: &Bench) -> Result<String> {
    const ROUNDS: usize = 6;
    let mut stand = Stand::with_agents(bench, 1)?;
    let mut slowest = Duration::ZERO;
    for round in 0..ROUNDS {
        stand.stub.brake()?;
        let jobs = [stand.order("host-0")?, stand.order("host-0")?];
        stand.await_call(&jobs[0])?;
        stand.proxy.welcome(Welcome::Refuse)?;
        stand.proxy.cut(Cut::Rst);
        stand.stub.release()?;
        // Some results are stored by now, some are about to be.
        wait::pause(Duration::from_millis(200 * round as u64));
        stand.fleet.agents[0].kill()?;
        stand.proxy.welcome(Welcome::Carry)?;
        let started = Instant::now();
        stand.fleet.agents[0].start()?;
        stand.await_state("host-0", "online", LIMIT)?;
        slowest = slowest.max(started.elapsed());
        for job in &jobs {
            stand.await_end(job, BACK_LIMIT)?;
        }
    }
    ensure!(slowest <= Duration::from_secs(5), "a start took {:.1} s", slowest.as_secs_f64());
    // A job whose process was cut off cannot have succeeded, and says so.
    let judged = stand.judge(&["succeeded", "interrupted"])?;
    Ok(format!(
        "{ROUNDS} rounds (200 in the catalogue), start to welcome in {:.1} s at most, {judged}",
        slowest.as_secs_f64()
    ))
}

/// F03: both die at once.
pub(super) fn both_killed(bench: &Bench) -> Result<String> {
    const ROUNDS: usize = 4;
    let mut stand = Stand::with_agents(bench, 1)?;
    for round in 0..ROUNDS {
        for _ in 0..4 {
            stand.order_patiently("host-0")?;
        }
        wait::pause(Duration::from_millis(150 * round as u64));
        stand.fleet.server.kill()?;
        stand.fleet.agents[0].kill()?;
        stand.fleet.server.restart()?;
        stand.fleet.agents[0].start()?;
        stand.await_state("host-0", "online", BACK_LIMIT)?;
    }
    let judged = stand.judge(&["succeeded", "interrupted"])?;
    Ok(format!("{ROUNDS} rounds, {judged}"))
}

/// Where the agent is made to die, in the order in which a job passes there.
const AGENT_POINTS: [&str; 14] = [
    "counting this start before the commit",
    "counting this start after the commit",
    "applying the server's records before the commit",
    "applying the server's records after the commit",
    "records: applied, not acknowledged",
    "noting the intent to start a job before the commit",
    "noting the intent to start a job after the commit",
    "noting a job's process before the commit",
    "noting a job's process after the commit",
    "storing a job's result before the commit",
    "storing a job's result after the commit",
    "records: durable, not sent",
    "records: acknowledged, not forgotten",
    "forgetting delivered records after the commit",
];

/// The same for the server.
const SERVER_POINTS: [&str; 7] = [
    "opening a session before the commit",
    "opening a session after the commit",
    "records: durable, not sent",
    "records: acknowledged, not forgotten",
    "applying records before the commit",
    "applying records after the commit",
    "records: applied, not acknowledged",
];

/// F04: each side dies at every named point, and a job goes through all the same.
pub(super) fn crash_points(bench: &Bench) -> Result<String> {
    let mut stand = Stand::with_agents(bench, 1)?;
    for point in AGENT_POINTS {
        agent_dies_at(&mut stand, point).with_context(|| format!("the agent at {point:?}"))?;
    }
    for point in SERVER_POINTS {
        server_dies_at(&mut stand, point).with_context(|| format!("the server at {point:?}"))?;
    }
    // A job whose process was cut off cannot have succeeded, and says so.
    let judged = stand.judge(&["succeeded", "interrupted"])?;
    let (agent, server) = (AGENT_POINTS.len(), SERVER_POINTS.len());
    Ok(format!("died at {agent} points of the agent and {server} of the server, {judged}"))
}

fn agent_dies_at(stand: &mut Stand, point: &str) -> Result<()> {
    stand.fleet.agents[0].stop()?;
    let job = stand.order("host-0")?;
    stand.fleet.agents[0].start_with(crash::VARIABLE, point)?;
    wait::until("the agent to die there", LIMIT, || {
        Ok((!stand.fleet.agents[0].is_running()?).then_some(()))
    })?;
    stand.fleet.agents[0].start()?;
    stand.await_end(&job, BACK_LIMIT).map(drop)
}

fn server_dies_at(stand: &mut Stand, point: &str) -> Result<()> {
    stand.fleet.agents[0].stop()?;
    let job = stand.order("host-0")?;
    stand.fleet.server.stop()?;
    stand.fleet.server.restart_with(crash::VARIABLE, point)?;
    stand.fleet.agents[0].start()?;
    wait::until("the server to die there", LIMIT, || {
        Ok((!stand.fleet.server.is_running()?).then_some(()))
    })?;
    stand.fleet.server.restart()?;
    stand.await_end(&job, BACK_LIMIT).map(drop)
}

/// F05: the agent dies again and again while a large outbox goes to the server.
pub(super) fn replay_killed(bench: &Bench) -> Result<String> {
    const RECORDS: u64 = 10_000;
    const KILL_EACH: u64 = 500;
    let stand = Stand::new(bench)?;
    let data = stand.enrol_peer("replay", stand.fleet.server.url())?;
    let messages = RECORDS.to_string();
    let fill = ["--offline", "--batch", "200", "--messages", &messages];
    stand.peer(&data, &fill)?.wait(LIMIT)?;
    let mut database = stand.database()?;
    database.witness()?;
    let host = database.host_id("replay")?;
    let started = Instant::now();
    let mut kills = 0;
    loop {
        let mut peer = stand.peer(&data, &["--messages", &messages])?;
        let mark = (kills + 1) * KILL_EACH;
        wait::until("the outbox to drain", LIMIT, || {
            Ok((database.received(&host)? >= mark.min(RECORDS)).then_some(()))
        })?;
        if mark >= RECORDS {
            // The one before may have delivered all of it: this one must have come to its senses,
            // and heard so, before it is asked to go.
            stand.fleet.operator.await_host("replay", "online", LIMIT)?;
            peer.stop(LIMIT)?;
            break;
        }
        peer.kill()?;
        kills += 1;
    }
    let took = started.elapsed();
    let applied: Vec<i64> = database.witnessed(&host, "config")?.iter().map(|row| row.0).collect();
    let applied: Vec<i64> = applied.into_iter().filter(|value| *value >= FIRST).collect();
    let expected: Vec<i64> = (FIRST..FIRST + i64::try_from(RECORDS)?).collect();
    ensure!(applied == expected, "{} records were applied of {RECORDS}", applied.len());
    let left = waiting(&data.join("state.redb"))?;
    ensure!(left == 0, "{left} records are left");
    ensure!(!Entries::read(&data)?.done.is_empty(), "the ledger is empty");
    let rate = f64::from(u32::try_from(RECORDS)?) / took.as_secs_f64();
    Ok(format!("{RECORDS} records over {kills} kills, each once and in order, {rate:.0} a second"))
}
