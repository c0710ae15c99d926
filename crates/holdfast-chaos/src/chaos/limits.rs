//! Many, and more than allowed.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use uuid::Uuid;

use super::stream::ByHand;
use crate::{
    stand::{Bench, LIMIT, Stand},
    wire::{PING, TEXT, Wire, frame, hello, upgrade},
};

/// How long an attack lasts.
const ATTACK: Duration = Duration::from_secs(6);
/// What one attacker may take of a core. The catalogue's 5 % are for optimised programs; a debug
/// build is several times as slow.
const CORE_PERCENT_MAX: f64 = if cfg!(debug_assertions) { 40.0 } else { 5.0 };

/// F46: fragments, empty frames and pings without end; and compression, which nobody offered.
pub(super) fn floods(bench: &Bench) -> Result<String> {
    let mut agent = ByHand::new(Stand::with_agents(bench, 1)?, "by-hand")?;
    let server = agent.stand.server_pid()?;
    let (mut told, mut worst) = (Vec::new(), 0.0f64);
    let beat = r#"{"kind":"heartbeat","ts":"2026-11-21T10:00:00Z"}"#;
    let ping = r#"{"kind":"ping","ts":"2026-11-21T10:00:00Z","payload":{"nonce":1}}"#;
    for (name, first, piece) in [
        ("fragments", frame(false, TEXT, b"{"), frame(false, 0, b"")),
        ("WebSocket pings", Vec::new(), frame(true, PING, b"")),
        ("small frames", Vec::new(), frame(true, TEXT, beat.as_bytes())),
        ("our own pings", Vec::new(), frame(true, TEXT, ping.as_bytes())),
    ] {
        let (wire, _) = agent.greet()?;
        let flood = Flood { wire, first, piece };
        let (sent, core) = under_attack(&agent.stand, server, flood)
            .with_context(|| format!("under a flood of {name}"))?;
        worst = worst.max(core);
        told.push(format!("{name}: {sent} a second, {core:.0} % of a core"));
    }
    let offer = "sec-websocket-extensions: permessage-deflate\r\n";
    let wire = Wire::dial(agent.stand.api.address(), &agent.token, offer)?;
    let taken = wire.head.to_ascii_lowercase().contains("permessage-deflate");
    ensure!(!taken, "the server took up compression");
    let judged = agent.stand.judge(&["succeeded"])?;
    let told = told.join(", ");
    ensure!(worst <= CORE_PERCENT_MAX, "one attacker may cost {CORE_PERCENT_MAX} %: {told}");
    let build = if cfg!(debug_assertions) { "debug build; " } else { "" };
    Ok(format!("{build}{told}; compression is refused, {judged}"))
}

struct Flood {
    wire: Wire,
    first: Vec<u8>,
    piece: Vec<u8>,
}

impl Flood {
    /// Sends as fast as it goes; the number of frames.
    fn run(mut self) -> u64 {
        const BURST: usize = 64;
        let burst = self.piece.repeat(BURST);
        let end = Instant::now() + ATTACK;
        let timeout = self.wire.stream().set_write_timeout(Some(ATTACK));
        let mut sent = 0;
        if timeout.is_err() || self.wire.put(&self.first).is_err() {
            return sent;
        }
        let reader = self.wire.stream().try_clone();
        thread::scope(|scope| {
            scope.spawn(|| drain(reader.ok(), end));
            while Instant::now() < end && self.wire.put(&burst).is_ok() {
                sent += BURST as u64;
            }
        });
        sent
    }
}

/// Reads what comes, so that the attacker is not the deaf one.
fn drain(stream: Option<TcpStream>, end: Instant) {
    let Some(mut stream) = stream else { return };
    let mut bytes = [0; 4096];
    while Instant::now() < end {
        let timeout = stream.set_read_timeout(Some(Duration::from_millis(200)));
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Err(_) if timeout.is_err() => return,
            _ => {}
        }
    }
}

/// Frames a second, and what the attack cost in percent of a core. Meanwhile the neighbour works.
fn under_attack(stand: &Stand, server: Pid, flood: Flood) -> Result<(u64, f64)> {
    let (before, started) = (cpu_seconds(server)?, Instant::now());
    let attacker = thread::spawn(move || flood.run());
    let job = stand.order("host-0")?;
    let ended = stand.await_end(&job, Duration::from_secs(10));
    let sent = attacker.join().ok().context("the attacker panicked")?;
    let (after, took) = (cpu_seconds(server)?, started.elapsed());
    ended.context("the neighbour's job")?;
    let core = (after - before) / took.as_secs_f64() * 100.0;
    Ok((sent / ATTACK.as_secs(), core))
}

fn cpu_seconds(pid: Pid) -> Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the server has ended")?;
    let (_, rest) = stat.rsplit_once(") ").context("an odd /proc/stat")?;
    let mut ticks = 0.0;
    // utime and stime are the 14th and 15th field; two were cut off.
    for field in rest.split(' ').skip(11).take(2) {
        ticks += field.parse::<f64>().context("an odd /proc/stat")?;
    }
    Ok(ticks / TICKS_PER_SECOND)
}

/// F47: thousands of connections that say nothing, or very little at a time.
pub(super) fn slowloris(bench: &Bench) -> Result<String> {
    const SOCKETS: usize = 5_000;
    const CLOSE_LIMIT: Duration = Duration::from_secs(15);
    let mut stand = Stand::with_agents(bench, 1)?;
    let mut sockets = Vec::new();
    for index in 0..SOCKETS {
        let mut stream = TcpStream::connect(stand.api.address())
            .with_context(|| format!("socket {index}; is `ulimit -n` above {SOCKETS}?"))?;
        // A third says nothing, a third half a line, a third is in mid-header.
        match index % 3 {
            1 => stream.write_all(b"G")?,
            2 => stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ")?,
            _ => {}
        }
        stream.set_nonblocking(true)?;
        sockets.push(stream);
    }
    let all_open = Instant::now();
    let (mut times, mut closed_at) = (Vec::new(), None);
    while all_open.elapsed() < CLOSE_LIMIT && closed_at.is_none() {
        times.push(dial_time(&stand)?);
        // A byte now and then must not buy more time.
        sockets.retain_mut(is_open);
        if sockets.is_empty() {
            closed_at = Some(all_open.elapsed());
        }
    }
    let closed_at = closed_at
        .with_context(|| format!("{} sockets are still open after 15 s", sockets.len()))?;
    times.sort();
    let slowest = times[(times.len() * 99 / 100).min(times.len() - 1)];
    ensure!(slowest <= Duration::from_secs(1), "a legitimate dial took {slowest:?}");
    stand.order("host-0")?;
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!(
        "{SOCKETS} sockets closed {:.1} s after the last was opened; legitimate dials took {} ms \
         at p99 of {}, {judged}",
        closed_at.as_secs_f64(),
        slowest.as_millis(),
        times.len()
    ))
}

fn dial_time(stand: &Stand) -> Result<Duration> {
    let started = Instant::now();
    let (status, ..) = upgrade(stand.api.address(), "hf_agt_nobody", "")?;
    ensure!(status == 401, "answered {status}");
    Ok(started.elapsed())
}

fn is_open(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 512];
    match stream.read(&mut bytes) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// F48: tokens that are unknown, of another kind, used, expired, revoked, and one that a hundred
/// want.
pub(super) fn credentials(bench: &Bench) -> Result<String> {
    let mut agent = ByHand::new(Stand::with_agents(bench, 1)?, "by-hand")?;
    let server = agent.stand.api.address();
    let api_token = agent.stand.fleet.operator.token().to_owned();
    let unknown = format!("hf_agt_{}", "A".repeat(43));
    for (what, token) in [
        ("unknown", unknown.as_str()),
        ("of a person", &api_token),
        ("empty", ""),
        ("odd", "\u{7f}"),
    ] {
        let (status, ..) = upgrade(server, token, "")?;
        ensure!(status == 401 || status == 400, "a token that is {what} was answered {status}");
    }
    let (status, ..) = upgrade(server, &agent.token, "origin: http://evil.example\r\n")?;
    ensure!(status == 403, "a browser was answered {status}");
    let strange = hello(&Uuid::new_v4().to_string(), 1, 1);
    let mut wire = Wire::dial(server, &agent.token, "")?;
    wire.say(&strange)?;
    let answer = format!("{:?}", wire.await_kind(&["reject", "welcome"], LIMIT)?);
    ensure!(answer.contains("unknown_incarnation"), "a stranger's outbox: {answer}");
    let revoked = revoke(&mut agent)?;
    let race = race(&agent.stand)?;
    let expired = expired(&agent.stand)?;
    let judged = agent.stand.judge(&["succeeded"])?;
    Ok(format!("bad tokens: 401, browsers: 403, {revoked}, {race}, {expired}, {judged}"))
}

/// The host is removed while its agent is connected.
fn revoke(agent: &mut ByHand) -> Result<String> {
    let mut wire = Wire::dial(agent.stand.api.address(), &agent.token, "")?;
    wire.say(&agent.hello())?;
    wire.await_kind(&["welcome"], LIMIT)?;
    let asked = Instant::now();
    agent.stand.api.call("DELETE", "/hosts/by-hand", None)?;
    let end = wire.await_end(Duration::from_secs(5))?;
    let took = asked.elapsed();
    ensure!(took <= Duration::from_secs(2), "it took {took:?}");
    let (status, ..) = upgrade(agent.stand.api.address(), &agent.token, "")?;
    ensure!(status == 401, "a revoked token was answered {status}");
    Ok(format!("revoked: {end:?} after {} ms and 401 from then on", took.as_millis()))
}

/// A hundred redeem one token at once.
fn race(stand: &Stand) -> Result<String> {
    const RUNNERS: usize = 100;
    let token = stand.enrolment("race")?;
    let answers: Vec<Result<(u16, serde_json::Value)>> = thread::scope(|scope| {
        let runners: Vec<_> = (0..RUNNERS)
            .map(|_| scope.spawn(|| stand.api.redeem(&token, &Uuid::new_v4().to_string())))
            .collect();
        runners.into_iter().filter_map(|runner| runner.join().ok()).collect()
    });
    let mut count: BTreeMap<u16, usize> = BTreeMap::new();
    for answer in answers {
        *count.entry(answer?.0).or_default() += 1;
    }
    let expected = BTreeMap::from([(201, 1), (401, RUNNERS - 1)]);
    ensure!(count == expected, "the answers were {count:?}");
    let (_, again) = stand.api.redeem(&token, &Uuid::new_v4().to_string())?;
    ensure!(again["code"] == "enrolment_token_used", "{again}");
    Ok(format!("1 winner of {RUNNERS}"))
}

fn expired(stand: &Stand) -> Result<String> {
    let token = stand.enrolment("late")?;
    stand.database()?.run("UPDATE enrolment_tokens SET expires_at = 1 WHERE used_at IS NULL")?;
    let (status, answer) = stand.api.redeem(&token, &Uuid::new_v4().to_string())?;
    let right = status == 401 && answer["code"] == "enrolment_token_expired";
    ensure!(right, "an expired token: {status} {answer}");
    let audited = "SELECT COUNT(*) FROM audit WHERE action LIKE $1";
    let rows = stand.database()?.number(audited, "host.%")?;
    ensure!(rows > 0, "the audit log is empty");
    Ok(format!("expired: refused, {rows} rows of audit"))
}
