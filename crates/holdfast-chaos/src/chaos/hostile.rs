//! Agents that are not what they should be: they rewrite history, or speak nonsense.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    slow::resident_kib,
    stream::{ByHand, numbered},
};
use crate::{
    stand::{Bench, LIMIT, Stand},
    wire::{BINARY, Heard, TEXT, Wire, frame, frame_head, message, record},
};

/// F25: an agent tries to change or delete what it has reported, and what others have.
pub(super) fn rewritten_history(bench: &Bench) -> Result<String> {
    let stand = Stand::with_agents(bench, 1)?;
    let job = stand.order("host-0")?;
    stand.await_end(&job, LIMIT)?;
    let own = "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b";
    let mut agent = ByHand::new(stand, "by-hand")?;
    let (mut wire, _) = agent.greet()?;
    wire.say(&record(1, "job.finished", &finished(own, "failed")))?;
    wire.await_ack(1, LIMIT)?;
    let before = history(&mut agent)?;
    let attempts = attempts(&job, own);
    for (seq, (kind, payload)) in (2..).zip(&attempts) {
        wire.say(&record(seq, kind, payload))?;
    }
    let seq = 1 + attempts.len() as u64;
    wire.await_ack(seq, LIMIT)?;
    for kind in ["job.delete", "history.clear", "hosts.remove"] {
        wire.say(&message(kind, &json!({"job_id": own})))?;
    }
    wire.say(&numbered(seq + 1, 1))?;
    wire.await_ack(seq + 1, LIMIT)?;
    let after = history(&mut agent)?;
    ensure!(before == after, "the history has changed:\n{before}\n{after}");
    let judged = agent.stand.judge(&["succeeded"])?;
    Ok(format!("{} attempts changed nothing, the link stayed up, {judged}", attempts.len() + 3))
}

fn finished(job: &str, status: &str) -> Value {
    let at = jiff::Timestamp::now().to_string();
    json!({"job_id": job, "status": status, "finished_at": at})
}

fn attempts(others: &str, own: &str) -> Vec<(&'static str, Value)> {
    let at = jiff::Timestamp::now().to_string();
    let started = |job| json!({"job_id": job, "kind": "backup", "started_at": at, "attempt": 9});
    let state = |job| json!({"job_id": job, "status": "running", "changed_at": at});
    let mut attempts = Vec::new();
    for job in [own, others] {
        attempts.push(("job.finished", finished(job, "succeeded")));
        attempts.push(("job.finished", finished(job, "running")));
        attempts.push(("job.started", started(job)));
        attempts.push(("job.state", state(job)));
        attempts.push((
            "command.result",
            json!({"job_id": job, "command": "run",
            "accepted": false}),
        ));
        attempts.push(("job.delete", json!({"job_id": job})));
        attempts.push((
            "schedule.fire",
            json!({"schedule_id": own, "scheduled_at": at,
            "job_ids": [job]}),
        ));
    }
    attempts
}

/// Everything that is known of jobs.
fn history(agent: &mut ByHand) -> Result<String> {
    let columns = "id || status || IFNULL(finished_at, 0) || IFNULL(started_at, 0) || attempt \
                   || IFNULL(error_code, '') || host_id";
    let sql = format!("SELECT IFNULL(group_concat({columns}), $1) FROM jobs ORDER BY id");
    agent.database.text(&sql, "none")
}

/// F44: frames that are too large, and some that only say so.
pub(super) fn oversized(bench: &Bench) -> Result<String> {
    const MIB: u64 = 1 << 20;
    /// A close comes before memory is taken; this is what all of them may leave behind, in KiB.
    const GROWTH_KIB_MAX: i64 = 1024;
    let agent = ByHand::new(Stand::with_agents(bench, 1)?, "by-hand")?;
    let server = agent.stand.server_pid()?;
    // The first session of a kind makes the server load what it needs.
    agent.greet()?;
    let before = resident_kib(server)?;
    let mut told = Vec::new();
    for length in [5 * MIB, 64 * MIB, 1 << 40, (1 << 63) - 1] {
        let (mut wire, _) = agent.greet()?;
        wire.put(&frame_head(true, TEXT, length))?;
        let end = wire.await_end(Duration::from_secs(20))?;
        ensure!(end == Heard::Closed(1009), "{length} bytes were answered with {end:?}");
        told.push(format!("{} MiB", length / MIB));
    }
    let grown = resident_kib(server)? - before;
    ensure!(grown <= GROWTH_KIB_MAX, "the server grew by {grown} KiB");
    let whole = whole_frames(&agent)?;
    let mut stand = agent.stand;
    stand.order("host-0")?;
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!("{} declared: closed with 1009, {grown} KiB; {whole}, {judged}", told.join(", ")))
}

/// A real frame above the limit, and one in pieces whose sum is above it. The limit is 4 MiB.
fn whole_frames(agent: &ByHand) -> Result<String> {
    let (mut wire, _) = agent.greet()?;
    // The server may close in the midst of it.
    let _ = wire.put(&frame(true, TEXT, &vec![b' '; 5 << 20]));
    let end = wire.await_end(LIMIT)?;
    ensure!(matches!(end, Heard::Closed(1009) | Heard::Cut), "{end:?}");
    let (mut wire, _) = agent.greet()?;
    let _ = wire.put(&frame(false, TEXT, &vec![b' '; 1 << 20]));
    for _ in 0..6 {
        let _ = wire.put(&frame(false, 0, &vec![b' '; 1 << 20]));
    }
    let end = wire.await_end(LIMIT)?;
    ensure!(matches!(end, Heard::Closed(1009) | Heard::Cut), "{end:?}");
    Ok("5 MiB sent whole and 7 MiB in pieces: closed".to_owned())
}

/// F45: nonsense of every kind. It ends the session that said it, and nothing else.
pub(super) fn malformed(bench: &Bench) -> Result<String> {
    let mut agent = ByHand::new(Stand::with_agents(bench, 1)?, "by-hand")?;
    let corpus = corpus();
    let mut ends = std::collections::BTreeMap::new();
    for (name, bytes) in &corpus {
        for greeted in [true, false] {
            let mut wire = if greeted {
                agent.greet()?.0
            } else {
                Wire::dial(agent.stand.api.address(), &agent.token, "")?
            };
            // The server may close before it has read all of it.
            let _ = wire.put(bytes);
            let end = wire.await_end(Duration::from_secs(15));
            let end = end.with_context(|| format!("{name} was taken without a word"))?;
            *ends.entry(format!("{end:?}")).or_insert(0) += 1;
        }
    }
    let (mut wire, _) = agent.greet()?;
    wire.say(&numbered(1, 1))?;
    wire.await_ack(1, LIMIT)?;
    harmless(&mut wire)?;
    agent.stand.fleet.server.check_running()?;
    let log = agent.stand.fleet.server.log();
    ensure!(!log.contains("panicked"), "the server panicked");
    let sessions = agent.stand.sessions("host-0")?;
    ensure!(sessions == 1, "another agent lost its link {} times", sessions - 1);
    ensure!(agent.applied()?.last() == Some(&2), "{:?}", agent.applied()?);
    let mut stand = agent.stand;
    stand.order("host-0")?;
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!(
        "{} kinds of nonsense, before and after the hello: {ends:?}, {judged}",
        corpus.len()
    ))
}

/// What is strange and allowed: it is passed over and the session goes on.
fn harmless(wire: &mut Wire) -> Result<()> {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let many: String = (0..10_000).map(|key| format!(",\"k{key}\":0")).collect();
    for text in [
        format!(r#"{{"kind":"new.thing","ts":"2026-11-21T10:00:00Z","payload":{deep}}}"#),
        format!(r#"{{"kind":"new.thing","ts":"2026-11-21T10:00:00Z"{many}}}"#),
        r#"{"kind":"heartbeat","ts":"2026-11-21T10:00:00Z","payload":{"sent_at":7}}"#.to_owned(),
        r#"{"kind":"job.progress","ts":"9998-01-01T00:00:00Z","payload":null}"#.to_owned(),
    ] {
        wire.say_text(text.as_bytes())?;
    }
    wire.say(&record(2, "config.applied", &json!({"version": "not a number"})))?;
    wire.say(&numbered(3, 2))?;
    wire.await_ack(3, LIMIT)
}

/// What nobody who speaks the protocol would say.
fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| frame(true, TEXT, text.as_bytes());
    let envelope = |rest: &str| text(&format!(r#"{{"ts":"2026-11-21T10:00:00Z",{rest}}}"#));
    let deep = "[".repeat(10_000);
    vec![
        ("nothing", text("")),
        ("half a document", text(r#"{"kind":"heartbeat","ts":"2026"#)),
        ("no object", text("[]")),
        ("two documents", text(r#"{"kind":"a","ts":"2026-11-21T10:00:00Z"}{}"#)),
        ("no kind", envelope(r#""payload":{}"#)),
        ("a kind that is a number", envelope(r#""kind":7"#)),
        ("a time that is none", text(r#"{"kind":"heartbeat","ts":"yesterday"}"#)),
        ("NaN", envelope(r#""kind":"config.applied","seq":NaN"#)),
        ("a number below zero", envelope(r#""kind":"config.applied","seq":-1"#)),
        ("a huge number", envelope(r#""kind":"config.applied","seq":1e400"#)),
        (
            "a number above 64 bits",
            envelope(r#""kind":"config.applied","seq":18446744073709551616"#),
        ),
        ("an ack of what was never sent", envelope(r#""kind":"ack","ack":18446744073709551615"#)),
        ("a record numbered zero", envelope(r#""kind":"config.applied","seq":0,"payload":{}"#)),
        ("a record without a number", envelope(r#""kind":"job.finished","payload":{}"#)),
        ("a depth of 10,000", envelope(&format!(r#""kind":"a","payload":{deep}"#))),
        ("a million keys", envelope(&million_keys())),
        ("wrong UTF-8", frame(true, TEXT, b"{\"kind\":\"\xff\xfe\"}")),
        ("a lone surrogate", envelope(r#""kind":"\ud800""#)),
        ("bytes where text belongs", frame(true, BINARY, &[0, 159, 146, 150])),
        ("a frame with an unknown opcode", frame(true, 3, b"{}")),
        ("a reserved bit", {
            let mut bytes = frame(true, TEXT, b"{}");
            bytes[0] |= 0x40;
            bytes
        }),
        ("a frame without a mask", b"\x81\x02{}".to_vec()),
        ("a piece without a beginning", frame(true, 0, b"{}")),
        ("a ping in pieces", frame(false, 9, b"x")),
        ("a ping that is too long", frame(true, 9, &[b'x'; 126])),
        ("a greeting out of turn", envelope(r#""kind":"welcome","payload":{}"#)),
        ("a hello without a body", envelope(r#""kind":"hello""#)),
    ]
}

/// More keys than anybody has, and the last one wrong.
fn million_keys() -> String {
    let mut text = String::from(r#""kind":"a""#);
    // A frame is at most 4 MiB, so a million keys are short ones.
    for _ in 0..500_000 {
        text.push_str(",\"\":0");
    }
    text.push_str(",\"seq\":\"x\"");
    text
}
