//! Ways that are slow, far or long unused.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::wait;
use nix::unistd::Pid;

use crate::{
    fault_proxy::Flow,
    stand::{BACK_LIMIT, Bench, GROUP, LIMIT, Stand, last, waiting},
    stub_restic::StubRestic,
};

/// What a slow peer may cost the other side, in KiB.
const SLOW_PEER_KIB_MAX: i64 = 2048;

/// F17: an agent comes back with a large outbox; its neighbour must not notice.
pub(super) fn backlog(bench: &Bench) -> Result<String> {
    const RECORDS: u64 = 50_000;
    let mut stand = Stand::with_agents(bench, 1)?;
    let data = stand.enrol_peer("offline", stand.fleet.server.url())?;
    let messages = RECORDS.to_string();
    let fill = ["--offline", "--batch", "200", "--messages", &messages];
    stand.peer(&data, &fill)?.wait(Duration::from_secs(120))?;
    let quiet = order_times(&stand, || Ok(false))?;
    let mut database = stand.database()?;
    let host = database.host_id("offline")?;
    let started = Instant::now();
    let mut peer = stand.peer(&data, &["--messages", &messages])?;
    let busy = order_times(&stand, || Ok(database.received(&host)? >= RECORDS))?;
    wait::until("the outbox to drain", Duration::from_secs(300), || {
        Ok((database.received(&host)? >= RECORDS).then_some(()))
    })?;
    let took = started.elapsed().as_secs_f64();
    peer.stop(LIMIT)?;
    let left = waiting(&data.join("state.redb"))?;
    ensure!(left == 0, "{left} records are left");
    // Most of an order's time is the start of a process; twice the time is a machine at work, not a
    // neighbour who waits for the backlog to end.
    ensure!(busy <= quiet * 3, "the neighbour's orders took {busy:?} rather than {quiet:?}");
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!(
        "{RECORDS} records in {took:.1} s; the neighbour's orders took {} ms in the middle, {} ms \
         before, {judged}",
        busy.as_millis(),
        quiet.as_millis()
    ))
}

/// The median time of orders to the neighbour, until `done`, at least a few.
fn order_times(stand: &Stand, mut done: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let mut times = Vec::new();
    while times.len() < 8 || (times.len() < 60 && !done()?) {
        let ordered = Instant::now();
        let job = stand.order("host-0")?;
        stand.await_end(&job, LIMIT)?;
        times.push(ordered.elapsed());
        if times.len() >= 8 && done()? {
            break;
        }
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// F18: 56 kbit/s both ways, and a backup that talks much.
pub(super) fn modem(bench: &Bench) -> Result<String> {
    const LINES: u64 = 20_000;
    let mut stand = Stand::with_stub(bench, StubRestic::chatty)?;
    stand.proxy.change(|faults| faults.small_buffers = true);
    stand.add_agent("host-0")?;
    let before = stand.sessions("host-0")?;
    stand.proxy.change(|faults| {
        faults.to_server.bytes_per_second = Some(7_000);
        faults.to_agent.bytes_per_second = Some(7_000);
    });
    let ordered = Instant::now();
    let job = stand.order("host-0")?;
    let end = stand.await_end(&job, Duration::from_secs(90))?;
    let took = ordered.elapsed();
    ensure!(end["status"] == "succeeded", "{end}");
    last(Duration::from_secs(100).saturating_sub(took));
    let sessions = stand.sessions("host-0")? - before;
    ensure!(sessions == 0, "{sessions} reconnects on a slow link");
    stand.proxy.heal();
    let log = await_log(&stand, &job)?;
    let known = log.lines + log.confessed + log.missing;
    ensure!(
        (LINES..LINES + 10).contains(&known),
        "{log:?} is not the whole of {LINES} lines: a gap is not shown"
    );
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!(
        "proxy for tbf: the result came through in {:.1} s; of {LINES} log lines {} arrived, {} are \
         shown as gaps, {} as dropped by the agent; no reconnect, {judged}",
        took.as_secs_f64(),
        log.lines,
        log.missing,
        log.confessed,
    ))
}

/// What became of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Log {
    /// Lines of restic that are there.
    lines: u64,
    /// Lines of restic that never got a number, by the agent's own account.
    confessed: u64,
    /// Numbers that are shown as missing.
    missing: u64,
}

/// Waits until no more lines come.
fn await_log(stand: &Stand, job: &str) -> Result<Log> {
    let mut before = None;
    wait::until("the log to be quiet", BACK_LIMIT, || {
        wait::pause(Duration::from_secs(2));
        let now = read_log(stand, job)?;
        let quiet = before.replace(now) == Some(now);
        Ok(quiet.then_some(now))
    })
}

fn read_log(stand: &Stand, job: &str) -> Result<Log> {
    let (mut log, mut newest) = (Log::default(), 0);
    loop {
        let path = format!("/jobs/{job}/log?after={newest}&limit=1000");
        let page = stand.api.call("GET", &path, None)?;
        let lines = page["lines"].as_array().context("no lines in the answer")?;
        for line in lines {
            log.take(line["payload"].as_str().unwrap_or_default());
            let seq = line["seq"].as_u64().context("a line without a number")?;
            log.missing += seq.saturating_sub(newest + 1);
            newest = seq;
        }
        if lines.is_empty() {
            return Ok(log);
        }
    }
}

impl Log {
    fn take(&mut self, line: &str) {
        if line.starts_with("warning ") {
            self.lines += 1;
        }
        if let Some(count) = line.strip_suffix(" lines of output were dropped here") {
            self.confessed += count.parse::<u64>().unwrap_or_default();
        }
    }
}

/// F19: two seconds there and back, and one piece in ten is held up.
pub(super) fn satellite(bench: &Bench) -> Result<String> {
    const MINUTES: u32 = 3;
    let mut stand = Stand::with_agents(bench, 1)?;
    let before = stand.sessions("host-0")?;
    let far = Flow {
        delay: Duration::from_secs(1),
        stall: Some((10, Duration::from_secs(3))),
        ..Flow::default()
    };
    stand.proxy.change(|faults| {
        faults.to_server = far.clone();
        faults.to_agent = far;
    });
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    while started.elapsed() < Duration::from_secs(60) * MINUTES {
        let ordered = Instant::now();
        let job = stand.order("host-0")?;
        stand.await_end(&job, BACK_LIMIT)?;
        slowest = slowest.max(ordered.elapsed());
        last(Duration::from_secs(5));
    }
    let sessions = stand.sessions("host-0")? - before;
    ensure!(sessions == 0, "{sessions} false alarms");
    stand.proxy.heal();
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!(
        "scaled from 10 minutes to {MINUTES}: no reconnect, slowest order {:.1} s, {judged}",
        slowest.as_secs_f64()
    ))
}

/// F24: the agent reads a byte a second, then the server does.
pub(super) fn deaf_peer(bench: &Bench) -> Result<String> {
    let agent = deaf_agent(bench)?;
    let server = deaf_server(bench)?;
    Ok(format!("{agent}; {server}"))
}

/// Far more than the kernel holds for one connection waits for an agent that does not read. What
/// the server needs for the same changes with an agent that does read is not the deaf one's fault.
fn deaf_agent(bench: &Bench) -> Result<String> {
    let (healthy, _) = grown_by_groups(bench, false)?;
    let (deaf, noticed) = grown_by_groups(bench, true)?;
    let more = deaf - healthy;
    ensure!(
        more <= 4 * SLOW_PEER_KIB_MAX,
        "the server grew by {deaf} KiB for a deaf agent and by {healthy} KiB for one that reads",
    );
    Ok(format!(
        "an agent that reads 1 B/s is closed after {:.1} s; the server grew by {deaf} KiB, and by \
         {healthy} KiB for one that reads",
        noticed.as_secs_f64()
    ))
}

fn grown_by_groups(bench: &Bench, deaf: bool) -> Result<(i64, Duration)> {
    const GROUPS: usize = 12;
    let mut stand = Stand::new(bench)?;
    stand.proxy.change(|faults| faults.small_buffers = true);
    stand.add_agent("host-0")?;
    let server = stand.server_pid()?;
    if deaf {
        stand.proxy.change(|faults| faults.to_agent.bytes_per_second = Some(1));
    }
    let (resident, since) = (resident_kib(server)?, Instant::now());
    let large = vec!["x".repeat(4000); 60];
    for group in 0..GROUPS {
        stand.add_group("host-0", &format!("large-{group}"), &large)?;
    }
    if deaf {
        stand.await_state("host-0", "offline", LIMIT)?;
    }
    let (grown, noticed) = (resident_kib(server)? - resident, since.elapsed());
    stand.proxy.heal();
    stand.await_state("host-0", "online", BACK_LIMIT)?;
    stand.judge(&["succeeded"])?;
    Ok((grown, noticed))
}

fn deaf_server(bench: &Bench) -> Result<String> {
    const MESSAGES: &str = "60000";
    let stand = Stand::new(bench)?;
    stand.proxy.change(|faults| faults.small_buffers = true);
    let data = stand.enrol_peer("talker", &stand.proxy.url())?;
    let mut peer = stand.peer(&data, &["--messages", MESSAGES, "--rationed"])?;
    stand.await_state("talker", "online", LIMIT)?;
    let pid = Pid::from_raw(i32::try_from(peer.id())?);
    stand.proxy.change(|faults| faults.to_server.bytes_per_second = Some(1));
    let resident = resident_kib(pid)?;
    let (since, dials) = (Instant::now(), stand.proxy.dials().len());
    crate::peer::allow(&data, 60_000)?;
    wait::until("the peer to give up", Duration::from_secs(70), || {
        Ok((stand.proxy.dials().len() > dials).then_some(()))
    })?;
    let noticed = since.elapsed();
    let grown = resident_kib(pid)? - resident;
    // 60,000 appended records pass through the state's own page cache, a MiB or so.
    ensure!(grown <= 4 * SLOW_PEER_KIB_MAX, "the agent's side grew by {grown} KiB");
    stand.proxy.heal();
    stand.api.order("talker", GROUP)?;
    peer.stop(Duration::from_secs(60))?;
    Ok(format!(
        "an agent gives up a server that reads 1 B/s after {:.1} s and grew by {grown} KiB",
        noticed.as_secs_f64()
    ))
}

/// Memory in use, in KiB.
pub(super) fn resident_kib(pid: Pid) -> Result<i64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("it has ended")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)).context("no VmRSS")?;
    Ok(kib.parse()?)
}
