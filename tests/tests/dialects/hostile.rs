//! Peers that mean harm, or are broken: the server refuses them by the dialect's rules, stays up,
//! and serves the next one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::joined::{HOST, Joined};

/// Every dialect whose agents dial, with a first frame that its server takes.
fn registrations() -> [(&'static str, &'static str, Value); 3] {
    [
        ("nerdbackup", "/home", json!({"type": "heartbeat", "data": {"hostname": "nas"}})),
        (
            "backupy",
            "postgresql://app@db:5432/shop",
            json!({"seq": 1, "body": "register",
            "fields": {"agent_version": "1.0.0", "hostname": "h1", "os": "linux",
                "arch": "amd64"}}),
        ),
        (
            "envelope",
            "/home",
            json!({"kind": "register", "id": "01J9ZZZZZZZZZZZZZZZZZZZZZZ",
            "payload": {"name": HOST, "context_mode": "global", "provider": "backup", "port": 0,
                "pid": 1, "started_at": "2026-11-21T10:00:00Z", "capabilities": null, "home": "",
                "session_id": "s1"}}),
        ),
    ]
}

/// Connects and registers, as a good peer does.
fn serve(joined: &mut Joined, first: &Value) -> Result<()> {
    joined.connect()?;
    joined.peer.say(first)?;
    joined.await_host("online").map(drop)
}

fn ends_with(joined: &mut Joined, codes: &[i64]) -> Result<()> {
    let close = joined.peer.event("close")?;
    ensure!(codes.iter().any(|code| close["code"] == *code), "{close}, not one of {codes:?}");
    joined.await_host("offline").map(drop)
}

#[test]
fn a_wrong_token_is_refused_before_the_upgrade() -> Result<()> {
    for (dialect, include, _) in registrations() {
        let mut joined = Joined::new(dialect, include)?;
        for token in ["hf_agt_wrong", "", joined.stage.fleet.operator.token()] {
            let order = json!({"do": "connect", "url": joined.url, "token": token});
            joined.peer.tell(&order)?;
            let refused = joined.peer.event("refused")?;
            ensure!(refused["status"] == 401, "{dialect}: {refused}");
        }
        // A page that somebody was lured to has the browser's mark on its request.
        let order = json!({"do": "connect", "url": joined.url, "token": joined.token,
            "headers": {"origin": "https://evil.example"}});
        joined.peer.tell(&order)?;
        ensure!(joined.peer.event("refused")?["status"] == 403, "{dialect}");
        // A right token at another dialect's door.
        let door = if dialect == "nerdbackup" { "/v1/agents/connect" } else { "/ws/agent" };
        let base = joined
            .url
            .rsplit_once(":")
            .map(|(host, rest)| format!("{host}:{}", rest.split('/').next().unwrap_or_default()));
        let url = format!("{}{door}", base.unwrap_or_default());
        let order = json!({"do": "connect", "url": url, "token": joined.token});
        joined.peer.tell(&order)?;
        ensure!(joined.peer.event("refused")?["status"] == 403, "{dialect} at {door}");
    }
    Ok(())
}

#[test]
fn a_wrong_first_message_ends_a_dialect_that_registers() -> Result<()> {
    let mut backupy = Joined::new("backupy", "postgresql://app@db:5432/shop")?;
    for first in [
        json!({"do": "text", "text": "hello"}),
        json!({"do": "binary", "base64": "//////8="}),
        json!({"do": "say", "words": {"seq": 1, "body": "heartbeat"}}),
    ] {
        backupy.connect()?;
        backupy.peer.tell(&first)?;
        ends_with(&mut backupy, &[1008])?;
    }
    let mut envelope = Joined::new("envelope", "/home")?;
    for (first, code) in [
        (json!({"do": "say", "words": {"kind": "worker.status", "payload": {}}}), 1008),
        (json!({"do": "binary", "base64": "AAAA"}), 1003),
    ] {
        envelope.connect()?;
        envelope.peer.tell(&first)?;
        ends_with(&mut envelope, &[code])?;
    }
    let (_, _, mut first) = registrations()[2].clone();
    first["payload"]["name"] = "somebody-else".into();
    envelope.connect()?;
    envelope.peer.say(&first)?;
    let refused = envelope.peer.frame("the refusal", |frame| frame["kind"] == "register.error")?;
    ensure!(refused["in_reply_to"] == first["id"], "{refused}");
    ensure!(refused["payload"]["error"].is_string(), "{refused}");
    Ok(())
}

#[test]
fn broken_frames_cost_what_the_dialect_says_and_no_more() -> Result<()> {
    for (dialect, include, first) in registrations() {
        let mut joined = Joined::new(dialect, include)?;
        // Larger than any dialect's peer may send.
        serve(&mut joined, &first)?;
        joined
            .peer
            .tell(&json!({"do": "flood", "bytes": 5 << 20, "binary": dialect == "backupy"}))?;
        ends_with(&mut joined, &[1009, 1006])?;
        // The connection dies in the middle of a frame.
        serve(&mut joined, &first)?;
        joined.peer.tell(&json!({"do": "half"}))?;
        ends_with(&mut joined, &[1006])?;
        // Not of the dialect at all.
        serve(&mut joined, &first)?;
        match dialect {
            "nerdbackup" => {
                joined.peer.tell(&json!({"do": "text", "text": "{\"type\": 7}"}))?;
                ends_with(&mut joined, &[1007])?;
            }
            "backupy" => {
                // Text is passed over; bytes that are no message end the connection.
                joined.peer.tell(&json!({"do": "text", "text": "{}"}))?;
                joined.peer.tell(&json!({"do": "binary", "base64": "//////8="}))?;
                ends_with(&mut joined, &[1007])?;
            }
            _ => {
                for _ in 0..16 {
                    joined.peer.tell(&json!({"do": "text", "text": "{}"}))?;
                }
                ends_with(&mut joined, &[1008])?;
            }
        }
        // And the next connection is served.
        serve(&mut joined, &first)?;
    }
    Ok(())
}

#[test]
fn unknown_kinds_are_passed_over() -> Result<()> {
    for (dialect, include, first) in registrations() {
        let mut joined = Joined::new(dialect, include)?;
        serve(&mut joined, &first)?;
        let unknown = match dialect {
            "nerdbackup" => json!({"type": "from_the_future", "data": {"a": 1}}),
            "backupy" => json!({"seq": 9, "unknown": 45}),
            _ => json!({"kind": "from.the.future", "payload": {"a": 1}}),
        };
        for _ in 0..100 {
            joined.peer.say(&unknown)?;
        }
        let job = joined.run()?;
        joined.peer.frame("a command after them", |frame| {
            let text = frame.to_string();
            text.contains(&job) && !text.contains("future")
        })?;
    }
    Ok(())
}

#[test]
fn a_newer_connection_fences_the_older_one() -> Result<()> {
    for (dialect, include, first) in registrations() {
        let mut joined = Joined::new(dialect, include)?;
        serve(&mut joined, &first)?;
        let mut newer = holdfast_e2e::peer::Peer::start(dialect)?;
        newer.connect(&joined.url, &joined.token)?;
        newer.say(&first)?;
        let close = joined.peer.event("close")?;
        ensure!(close["code"] == 1008, "{dialect}: {close}");
        let job = joined.run()?;
        newer.frame("the command", |frame| frame.to_string().contains(&job))?;
        joined.await_host("online")?;
    }
    Ok(())
}

/// Taking empty pieces of a message apart costs the server processor time, and nothing else bounds
/// how many there are. So they are read at a measured pace, which is not the sender's.
#[test]
fn empty_pieces_of_a_message_are_read_at_the_servers_pace() -> Result<()> {
    for (dialect, include, first) in registrations() {
        let mut joined = Joined::new(dialect, include)?;
        serve(&mut joined, &first)?;
        let began = Instant::now();
        joined.peer.tell(&json!({"do": "pieces", "count": 14_000}))?;
        joined.peer.wait("the end of the flood", |event| event["nonce"] == "pieces")?;
        let took = began.elapsed();
        ensure!(took > Duration::from_secs(3), "{dialect}: the flood was read in {took:?}");
    }
    Ok(())
}
