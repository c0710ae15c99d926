//! The socket that an agent serves: a hostile agent that our server dials, and hostile callers at
//! the socket of our own agent.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::{peer::Peer, stage::Stage, wait};
use serde_json::{Value, json};

use crate::{
    joined::{self, SOON},
    served::{look, serving},
};

/// An agent of another system that listens, dialled by a server of ours.
fn dialled(token: &str) -> Result<(Stage, Peer)> {
    let stage = Stage::new()?;
    let mut peer = Peer::start("local")?;
    peer.tell(&json!({"do": "listen", "path": "/ws", "token": token}))?;
    let port = peer.event("listening")?["port"].clone();
    let address = format!("ws://127.0.0.1:{port}/ws");
    let file = stage.path().join("their-token");
    std::fs::write(&file, "their-token\n")?;
    let file = file.to_str().context("a path of text")?;
    let host = joined::HOST;
    stage.fleet.operator.json(&[
        "host",
        "add",
        host,
        "--dialect",
        "local",
        "--address",
        &address,
        "--address-token-file",
        file,
    ])?;
    let group = ["group", "add", host, joined::GROUP, "--repo", "vault", "--include", "/home"];
    stage.fleet.operator.json(&group)?;
    Ok((stage, peer))
}

/// A question of the server, which comes after all that it has read.
fn is_asked(frame: &Value) -> bool {
    frame["type"] == "agent:status"
}

#[test]
fn a_listening_agent_that_is_hostile_costs_its_own_connection_only() -> Result<()> {
    let (stage, mut peer) = dialled("another")?;
    let operator = &stage.fleet.operator;
    let refused = peer.event("turned-away")?;
    ensure!(refused["authorization"] == "Bearer their-token", "{refused}");
    peer.tell(&json!({"do": "token", "token": "their-token"}))?;
    peer.event("open")?;
    operator.await_host(joined::HOST, "online", SOON)?;
    peer.frame("a question", is_asked)?;
    // One bad frame costs that frame only.
    for _ in 0..50 {
        peer.say(&json!({"type": "from:the:future", "payload": {"a": 1}}))?;
        peer.tell(&json!({"do": "text", "text": "{\"type\":"}))?;
        peer.tell(&json!({"do": "binary", "base64": "AAAA"}))?;
    }
    for _ in 0..2 {
        let end = json!({"job_id": "twice", "total_bytes": 5});
        peer.say(&json!({"type": "backup:completed", "payload": end}))?;
    }
    let jobs = || {
        let all = operator.json(&["jobs", "--host", joined::HOST])?;
        all["jobs"].as_array().cloned().context("no list of jobs")
    };
    let ended = || Ok(jobs()?.iter().any(|job| job["status"] == "succeeded").then_some(()));
    wait::until("the job that was told twice", SOON, ended)?;
    ensure!(jobs()?.len() == 1, "{:?}", jobs()?);
    ensure!(!peer.has_seen(|event| event["event"] == "close"), "the server has left");

    let began = Instant::now();
    peer.tell(&json!({"do": "pieces", "count": 20_000}))?;
    peer.wait("the end of the flood", |event| event["nonce"] == "pieces")?;
    ensure!(began.elapsed() > Duration::from_secs(3), "the flood was read at the peer's pace");
    peer.tell(&json!({"do": "drop"}))?;
    for order in [json!({"do": "flood", "bytes": 5 << 20}), json!({"do": "half"})] {
        peer.event("close")?;
        peer.event("open")?;
        peer.tell(&order)?;
    }
    peer.event("close")?;
    peer.event("open")?;
    operator.await_host(joined::HOST, "online", SOON)
}

#[test]
fn strangers_and_broken_callers_get_nothing_from_our_agents_socket() -> Result<()> {
    let (mut stage, slow, mut peer, url) = serving()?;
    let token = std::fs::read_to_string(stage.fleet.agents[0].data().join("local-token"))?;
    let host = url.trim_start_matches("ws://").trim_end_matches("/ws");
    let bent = format!("evil.example:{}", host.rsplit(':').next().unwrap_or_default());
    let page = json!({"origin": "https://evil.example"});
    for (token, headers, status) in [
        ("wrong", json!({}), 401),
        (token.trim(), page.clone(), 403),
        (token.trim(), json!({"host": bent}), 421),
    ] {
        let order = json!({"do": "connect", "url": url, "token": token, "headers": headers});
        peer.tell(&order)?;
        let refused = peer.event("refused")?;
        ensure!(refused["status"] == status, "{refused} for {headers}");
    }
    peer.connect(&url, token.trim())?;
    peer.frame("how things stand", is_asked)?;
    let unknown = json!({"job_id": "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e51"});
    for _ in 0..50 {
        peer.say(&json!({"type": "from:the:future", "payload": {"a": 1}}))?;
        peer.say(&json!({"type": "backup:cancel", "payload": unknown}))?;
        peer.tell(&json!({"do": "text", "text": "{\"type\":"}))?;
        peer.tell(&json!({"do": "binary", "base64": "AAAA"}))?;
    }
    peer.say(&json!({"type": "agent:status"}))?;
    peer.frame("an answer", is_asked)?;
    let began = Instant::now();
    peer.tell(&json!({"do": "pieces", "count": 20_000}))?;
    peer.wait("the end of the flood", |event| event["nonce"] == "pieces")?;
    ensure!(began.elapsed() > Duration::from_secs(3), "the flood was read at the peer's pace");
    ensure!(!peer.has_seen(|event| event["event"] == "close"), "the agent has left");
    peer.tell(&json!({"do": "drop"}))?;
    peer.event("close")?;
    for order in [json!({"do": "flood", "bytes": 100 << 10}), json!({"do": "half"})] {
        look(&mut peer, &url)?;
        peer.tell(&order)?;
        peer.event("close")?;
    }
    look(&mut peer, &url)?;
    drop(slow);
    stage.fleet.stop()
}
