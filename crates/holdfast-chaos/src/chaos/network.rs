//! Networks that lie.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use holdfast_e2e::{slow_restic::write_program, wait};

use super::not_run;
use crate::{
    fault_proxy::{Cut, Direction, FaultProxy, Welcome},
    stand::{BACK_LIMIT, Bench, LIMIT, Stand, last},
};

/// How soon silence is noticed, the looking included.
pub(super) const SILENCE_LIMIT: Duration = Duration::from_secs(50);
/// A connection that ends in good order is noticed at once, on a busy machine.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// F13: nothing gets through any more, either way.
pub(super) fn half_open(bench: &Bench) -> Result<String> {
    let mut stand = Stand::with_agents(bench, 1)?;
    let since = Instant::now();
    stand.proxy.blackhole();
    let server = stand.await_state("host-0", "offline", SILENCE_LIMIT)?;
    let agent = await_left(&stand, since)?;
    stand.order("host-0")?;
    stand.proxy.heal();
    stand.await_state("host-0", "online", BACK_LIMIT)?;
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!(
        "noticed by the server in {:.1} s, by the agent in {:.1} s, {judged}",
        server.as_secs_f64(),
        agent.as_secs_f64()
    ))
}

/// F14: nothing gets through in one direction.
pub(super) fn one_way(bench: &Bench) -> Result<String> {
    let mut told = Vec::new();
    let mut stand = Stand::with_agents(bench, 1)?;
    for (direction, name) in
        [(Direction::ToServer, "to the server"), (Direction::ToAgent, "to the agent")]
    {
        stand.order("host-0")?;
        let since = Instant::now();
        stand.proxy.change(|faults| faults.flow_mut(direction).blackhole = true);
        let server = stand.await_state("host-0", "offline", SILENCE_LIMIT)?;
        let agent = await_left(&stand, since)?;
        stand.proxy.heal();
        stand.await_state("host-0", "online", BACK_LIMIT)?;
        let (server, agent) = (server.as_secs_f64(), agent.as_secs_f64());
        told.push(format!("{name}: server {server:.1} s, agent {agent:.1} s"));
    }
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!("{}; {judged}", told.join(", ")))
}

/// How long after `since` the agent closed its end.
fn await_left(stand: &Stand, since: Instant) -> Result<Duration> {
    wait::until("the agent to give up", SILENCE_LIMIT, || {
        Ok(stand.proxy.left().into_iter().find(|at| *at > since).map(|at| at - since))
    })
}

/// F16: up for two seconds, down for one.
pub(super) fn flapping(bench: &Bench) -> Result<String> {
    const MINUTES: u32 = 2;
    /// A backoff that a short session resets would dial about 20 times a minute.
    const DIALS_MAX: usize = 15;
    let mut stand = Stand::with_agents(bench, 1)?;
    let (started, before) = (Instant::now(), stand.proxy.dials().len());
    while started.elapsed() < Duration::from_secs(60) * MINUTES {
        stand.proxy.welcome(Welcome::Carry)?;
        stand.order("host-0")?;
        last(Duration::from_secs(2));
        stand.proxy.cut(Cut::Rst);
        stand.proxy.welcome(Welcome::Refuse)?;
        last(Duration::from_secs(1));
    }
    stand.proxy.welcome(Welcome::Carry)?;
    let dials = stand.proxy.dials().len() - before;
    ensure!(dials <= DIALS_MAX, "{dials} dials came through in {MINUTES} minutes");
    stand.await_state("host-0", "online", BACK_LIMIT)?;
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!("scaled from 10 minutes to {MINUTES}: {dials} dials found the door open, {judged}"))
}

/// F20: a name nobody knows, an address where nobody is, only IPv6.
///
/// Names are taken from a hosts file of the agent's own, in a mount namespace.
pub(super) fn names(bench: &Bench) -> Result<String> {
    const NAME: &str = "fleet.localhost";
    let mut stand = Stand::new(bench)?;
    let hosts = stand.path().join("hosts");
    let agent = wrapped(stand.path(), &hosts, &bench.programs.agent)?;
    if !can_have_own_hosts(&hosts)? {
        return not_run("it needs a mount namespace (unshare -m), which needs root");
    }
    let name = |address: &str| std::fs::write(&hosts, format!("{address} {NAME}\n"));
    name("127.0.0.1")?;
    let port = stand.proxy.address().port();
    stand.add_agent_at("host-0", &agent, &format!("http://{NAME}:{port}"))?;
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let six = FaultProxy::start_on(six, stand.api.address());
    let mut told = Vec::new();
    for (fault, content, healed) in [
        ("unknown name", "", "127.0.0.1"),
        ("wrong address", "127.9.9.9", "127.0.0.1"),
        ("only IPv6", "127.9.9.9", "::1"),
    ] {
        if healed == "::1" && six.is_err() {
            told.push("only IPv6: not run, there is no IPv6 here".to_owned());
            continue;
        }
        std::fs::write(&hosts, format!("{content} {NAME}\n"))?;
        stand.proxy.cut(Cut::Rst);
        stand.await_state("host-0", "offline", CLOSE_LIMIT)?;
        last(Duration::from_secs(8));
        name(healed)?;
        let back = stand.await_state("host-0", "online", BACK_LIMIT)?;
        told.push(format!("{fault}: back {:.1} s after it was mended", back.as_secs_f64()));
    }
    let job = stand.order("host-0")?;
    stand.await_end(&job, LIMIT)?;
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!("{}; {judged}", told.join(", ")))
}

/// A program that is `agent` with a hosts file of its own.
fn wrapped(folder: &Path, hosts: &Path, agent: &Path) -> Result<PathBuf> {
    let program = folder.join("agent-with-own-hosts");
    let script = format!(
        "#!/bin/sh\nexec unshare -m sh -c 'mount --bind \"$0\" /etc/hosts && exec \"$@\"' '{}' '{}' \
         \"$@\"\n",
        hosts.display(),
        agent.display(),
    );
    write_program(&program, &script)?;
    Ok(program)
}

fn can_have_own_hosts(hosts: &Path) -> Result<bool> {
    std::fs::write(hosts, "")?;
    let script = "mount --bind \"$0\" /etc/hosts";
    let output =
        std::process::Command::new("unshare").args(["-m", "sh", "-c", script]).arg(hosts).output();
    Ok(output.is_ok_and(|output| output.status.success()))
}

/// F21: a proxy that closes what is idle for a minute; then one that knows no WebSockets.
pub(super) fn middle_box(bench: &Bench) -> Result<String> {
    let mut stand = Stand::with_agents(bench, 1)?;
    let before = stand.sessions("host-0")?;
    stand.proxy.change(|faults| faults.idle_max = Some(Duration::from_secs(60)));
    last(Duration::from_secs(130));
    let sessions = stand.sessions("host-0")? - before;
    ensure!(sessions == 0, "the proxy found the link idle {sessions} times");
    stand.proxy.change(|faults| faults.strips_upgrade = true);
    stand.proxy.cut(Cut::Fin);
    stand.await_state("host-0", "offline", CLOSE_LIMIT)?;
    let Ok(back) = stand.await_state("host-0", "online", BACK_LIMIT) else {
        let said = stand.fleet.agents[0].last_words();
        let said = said.lines().last().unwrap_or_default().to_owned();
        stand.proxy.heal();
        stand
            .await_state("host-0", "online", Duration::from_secs(150))
            .context("and it did not come back when the proxy knew WebSockets again")?;
        bail!(
            "130 s of an impatient proxy cost nothing, but without WebSockets there is no link \
             (nor a fallback yet), only until the proxy lets them pass again; the agent says: {said}"
        );
    };
    stand.order("host-0")?;
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!(
        "no reconnect in 130 s; back without WebSockets after {:.1} s, {judged}",
        back.as_secs_f64()
    ))
}

/// F40: every connection is accepted and dropped at once.
pub(super) fn dropped_at_once(bench: &Bench) -> Result<String> {
    const DIALS_MAX: usize = 10;
    let mut stand = Stand::with_agents(bench, 1)?;
    stand.proxy.welcome(Welcome::Drop)?;
    stand.proxy.cut(Cut::Rst);
    let started = Instant::now();
    last(Duration::from_secs(120));
    let late = Duration::from_secs(60);
    let dials: Vec<Duration> = stand
        .proxy
        .dials()
        .into_iter()
        .filter_map(|at| at.checked_duration_since(started))
        .collect();
    let second = dials.iter().filter(|at| **at > late).count();
    ensure!(second <= DIALS_MAX, "{second} dials in the second minute");
    stand.proxy.welcome(Welcome::Carry)?;
    stand.await_state("host-0", "online", BACK_LIMIT)?;
    stand.order("host-0")?;
    let judged = stand.judge(&["succeeded"])?;
    let first = dials.len() - second;
    Ok(format!("{first} dials in the first minute, {second} in the second, {judged}"))
}
